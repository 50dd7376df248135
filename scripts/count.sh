#!/usr/bin/env bash
# Counts the instructions of a request on each hot path and compares them with benches/instructions.txt. Times differ too
# much from run to run to be a test; these counts differ by 0.2 % at most. `scripts/count.sh --bless` takes the new
# numbers over. Without valgrind nothing is counted; with WEIR_TEST_REQUIRE=all that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

table=benches/instructions.txt
# In percent. docs/performance.md says why so much and not less.
tolerance=10

bless=
case "${1:-}" in
    "") ;;
    --bless) bless=yes ;;
    *) echo "usage: scripts/count.sh [--bless]" >&2; exit 2 ;;
esac
if ! command -v valgrind >/dev/null; then
    echo "left out: the instructions of the hot paths; valgrind is not installed (apt-get install valgrind)"
    if [ -n "$bless" ]; then exit 1; fi
    if [ "${WEIR_TEST_REQUIRE:-}" = all ]; then
        echo "WEIR_TEST_REQUIRE=all: nothing may be left out"
        exit 1
    fi
    exit 0
fi

paths=$(cargo build --locked --profile counted --bench paths --message-format json-render-diagnostics |
    sed -n 's/.*"name":"paths".*"executable":"\([^"]*\)".*/\1/p')
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

# count CASE REQUESTS: the instructions of one request. What comes before `measured` is not counted.
count() {
    local said total
    said=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='paths::measured*' \
        "$paths" "$1" "$2" 2>&1) || { echo "$said" >&2; return 1; }
    total=$(sed -n 's/.*Collected : *\([0-9]*\)$/\1/p' <<<"$said")
    [ "${total:-0}" -gt 0 ] || { echo "$said" >&2; echo "count: callgrind found no paths::measured" >&2; return 1; }
    echo "$1 $((total / $2))"
}
rows() {
    sed '/^#/d' "$table"
}
rows | while read -r name requests _; do
    count "$name" "$requests" >>"$counts"
done
with="# Counted with $(rustc --version | cut -d ' ' -f 1,2), $(valgrind --version)."

if [ -n "$bless" ]; then
    comments=$(grep '^#' "$table" | grep -v '^# Counted with')
    numbers=$(rows | join --nocheck-order - "$counts" | awk '{ printf "%-16s %4d %9d\n", $1, $2, $4 }')
    printf '%s\n' "$comments" "$with" "$numbers" >"$table"
    echo "count: $table has the new numbers:"
    echo "$numbers"
    exit
fi

grep -qxF "$with" "$table" || echo "count: the numbers are of other tools: ${with#\# }"
rows | join --nocheck-order - "$counts" | awk -v tolerance="$tolerance" '
    {
        percent = 100 * ($4 - $3) / $3
        verdict = percent > tolerance ? "SLOWER" : percent < -tolerance ? "faster" : ""
        slower += percent > tolerance
        faster += percent < -tolerance
        printf "%-16s %10d before %10d now %+7.1f %%  %s\n", $1, $3, $4, percent, verdict
    }
    END {
        take = "take the numbers over: scripts/count.sh --bless"
        if (slower) print "count: " slower " paths take over " tolerance " % more instructions; if that is meant, " take
        else if (faster) print "count: " faster " paths take over " tolerance " % fewer instructions; please " take
        exit slower > 0
    }'
