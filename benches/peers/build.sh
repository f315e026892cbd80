#!/bin/sh
# Fetches and builds the peers that are not written in Rust, beside the runner: build.sh [DIRECTORY OF THE RUNNER [PEER]].
#
# uWebSockets comes with its sources in a crate (libuwebsockets-sys, which is not built), and ws from npm. Nothing of
# them stays in the repository. What is not there (g++, zlib, node, npm, a network) is said, and its peer left out.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
to=${1:-$here/../../target/release}
mkdir -p "$to"
to=$(cd "$to" && pwd)
work=$to/peers
mkdir -p "$work"

UWS_CRATE=0.0.10
WS=8.23.0

uws_echo() {
    mkdir -p "$work/fetch/src"
    : >"$work/fetch/src/lib.rs"
    cat >"$work/fetch/Cargo.toml" <<MANIFEST
[package]
name = "fetch"
version = "0.0.0"
edition = "2024"
[dependencies]
libuwebsockets-sys = "=$UWS_CRATE"
[workspace]
MANIFEST
    sources=$(cargo metadata --quiet --format-version 1 --manifest-path "$work/fetch/Cargo.toml" |
        tr ',' '\n' | sed -n 's|.*"manifest_path":"\(.*/libuwebsockets-sys-[0-9.]*\)/Cargo.toml".*|\1|p' | head -n 1)
    sources=$sources/uWebSockets
    # As its own Makefiles build it, without TLS.
    for file in bsd context loop quic socket udp eventing/epoll_kqueue; do
        gcc -std=c11 -O3 -flto=auto -DLIBUS_NO_SSL -I"$sources/uSockets/src" \
            -c "$sources/uSockets/src/$file.c" -o "$work/us_$(basename "$file").o"
    done
    g++ -std=c++20 -O3 -flto=auto -DLIBUS_NO_SSL -I"$sources/src" -I"$sources/uSockets/src" \
        "$here/uws_echo.cpp" "$work"/us_*.o -lz -pthread -o "$to/uws_echo"
}

node_ws() {
    npm install --silent --no-audit --no-fund --prefix "$work" "ws@$WS" >/dev/null
    cp "$here/node_ws.cjs" "$work/node_ws.cjs"
    cat >"$to/node_ws" <<'LAUNCHER'
#!/bin/sh
# Its core is given as to the others: node_ws [ARGUMENTS] --cpu N
here=$(cd "$(dirname "$0")" && pwd)
arguments=
while [ $# -gt 0 ]; do
    if [ "$1" = --cpu ]; then
        cpu=$2
        shift 2
    else
        arguments="$arguments $1"
        shift
    fi
done
exec ${cpu:+taskset -c "$cpu"} node "$here/peers/node_ws.cjs" $arguments
LAUNCHER
    chmod +x "$to/node_ws"
}

if [ $# -gt 1 ]; then
    "$2"
    exit
fi
# Each in a shell of its own: what fails ends that one, and not the other peer.
for peer in uws_echo node_ws; do
    rm -f "$to/$peer"
    if "$0" "$to" "$peer"; then echo "$to/$peer"; else echo "$peer could not be built: left out" >&2; fi
done
