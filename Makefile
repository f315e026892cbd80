# The short names of everything a person does here. ARGS goes to the program: make stress ARGS="--connections 9000"

CARGO ?= cargo
ARGS ?=
SEEDS ?= 1000000
TARGET ?= frames
SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help echo stress million million-vm test peers autobahn fuzz lint bench bench-peers micro docs sanitize sanitize-address sanitize-thread simulate

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

echo: ## Run the echo server on tcp://127.0.0.1:9000 (ARGS="--help" for its options)
	$(CARGO) run --release -p wheelhouse-examples --example echo -- $(ARGS)

stress: ## Load the echo server from a second terminal: 5,000 connections, every byte verified, a report at the end
	$(CARGO) run --release -p wheelhouse-examples --example stress -- --report stress-report.html $(ARGS)

million: ## As many WebSockets as the machine allows, up to a million (ARGS="--to tcp", ARGS="--plan"): million.html
	$(CARGO) run --release -p wheelhouse-examples --example million -- run --to ws \
		--report million.html --json million.json $(ARGS)

million-vm: ## A million connections in one server process of a small virtual machine (qemu, 11 GiB, 15 minutes; ARGS=--help)
	examples/million/vm/run $(ARGS)

test: peers ## Run all tests
	$(CARGO) test --workspace --locked

peers: ## Install the foreign WebSocket clients that the tests talk to (target/peers, Debian's chromium)
	@tests/setup.sh

autobahn: ## Run the Autobahn suite against the echo server (ARGS=quick, 8 s; core, 50 s; deflate, all: up to 40 minutes)
	tests/autobahn/run $(ARGS)

# What it finds goes to target/fuzz; how it gets from there into the tests, tests/fuzz/README.md says.
fuzz: ## Fuzz TARGET=frames (deflate, handshake, server, client) for SECONDS=600 (nightly and cargo-fuzz)
	$(call needs,$(CARGO) +nightly fuzz --version,the nightly toolchain and cargo-fuzz: cargo install cargo-fuzz)
	@mkdir -p target/fuzz/found/$(TARGET)
	$(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz/targets --target-dir target/fuzz $(TARGET) \
		target/fuzz/found/$(TARGET) tests/fuzz/corpus/$(TARGET) -- \
		-dict=tests/fuzz/http.dict -max_total_time=$(SECONDS) -rss_limit_mb=512 -malloc_limit_mb=64 \
		-artifact_prefix=target/fuzz/found/ -print_final_stats=1 $(ARGS)

lint: ## Formatting, clippy and documentation, with warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

bench: ## Run the servers side by side and print the table of ratios (Linux with 2 cores; strace for N13)
	$(CARGO) build --release -p wheelhouse-benches --bins --locked
	$(CARGO) run --release -p wheelhouse-benches --locked --bin run -- $(ARGS)

bench-peers: ## Fetch and build the peers of the bench that are not in Rust: uWebSockets (g++, zlib) and ws (node, npm)
	benches/peers/build.sh "$${CARGO_TARGET_DIR:-target}/release"

micro: ## Run the criterion micro benches: ring, wheel, fd index, hand-over
	$(CARGO) bench -p wheelhouse-benches --locked -- $(ARGS)

sanitize: sanitize-address sanitize-thread ## Run the tests under AddressSanitizer and ThreadSanitizer (nightly)

# Every crate that has unsafe code, in its tests or outside: engine, ring, wheel. Left out: what measures the process's memory.
sanitize-address:
	$(call needs,rustc +nightly --version,the nightly toolchain: rustup toolchain install nightly)
	RUSTFLAGS="-Zsanitizer=address $(SANITIZED)" $(CARGO) +nightly test --target $(HOST) --locked \
		--target-dir target/sanitize/address -p wheelhouse -p wheelhouse-ring -p wheelhouse-wheel --lib --tests --no-fail-fast -- \
		--skip memory $(ARGS)

# The engine's tests and the whole engine's. Left out:
#   those that measure the process's memory or count its descriptors: the sanitizer keeps what is freed, and has its own;
#   a_flood_on_one_listener_does_not_shut_out_another: its clients come faster than a reactor under the sanitizer closes
#     them, until the process has no descriptor left;
#   those that send signals: the sanitizer keeps a signal until the thread that got it does something, and it only waits.
sanitize-thread:
	$(call needs,rustc +nightly --version,the nightly toolchain: rustup toolchain install nightly)
	RUSTFLAGS="-Zsanitizer=thread $(SANITIZED)" TSAN_OPTIONS="suppressions=$(CURDIR)/tests/thread-sanitizer.txt" \
		$(CARGO) +nightly test --target $(HOST) --locked --target-dir target/sanitize/thread \
		-p wheelhouse -p wheelhouse-tests --lib --tests --no-fail-fast -- \
		--skip memory --skip caps:: --skip half_sent:: --skip never_reading:: --skip shared:: --skip slow_peers:: \
		--skip under_load_ --skip leaves_nothing_running --skip a_flood_on_one_listener_does_not_shut_out_another \
		--skip sigterm_ --skip sigint_ --skip _signal_ --skip each_engine_of_a_process_hears_of_it \
		--skip a_client_that_stays_is_closed_at_the_end_of_the_time $(ARGS)

# What comes with the toolchain is built without a sanitizer, what is built here with one. Of system calls the sanitizers see
# those that go through the C library.
SANITIZED = -Cunsafe-allow-abi-mismatch=sanitizer --cfg=rustix_use_libc
HOST = x86_64-unknown-linux-gnu
# $(call needs,command that fails without it,what it is): says what to install, and installs nothing.
needs = @RUSTUP_AUTO_INSTALL=0 $(1) >/dev/null 2>&1 || { echo "make $@ needs $(2)" >&2; exit 1; }

simulate: ## Try SEEDS=1000000 worlds of the simulator, each a kernel, peers and a handler at their worst, with every check on
	WHEELHOUSE_SEEDS=$(SEEDS) CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
	$(CARGO) test --release -p wheelhouse --lib --locked --target-dir target/simulate simulated

docs: ## Build the documentation and say where it is
	$(CARGO) doc --workspace --no-deps --locked
	@echo "target/doc/wheelhouse/index.html"
