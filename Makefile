# The short names of everything a person does here. ARGS goes to the program: make stress ARGS="--connections 9000"

CARGO ?= cargo
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help echo stress test lint bench micro docs sanitize

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

echo: ## Run the echo server on tcp://127.0.0.1:9000 (ARGS="--help" for its options)
	$(CARGO) run --release -p wheelhouse-examples --example echo -- $(ARGS)

stress: ## Load the echo server from a second terminal: 5,000 connections, every byte verified, a report at the end
	$(CARGO) run --release -p wheelhouse-examples --example stress -- --report stress-report.html $(ARGS)

test: ## Run all tests
	$(CARGO) test --workspace --locked

lint: ## Formatting, clippy and documentation, with warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

bench: ## Run the servers side by side and print the table of ratios (Linux with 2 cores; strace for N13)
	$(CARGO) build --release -p wheelhouse-benches --bins --locked
	$(CARGO) run --release -p wheelhouse-benches --locked --bin run -- $(ARGS)

micro: ## Run the criterion micro benches: ring, wheel, fd index, hand-over
	$(CARGO) bench -p wheelhouse-benches --locked -- $(ARGS)

sanitize: ## Run the engine's tests under AddressSanitizer (needs the nightly toolchain)
	RUSTFLAGS="-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer" RUSTDOCFLAGS="-Zsanitizer=address" \
	$(CARGO) +nightly test -p wheelhouse --lib --target x86_64-unknown-linux-gnu --target-dir target/sanitize

docs: ## Build the documentation and say where it is
	$(CARGO) doc --workspace --no-deps --locked
	@echo "target/doc/wheelhouse/index.html"
