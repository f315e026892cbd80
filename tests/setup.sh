#!/usr/bin/env bash
# Puts the foreign WebSocket peers of the tests into target/peers: Python's websockets, Node's ws; and looks for curl and
# Chromium, which Debian packages. Does nothing when all is there. Says what is missing, and fails, when it may not install.
set -uo pipefail
cd "$(dirname "$0")/.."
peers=target/peers
log=$peers/setup.log
missing=()
mkdir -p "$peers"
: >"$log"

has() { command -v "$1" >/dev/null 2>&1; }

# debian COMMAND PACKAGES..: installs them where the command is not there and apt may be used.
updated=
debian() {
    local command=$1
    shift
    if has "$command"; then return; fi
    if has apt-get; then
        local sudo=()
        if [ "$(id -u)" != 0 ]; then sudo=(sudo -n); fi
        if [ -z "$updated" ]; then
            echo "tests/setup.sh: apt-get update" >&2
            "${sudo[@]}" apt-get update >>"$log" 2>&1
            updated=1
        fi
        echo "tests/setup.sh: apt-get install $*" >&2
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1
    fi
    has "$command" || missing+=("$command (Debian: $*)")
}

has_python_peer() {
    local wanted
    wanted=$(sed -n 's/^websockets==//p' tests/peers/requirements.txt)
    [ "$("$peers/venv/bin/python" -c 'from importlib.metadata import version; print(version("websockets"))' 2>/dev/null)" = "$wanted" ]
}

python_peer() {
    if has_python_peer; then return; fi
    echo "tests/setup.sh: pip install -r tests/peers/requirements.txt" >&2
    rm -rf "$peers/venv"
    python3 -m venv "$peers/venv" >>"$log" 2>&1
    "$peers/venv/bin/python" -m pip install --quiet -r tests/peers/requirements.txt >>"$log" 2>&1
    has_python_peer || missing+=("Python's websockets (python3 -m venv and pip install -r tests/peers/requirements.txt)")
}

has_node_peer() {
    cmp -s tests/peers/package-lock.json "$peers/package-lock.json" && [ -f "$peers/node_modules/ws/package.json" ]
}

node_peer() {
    if has_node_peer; then return; fi
    echo "tests/setup.sh: npm ci, for tests/peers/package.json" >&2
    rm -f "$peers/package-lock.json"
    cp tests/peers/package.json tests/peers/package-lock.json "$peers/"
    if ! (cd "$peers" && npm ci --ignore-scripts --no-audit --no-fund) >>"$log" 2>&1; then rm -f "$peers/package-lock.json"; fi
    has_node_peer || missing+=("Node's ws (npm ci, for tests/peers/package.json)")
}

debian curl curl ca-certificates
debian chromium chromium
debian python3 python3 python3-venv
debian node nodejs
debian npm npm
has python3 && python_peer
has npm && node_peer

if [ ${#missing[@]} -gt 0 ]; then
    echo "The tests with foreign WebSocket clients need, and this machine lacks (see $log):" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
