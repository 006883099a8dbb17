#!/usr/bin/env bash
# Builds the program as it is shipped, into target/release: once to see under load which ways through it are taken, and once
# more by what was seen: 71,000 instructions in place of 86,200 for a short request. Linux, and a toolchain of rustup.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
host=$(rustc --version --verbose | sed -n 's/^host: //p')
tools=$(rustc --print sysroot)/lib/rustlib/$host/bin
[ -x "$tools/llvm-profdata" ] || rustup component add llvm-tools
profile=$target/profile
rm -rf "$profile/seen"
mkdir -p "$profile/seen" "$target/release"

# With a target named, the flags are not those of the programs that run while it is built.
build() {
    RUSTFLAGS="${RUSTFLAGS:-} $1" CARGO_TARGET_DIR=$2 cargo build --locked --release --target "$host" --package llm-gateway
}

build "-Cprofile-generate=$profile/seen" "$profile/look"
cargo build --locked --release --package bench

# So many seconds of each load of the benchmark: passed on and translated, short and long, whole and streamed, with a cache.
seconds=${PROFILE_SECONDS:-3}
upstream=${PROFILE_PORT:-18090}
port=$((upstream + 1))
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

body() { # model, stream, text
    printf '{"model":"%s","stream":%s,"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"%s"}]}' "$@"
}
# Text of about so many bytes.
text() {
    printf 'the quick brown fox jumps over the lazy dog. %.0s' $(seq $(($1 / 45)))
}
load() { # kind, options
    "$target/release/bench" "$1" --address "127.0.0.1:$port" --path /v1/chat/completions --body "$work/body" "${@:2}" >"$work/told"
}
serve() { # settings
    (cd "$work" && exec env -i PATH="$PATH" HOME="$work" PORT="$port" RATE_LIMIT_REQUESTS_PER_MINUTE=1000000000 \
        RATE_LIMIT_TOKENS_PER_MINUTE=1000000000000 OPENAI_API_KEY=sk-x OPENAI_BASE_URL="http://127.0.0.1:$upstream/v1" \
        ANTHROPIC_API_KEY=sk-y ANTHROPIC_BASE_URL="http://127.0.0.1:$upstream" "$@" \
        "$profile/look/$host/release/llm-gateway" serve >/dev/null) &
    gateway=$!
    for _ in $(seq 100); do
        ! (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
        sleep 0.1
    done
    echo "release: the gateway does not serve on port $port" >&2
    return 1
}

"$target/release/bench" upstream --port "$upstream" >/dev/null &
serve CACHE_ENABLED=false
for model in openai/gpt-4o anthropic/claude-sonnet-4-5; do
    for length in 1000 100000; do
        body "$model" false "$(text "$length")" >"$work/body"
        load closed --connections 16 --seconds "$seconds"
    done
    body "$model" true "$(text 1000)" >"$work/body"
    load streams --streams 100
done
kill "$gateway"
wait "$gateway"
serve CACHE_ENABLED=true
body openai/gpt-4o false @WORDS@ >"$work/body"
load closed --connections 16 --seconds "$seconds" --words question
# What was seen is written down at the end.
kill "$gateway"
wait "$gateway"

"$tools/llvm-profdata" merge --output "$profile/seen.profdata" "$profile/seen"/*.profraw
build "-Cprofile-use=$profile/seen.profdata" "$profile/use"
cp "$profile/use/$host/release/llm-gateway" "$target/release/llm-gateway"
