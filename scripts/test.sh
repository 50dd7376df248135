#!/usr/bin/env bash
# Fetches what the tests need where it may, and runs all of them. What has to be left out is said plainly; with
# WEIR_TEST_REQUIRE=all it is a failure. A second run needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

left_out=()
leave_out() {
    left_out+=("$1")
}

# install PACKAGE: from Debian, where this user may.
install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    echo "fetching $1"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" >/dev/null ||
        { apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" >/dev/null; }
}

# venv REQUIREMENTS DIR: Python packages, in an environment of their own at DIR, unless exactly these are there already.
venv() {
    local wanted=$1 venv=$2
    if cmp --silent "$wanted" "$venv/.weir-requirements"; then
        return 0
    fi
    echo "fetching the Python packages of $wanted"
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" &&
        cp "$wanted" "$venv/.weir-requirements"
}

if [ -f web/package.json ]; then
    scripts/web.sh || leave_out "GraphiQL: its assets cannot be built (npm, and once the network)"
fi
for lock in tests/clients/package-lock.json tests/clients/*/package-lock.json; do
    [ -f "$lock" ] || continue
    dir=$(dirname "$lock")
    scripts/npm.sh "$dir" || leave_out "the clients in $dir: their npm packages are missing"
done
venv tests/clients/sdk/requirements.txt tests/clients/.venv ||
    leave_out "the vendors' Python SDKs: they cannot be installed (python3 with venv, and once the network)"
venv tests/clients/bi/requirements.txt tests/clients/bi/.venv ||
    leave_out "pandas, polars, DuckDB and dlt: they cannot be installed (python3 with venv, and once the network)"
venv tests/clients/sql/requirements.txt tests/clients/sql/.venv ||
    leave_out "SQLAlchemy, pandas and DuckDB on an archive: they cannot be installed (python3 with venv, and once the network)"
venv tests/clients/superset/requirements.txt tests/clients/superset/.venv ||
    leave_out "Superset on an archive and on rows: it cannot be installed (python3 with venv, and once the network)"
venv tests/clients/dbt/requirements.txt tests/clients/dbt/.venv ||
    leave_out "dbt on an archive: it cannot be installed (python3 with venv, and once the network)"
command -v sqlite3 >/dev/null || install sqlite3 ||
    leave_out "archives as sqlite3 reads them: sqlite3 is not installed (apt-get install sqlite3)"
command -v psql >/dev/null || install postgresql-client ||
    leave_out "archives as psql reads them: psql is not installed (apt-get install postgresql-client)"
command -v redis-server >/dev/null || install redis-server ||
    leave_out "everything with Redis: redis-server is not installed (apt-get install redis-server)"
command -v faketime >/dev/null || install faketime ||
    leave_out "replicas with wrong clocks: faketime is not installed (apt-get install faketime)"
command -v curl >/dev/null || install curl ||
    leave_out "the command that weir demo prints and some recipes: curl is not installed (apt-get install curl)"
command -v jq >/dev/null || install jq ||
    leave_out "the recipes of docs/bi: jq is not installed (apt-get install jq)"
command -v promtool >/dev/null || install prometheus ||
    leave_out "the tests of the alert rules: promtool is not installed (apt-get install prometheus)"
command -v soffice >/dev/null || install libreoffice-calc ||
    leave_out "the recipes of docs/bi: LibreOffice is not installed (apt-get install libreoffice-calc)"
command -v Rscript >/dev/null || install r-base-core ||
    leave_out "the recipes of docs/bi: R is not installed (apt-get install r-base-core)"
command -v nginx >/dev/null || install nginx-light ||
    leave_out "weir behind nginx: nginx is not installed (apt-get install nginx-light)"
command -v caddy >/dev/null || install caddy ||
    leave_out "weir behind Caddy: caddy is not installed (apt-get install caddy)"
command -v chromium >/dev/null || install chromium ||
    leave_out "everything in a browser: chromium is not installed (apt-get install chromium)"

# Doc tests first: the closing line of the runner comes last. Neither command reads from this one's input.
cargo test --locked --doc --quiet </dev/null
failed=0
if cargo nextest --version >/dev/null 2>&1; then
    echo "without the fast path:"
    WEIR_TEST_FAST_PATH=false cargo nextest run --locked --no-fail-fast --profile without-fast-path </dev/null || failed=$?
    echo "with it:"
    cargo nextest run --locked --no-fail-fast </dev/null || failed=$?
else
    leave_out "what a gateway answers without the fast path: cargo-nextest is not installed (cargo install cargo-nextest)"
    cargo test --locked --no-fail-fast --lib --bins --tests </dev/null || failed=$?
fi

if [ "${#left_out[@]}" -gt 0 ]; then
    printf '\nLeft out:\n'
    printf -- '- %s\n' "${left_out[@]}"
    if [ "${WEIR_TEST_REQUIRE:-}" = all ]; then
        echo "WEIR_TEST_REQUIRE=all: nothing may be left out"
        exit 1
    fi
fi
exit "$failed"
