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
if cargo deny --version >/dev/null 2>&1; then
    cargo deny --locked check bans licenses sources
else
    echo "left out: cargo-deny is not installed (cargo install --locked cargo-deny)"
fi
step "dependencies: advisories"
# From the copy of their database that is here, whatever its age: fetching a new one is not possible everywhere, and would
# make the same tree pass today and fail tomorrow. `cargo deny fetch db` fetches one.
copy=$(find "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" -mindepth 1 -maxdepth 1 -name 'advisory-db-*' -print -quit 2>/dev/null || true)
if ! cargo deny --version >/dev/null 2>&1; then
    echo "not checked: cargo-deny is not installed (cargo install --locked cargo-deny)"
elif [ -z "$copy" ]; then
    echo "not checked: there is no copy of the advisory database (cargo deny fetch db)"
else
    echo "checked against the copy of $(git -C "$copy" log -1 --format=%cs)"
    cargo deny --locked --offline check advisories
fi
step "schema snapshot"
if ! cargo run --locked --quiet -- schema | diff -u schema.graphql -; then
    echo "schema.graphql is not what 'weir schema' prints; if the change is meant: cargo run -- schema > schema.graphql"
    exit 1
fi
