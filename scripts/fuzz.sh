#!/usr/bin/env bash
# Runs each fuzz target for FUZZ_SECONDS (60). New inputs stay in fuzz/target, the seeds in fuzz/corpus are only read; an input
# that breaks something lands in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is missing: install it with: cargo install --locked cargo-fuzz" >&2
    exit 1
fi
# The flags of the fuzzer are unstable: the nightly compiler takes them, a stable one when it is told to.
export RUSTC_BOOTSTRAP=1
# There is no unsafe code here for the address sanitizer to watch.
options=(--fuzz-dir fuzz --sanitizer none)
if ! cargo fuzz build "${options[@]}"; then
    echo "the fuzz targets do not build: they need a C++ compiler (apt-get install g++) and a compiler of Rust that takes -Z flags" >&2
    exit 1
fi
for target in $(cargo fuzz list --fuzz-dir fuzz); do
    found=fuzz/target/found/$target
    mkdir -p "$found"
    echo "==> $target"
    cargo fuzz run "${options[@]}" "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="${FUZZ_SECONDS:-60}" -max_len=8192 -timeout=10 -print_final_stats=1 -verbosity=0
done
