#!/usr/bin/env bash
# Compares the gateway with nginx: builds the release binaries, installs nginx where it is missing, prints the table.
# Options are those of `bench run`: --quick for a look, --only keys for what keys cost, --only cache for what the cache
# costs, --full for ten thousand idle streams, --rounds N.
set -eu
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian keeps nginx where the path of an ordinary user does not reach.
PATH="$PATH:/usr/sbin"
if ! command -v nginx >/dev/null; then
    echo "bench: nginx is missing, installing it with apt-get" >&2
    as_root apt-get install -y nginx >&2 || { as_root apt-get update >&2 && as_root apt-get install -y nginx >&2; }
fi

# Thousands of streams take two sockets each.
ulimit -n "$(ulimit -Hn)"

cargo build --release -p llm-gateway -p bench
target="${CARGO_TARGET_DIR:-target}/release"
exec "$target/bench" run --gateway "$target/llm-gateway" --nginx "$(command -v nginx)" \
    --redis "$(command -v redis-server || echo /usr/bin/redis-server)" "$@"
