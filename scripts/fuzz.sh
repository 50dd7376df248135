#!/usr/bin/env bash
# Fuzzes what comes from outside: builds the targets of fuzz/ and runs each for WEIR_FUZZ_SECONDS (60), as many at a time as
# there are processors. `scripts/fuzz.sh TARGET` runs one of them, `scripts/fuzz.sh TARGET FILE` what a file holds, once.
# Without its tools nothing is run; with WEIR_TEST_REQUIRE=all that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.cache/tools/bin:$PATH"
seconds=${WEIR_FUZZ_SECONDS:-60}

leave_out() {
    echo "left out: fuzzing; $1"
    if [ "${WEIR_TEST_REQUIRE:-}" = all ]; then
        echo "WEIR_TEST_REQUIRE=all: nothing may be left out"
        exit 1
    fi
    exit 0
}
cargo fuzz --version >/dev/null 2>&1 ||
    leave_out "cargo-fuzz is not installed (cargo install --locked --root .cache/tools cargo-fuzz)"
command -v c++ >/dev/null || leave_out "there is no C++ compiler, which libfuzzer needs (apt-get install g++)"

targets=(fuzz/targets/*.rs)
targets=("${targets[@]##*/}")
targets=("${targets[@]%.rs}")
if [ $# -gt 0 ]; then
    [ -f "fuzz/targets/$1.rs" ] || { echo "usage: scripts/fuzz.sh [TARGET [FILE]]; there are ${targets[*]}" >&2; exit 2; }
    targets=("$1")
fi

host=$(rustc -vV | sed -n 's/^host: //p')
# No sanitizer: weir has no unsafe code (fuzz/README.md).
nice cargo fuzz build --sanitizer none --target "$host"
built=fuzz/target/$host/release
if [ $# -gt 1 ]; then
    exec "$built/$1" "$2"
fi

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# run TARGET: from its seeds and whatever was found before. The longest that one input may take is by the clock, of which others
# on the machine take their part.
run() {
    local words=()
    [ ! -f "fuzz/dictionaries/$1" ] || words=("-dict=fuzz/dictionaries/$1")
    mkdir -p "fuzz/corpus/$1" "fuzz/artifacts/$1"
    "$built/$1" "-max_total_time=$seconds" -max_len=8192 -timeout=120 -rss_limit_mb=2048 -print_final_stats=1 \
        "-artifact_prefix=fuzz/artifacts/$1/" "${words[@]}" "fuzz/corpus/$1" "fuzz/seeds/$1" >"$logs/$1" 2>&1 &&
        return
    echo "$1" >>"$logs/failed"
}
for target in "${targets[@]}"; do
    while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    run "$target" &
done
wait

for target in "${targets[@]}"; do
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$target")
    reached=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$logs/$target" | tail -1)
    printf '%-10s %9s inputs, %6s places reached\n' "$target" "${runs:-?}" "${reached:-?}"
done
[ -f "$logs/failed" ] || exit 0
while read -r target; do
    printf '\n== %s\n' "$target"
    tail -n 40 "$logs/$target"
    found=$(sed -n 's/.*Test unit written to //p' "$logs/$target" | tail -1)
    [ -z "$found" ] || echo "fuzz: the same again: scripts/fuzz.sh $target $found"
done <"$logs/failed"
exit 1
