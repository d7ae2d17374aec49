#!/usr/bin/env bash
# The three packages hold what a user needs, and nothing else. From the unpacked packages alone, a new
# program is built on the SDK, and the server is built, started and asked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
crates=(shiori-sdk shiori-worker shiori-server)
dir=$(mktemp -d)
server=
trap 'stop_server; rm -rf "$dir"' EXIT

main() {
    rm -f "$target"/package/shiori-*.crate
    # Without `--no-verify` Cargo would build each with a target directory of its own.
    cargo package --locked --quiet --allow-dirty --no-verify "${crates[@]/#/--package=}"
    for crate in "${crates[@]}"; do
        unpack "$crate"
    done
    contains shiori-sdk README.md LICENSE-MIT LICENSE-APACHE docs/conflicts.md src/lib.rs
    contains shiori-worker README.md LICENSE-MIT LICENSE-APACHE NOTICE env.example src/emotion/linear/weights.bin
    contains shiori-server README.md LICENSE-MIT LICENSE-APACHE
    diff --recursive migrations "$dir/shiori-server/migrations" \
        || die "the server's package has other migrations than migrations/"

    workspace
    export CARGO_TARGET_DIR="$target/package-check"
    cargo run --quiet --manifest-path "$dir/Cargo.toml" -p app >/dev/null
    cargo build --quiet --manifest-path "$dir/Cargo.toml" -p shiori-server \
        --no-default-features --features embedded,distributed
    answers "$CARGO_TARGET_DIR/debug/shiori-server"
    echo "packages: a program on the SDK runs, and the server answers"
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

unpack() {
    local package
    package=$(echo "$target/package/$1"-*.crate)
    tar -xzf "$package" -C "$dir"
    mv "$dir/$1"-* "$dir/$1"
    printf 'package %s: %s bytes, %s files\n' "$1" "$(wc -c <"$package")" "$(tar -tzf "$package" | wc -l)"
}

contains() {
    local file
    for file in "${@:2}"; do
        [[ -f "$dir/$1/$file" ]] || die "the package $1 has no $file"
    done
}

# A workspace of the unpacked packages and a program, with the versions that this repository is tested
# with.
workspace() {
    mkdir -p "$dir/app/src"
    cat >"$dir/Cargo.toml" <<'TOML'
[workspace]
resolver = "3"
members = ["shiori-sdk", "shiori-worker", "shiori-server", "app"]

[patch.crates-io]
shiori-sdk = { path = "shiori-sdk" }
shiori-worker = { path = "shiori-worker" }
shiori-server = { path = "shiori-server" }

[profile.dev]
debug = false
TOML
    cat >"$dir/app/Cargo.toml" <<'TOML'
[package]
name = "app"
version = "0.1.0"
edition = "2024"

[dependencies]
shiori-sdk = { version = "*", default-features = false, features = ["client"] }
TOML
    cat >"$dir/app/src/main.rs" <<'RUST'
fn main() -> shiori_sdk::Result<()> {
    let client = shiori_sdk::Client::builder("http://127.0.0.1:8080").build()?;
    println!("{client:?}");
    Ok(())
}
RUST
    cp Cargo.lock "$dir/Cargo.lock"
}

# The server starts with an empty data directory and is ready.
answers() {
    local address deadline=$((SECONDS + 60))
    SHIORI_LISTEN=127.0.0.1:0 SHIORI_DATA_DIR="$dir/data" "$1" >"$dir/log" 2>&1 &
    server=$!
    until address=$(sed -n 's/.* listening addr=\([^ ]*\).*/\1/p' "$dir/log") && [[ -n "$address" ]]; do
        if ! kill -0 "$server" 2>/dev/null || ((SECONDS > deadline)); then
            die "the server did not start: $(cat "$dir/log")"
        fi
        sleep 0.1
    done
    python3 - "http://$address/readyz" <<'PY'
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=60) as response:
    assert response.status == 200
PY
    kill -TERM "$server"
    wait "$server" || die "the server did not stop: $(cat "$dir/log")"
    server=
}

stop_server() {
    if [[ -n "$server" ]]; then
        kill -KILL "$server" 2>/dev/null || true
    fi
}

main
