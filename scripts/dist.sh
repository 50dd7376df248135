#!/usr/bin/env bash
# Makes what is handed out, in dist/: a static Linux binary with its papers in an archive, an SBOM, and checksums of both.
# The same tree and the same tools make the same bytes. docs/operations/deploy.md says what a static binary means.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "dist: $1" >&2
    exit 1
}
[ "$(uname -s)" = Linux ] || fail "it makes a Linux binary, so it needs Linux"
for tool in cargo jq tar gzip sha256sum; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done

# Everything that is packed has the date of the last commit. What is compiled has always the same (mimalloc asks for one): with
# each new date cargo would build again all that has C in it.
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
unset SOURCE_DATE_EPOCH
export LC_ALL=C TZ=UTC

host=$(rustc -vV | sed -n 's/^host: //p')
machine=${host%%-*}
target=$host
# musl's binaries ask no library of the machine for anything; glibc's do for names, if the machine says so (deploy.md).
if [ -d "$(rustc --print sysroot)/lib/rustlib/$machine-unknown-linux-musl/lib" ] && command -v musl-gcc >/dev/null; then
    target=$machine-unknown-linux-musl
fi
version=$(cargo metadata --locked --no-deps --format-version 1 | jq -r '.packages[] | select(.name == "weir").version')
name=weir-$version-$machine-linux

# GraphiQL goes into the binary. A gateway that is handed out without it would have a page that tells how to build weir.
scripts/web.sh || fail "GraphiQL's assets cannot be built (npm, and once the network)"

# Paths of this machine would be in the binary, and would make it another one elsewhere. Flags of the caller would, too:
# these replace them. With --target, what runs at build time is linked as usual.
home=${CARGO_HOME:-$HOME/.cargo}
flags=(-C target-feature=+crt-static "--remap-path-prefix=$PWD=weir" "--remap-path-prefix=$home=cargo")
printf -v joined '%s\x1f' "${flags[@]}"
built=${CARGO_TARGET_DIR:-target}/$target/release/weir
SOURCE_DATE_EPOCH=0 CARGO_ENCODED_RUSTFLAGS=${joined%$'\x1f'} cargo build --locked --release --target "$target" --bin weir

# A binary that names a loader would not start where there is none.
if command -v readelf >/dev/null && [[ $(readelf --program-headers "$built") == *INTERP* ]]; then
    fail "$built is not static"
fi
[ "$("$built" --version)" = "weir $version" ] || fail "$built does not say that it is weir $version"

# Tools of Rust go into the tree, so that nothing depends on what a home directory holds.
export PATH="$PWD/.cache/tools/bin:$PATH"
cargo cyclonedx --version >/dev/null 2>&1 || cargo install --locked --root .cache/tools cargo-cyclonedx
# Of what is in the binary: what only builds or tests it is not.
SOURCE_DATE_EPOCH=$date cargo cyclonedx --quiet --format json --target "$target" --no-build-deps --override-filename weir.sbom

# notice NAME VERSION LICENSE FOLDER: what a package of somebody else says of its licence.
notice() {
    printf '\n=== %s %s (%s)\n' "$1" "$2" "$3"
    find "$4" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \) -print0 |
        sort --zero-terminated | xargs --null --no-run-if-empty cat
}
# notices: the same for all that is in the binary.
notices() {
    echo "The binary weir holds the following works of others, under their licences."
    cargo metadata --locked --format-version 1 --filter-platform "$target" |
        jq -r '.packages[] | [.name, .version, .license // "see below", .manifest_path] | @tsv' | sort >"$papers/all"
    cargo tree --locked --package weir --target "$target" --edges normal --prefix none --format $'{p}' |
        sed 's/ v/\t/; s/ (.*//' | sort -u | grep -v '^weir\s' >"$papers/used"
    while IFS=$'\t' read -r crate version license manifest; do
        grep --quiet --line-regexp --fixed-strings "$crate"$'\t'"$version" "$papers/used" || continue
        notice "$crate" "$version" "$license" "$(dirname "$manifest")"
    done <"$papers/all"
    jq -r '.packages | to_entries[] | select(.key != "" and (.value.dev | not)) | [.key, .value.version, .value.license // "see below"] | @tsv' \
        web/package-lock.json | while IFS=$'\t' read -r folder version license; do
        [ -d "web/$folder" ] || continue # of another platform
        notice "${folder##*node_modules/}" "$version" "$license" "web/$folder"
    done
}
papers=$(mktemp --directory)
trap 'rm -rf "$papers"' EXIT

rm -rf dist
mkdir -p "dist/$name"
notices >"dist/$name/THIRD-PARTY.txt"
# With GraphiQL's packages, of which cargo knows nothing.
jq --slurpfile lock web/package-lock.json '.components += [$lock[0].packages | to_entries[]
    | select(.key != "" and (.value.dev | not))
    | (.key | sub(".*node_modules/"; "")) as $name
    | { type: "library", "bom-ref": "npm:\(.key)@\(.value.version)", name: $name, version: .value.version,
        purl: "pkg:npm/\($name | sub("^@"; "%40"))@\(.value.version)" }]' weir.sbom.json |
    sed "s|path+file://$PWD#|path+file:///weir#|g" >"dist/$name.cdx.json"
rm -f weir.sbom.json bench/weir.sbom.json # the workspace's other member is not handed out
cp "$built" LICENSE LICENSE-APACHE LICENSE-MIT README.md CHANGELOG.md weir.example.toml deploy/weir.service "dist/$name/"
chmod 0755 "dist/$name/weir"
tar --create --directory dist --sort=name --mtime="@$date" --owner=0 --group=0 --numeric-owner \
    --mode='u=rwX,go=rX' --format=ustar "$name" | gzip --no-name --best >"dist/$name.tar.gz"
rm -r "dist/$name"
(cd dist && sha256sum -- * >SHA256SUMS)

echo "dist: for $target, $(stat --format=%s "$built") bytes of binary"
cat dist/SHA256SUMS
