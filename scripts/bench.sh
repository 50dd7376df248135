#!/usr/bin/env bash
# Measures weir beside a bare handler and a plain GraphQL server, on two cores and loopback; docs/performance.md says how.
# Without arguments the tables and the chart of the documents are written anew: scripts/bench.sh --help names the others.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(uname -s)" = Linux ] || { echo "bench: it reads /proc, so it needs Linux"; exit 1; }
command -v wrk >/dev/null || { echo "bench: wrk is not installed (apt-get install wrk, or https://github.com/wg/wrk)"; exit 1; }

cargo build --locked --release -p weir -p weir-bench
[ "$#" -gt 0 ] || set -- --write

run=("${CARGO_TARGET_DIR:-target}/release/weir-bench" "$@")
# Servers, vendors and wrk share two cores, however many there are.
if [ "$(nproc)" -gt 2 ] && command -v taskset >/dev/null; then
    run=(taskset --cpu-list 0,1 "${run[@]}")
fi
exec "${run[@]}"
