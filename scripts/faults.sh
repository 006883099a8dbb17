#!/usr/bin/env bash
# The fault marathon against the release build: FAULTS_REQUESTS (100000) requests, FAULTS_SEED (1). With `figures` as the first
# word it measures the figures of docs/reliability.md instead, all of them or those named after it.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --release --package llm-gateway --package faults
# Ten thousand streams have two ends each.
ulimit -n "$(ulimit -Hn)"
if [ "${1:-}" = figures ]; then
    exec target/release/faults "$@"
fi
exec target/release/faults marathon --requests "${FAULTS_REQUESTS:-100000}" --seed "${FAULTS_SEED:-1}" "$@"
