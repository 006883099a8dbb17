#!/usr/bin/env bash
# Line coverage of the Rust tests. rustc's own llvm-profdata reads the profiles; a Debian one is too old for them.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.cache/tools/bin:$PATH"

if ! compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/llvm-profdata" >/dev/null; then
    rustup component add llvm-tools || {
        echo "make test-cov: the component llvm-tools of this Rust toolchain is needed and could not be installed" >&2
        exit 1
    }
fi
cargo llvm-cov nextest --workspace --no-tests=pass --html
cargo llvm-cov report --summary-only
