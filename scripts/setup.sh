#!/usr/bin/env bash
# Installs what the tests and checks need beyond Rust, into .cache/ of the project, once: again only when a pin changes.
#     scripts/setup.sh          the tools and the official clients (make test, make lint)
#     scripts/setup.sh llama    a llama.cpp server and a small model (make e2e)
# Debian packages are a last resort, for Python itself, and a Redis, a PostgreSQL and a load balancer to test with; sudo is used only by those who are not root.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $*" >&2
    exit 1
}

# quietly COMMAND...: shows what a command said only if it fails.
quietly() {
    local log
    log=$(mktemp)
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        rm -f "$log"
        fail "'$*' failed"
    }
    rm -f "$log"
}

python_is_usable() {
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

install_python() {
    command -v apt-get >/dev/null || fail "install Python 3.11 or newer with its venv module"
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    echo "setup: installing python3-venv"
    quietly "${sudo[@]}" apt-get update
    quietly "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-venv
    python_is_usable || fail "python3 is $(python3 --version 2>&1 || true); 3.11 or newer with its venv module is needed"
}

# install_server PACKAGE: the tests start real servers; those that need one skip themselves, loudly, where it cannot be had.
install_server() {
    command -v apt-get >/dev/null || {
        echo "setup: no $1, and no apt-get to install it: tests with a real one are skipped" >&2
        return
    }
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    echo "setup: installing $1"
    quietly "${sudo[@]}" apt-get update
    # Its service is not wanted, the program is.
    quietly "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --no-install-recommends "$1"
}

# Debian keeps its programs out of PATH.
has_postgres() {
    command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
}

# once STAMP KEY COMMAND...: runs the command unless it went well before with the same key.
once() {
    local stamp=$1 key=$2
    shift 2
    [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && return
    rm -f "$stamp"
    "$@"
    echo "$key" >"$stamp"
}

# environment FOLDER REQUIREMENTS: a Python environment with exactly these packages.
environment() {
    echo "setup: installing $2"
    rm -rf "$1"
    quietly python3 -m venv "$1"
    quietly "$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$2"
}

node_packages() {
    echo "setup: installing e2e/sdk/package-lock.json"
    quietly env PATH="$PWD/.cache/tools/bin:$PATH" npm ci --prefix e2e/sdk --no-audit --no-fund
}

key() {
    cat "$@" | cksum
}

mkdir -p .cache
python_is_usable || install_python
command -v redis-server >/dev/null || install_server redis-server
has_postgres || install_server postgresql
command -v haproxy >/dev/null || install_server haproxy
python=$(python3 -c 'import sys; print(sys.executable, sys.version)')

if [ "${1:-}" = llama ]; then
    once .cache/llama/stamp "$python $(key e2e/llama/requirements.txt)" environment .cache/llama e2e/llama/requirements.txt
fi
once .cache/tools/stamp "$python $(key e2e/requirements.txt)" environment .cache/tools e2e/requirements.txt
once e2e/sdk/node_modules/.stamp "$(key e2e/requirements.txt e2e/sdk/package.json e2e/sdk/package-lock.json)" node_packages
