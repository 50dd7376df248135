#!/usr/bin/env bash
# scripts/npm.sh DIR: installs the locked npm packages of DIR, unless exactly these are there already.
set -euo pipefail
cd "$(dirname "$0")/../$1"

if ! command -v npm >/dev/null; then
    echo "npm is not installed, so the packages of $1 are not either" >&2
    exit 1
fi
stamp=node_modules/.weir-lock
if cmp --silent package-lock.json "$stamp"; then
    exit 0
fi
echo "fetching the npm packages of $1"
npm ci --prefer-offline --no-audit --no-fund
mkdir -p node_modules
cp package-lock.json "$stamp"
