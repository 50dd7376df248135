#!/usr/bin/env bash
# Builds web/dist, the assets that go into the binary, if their sources are newer.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -f web/package.json ]; then
    echo "there are no web sources to build" >&2
    exit 1
fi
# The build empties web/dist, so the stamp lies beside it.
stamp=.cache/web-built
newer() {
    [ -d web/dist ] && [ -f "$stamp" ] || return 0
    [ -n "$(find web \( -name node_modules -o -name dist \) -prune -o -type f -newer "$stamp" -print -quit)" ]
}
if ! newer; then
    exit 0
fi
scripts/npm.sh web
mkdir -p .cache
begun=$(mktemp .cache/web-begun.XXXXXX) # a source changed during the build is newer than this
trap 'rm -f "$begun"' EXIT
npm run --prefix web build
mv "$begun" "$stamp"
