#!/usr/bin/env bash
# Everything that can be said about the code without running its tests.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
    printf '== %s\n' "$1"
}

step "format"
cargo fmt --all --check
step "lints"
cargo clippy --locked --workspace --all-targets -- -D warnings
step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
step "dependencies: bans, licenses, sources"
# Advisories are left out: their database is not reachable from everywhere.
if cargo deny --version >/dev/null 2>&1; then
    cargo deny --locked check bans licenses sources
else
    echo "left out: cargo-deny is not installed (cargo install --locked cargo-deny)"
fi
step "schema snapshot"
if ! cargo run --locked --quiet -- schema | diff -u schema.graphql -; then
    echo "schema.graphql is not what 'weir schema' prints; if the change is meant: cargo run -- schema > schema.graphql"
    exit 1
fi
