#!/usr/bin/env bash
# Prepares a release: versions, changelog, checks, commit, packages, binaries with their checksums, tag.
# It uploads nothing; docs/releasing.md says what remains.
#
#   scripts/release.sh VERSION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

crates=(shiori-sdk shiori-worker shiori-server)
programs=(shiori-server shiori-worker)

main() {
    version=${1:-}
    [[ "$version" =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || die "usage: scripts/release.sh MAJOR.MINOR.PATCH"
    [[ -z "$(git status --porcelain)" ]] || die "the working tree has uncommitted changes"
    [[ -z "$(git tag --list "v$version")" ]] || die "the tag v$version already exists"
    grep -q '^## \[Unreleased\]' CHANGELOG.md || die "CHANGELOG.md has no section [Unreleased]"

    set_version
    .ci/run
    git commit --all --message "release: $version" --message "Versions and changelog of the release."
    assemble
    git tag --annotate "v$version" --message "Shiori $version"
    printf '\nReady in %s. docs/releasing.md says how to upload it.\n' "$out"
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

set_version() {
    python3 - "$version" "$(date -u +%F)" "${crates[@]}" <<'PY'
import pathlib, re, sys

version, date, *crates = sys.argv[1:]
manifest = pathlib.Path("Cargo.toml")
text, count = re.subn(r'(?m)^version = ".*"$', f'version = "{version}"', manifest.read_text(), count=1)
assert count == 1, "Cargo.toml has no version"
for crate in crates:
    text, count = re.subn(rf'(?m)^({crate} = {{ path = "{crate}", version = ")[^"]*', rf"\g<1>{version}", text)
    assert count == 1, f"Cargo.toml has no dependency {crate}"
manifest.write_text(text)
changelog = pathlib.Path("CHANGELOG.md")
section = f"## [Unreleased]\n\n## [{version}] – {date}"
changelog.write_text(re.sub(r"(?m)^## \[Unreleased\].*$", section, changelog.read_text(), count=1))
PY
    cargo update --quiet --workspace
}

# The packages, and the stripped programs of this machine's platform.
assemble() {
    local target=${CARGO_TARGET_DIR:-$PWD/target} host
    out=$target/release-$version
    host=$(rustc -vV | sed -n 's/^host: //p')
    rm -rf "$out"
    mkdir -p "$out"
    cargo package --locked --no-verify "${crates[@]/#/--package=}"
    (cd "$target/package" && cp "${crates[@]/%/-$version.crate}" "$out")
    cargo build --locked --release "${programs[@]/#/--package=}"
    tar --create --gzip --file "$out/shiori-$version-$host.tar.gz" --directory "$target/release" "${programs[@]}"
    (cd "$out" && sha256sum -- *.crate *.tar.gz >SHA256SUMS)
}

main "$@"
