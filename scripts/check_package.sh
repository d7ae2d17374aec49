#!/usr/bin/env bash
# The SDK's package holds what a stranger needs, and nothing else; it builds on its own, and with it
# a program that knows nothing of this repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
# It is built below.
cargo package --locked --quiet --allow-dirty --no-verify -p shiori-sdk
package=$(ls -t "$target"/package/shiori-sdk-*.crate | head -n 1)

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
tar -xzf "$package" -C "$dir"
mv "$dir"/shiori-sdk-* "$dir/shiori-sdk"
for file in README.md LICENSE-MIT LICENSE-APACHE docs/conflicts.md src/lib.rs; do
    [[ -f "$dir/shiori-sdk/$file" ]] || { echo "error: the package has no $file" >&2; exit 1; }
done

mkdir -p "$dir/app/src"
cat >"$dir/app/Cargo.toml" <<'TOML'
[package]
name = "app"
version = "0.1.0"
edition = "2024"

[dependencies]
shiori-sdk = { path = "../shiori-sdk", default-features = false, features = ["client"] }
TOML
cat >"$dir/app/src/main.rs" <<'RUST'
fn main() -> shiori_sdk::Result<()> {
    let client = shiori_sdk::Client::builder("http://127.0.0.1:8080").build()?;
    println!("{client:?}");
    Ok(())
}
RUST
# The versions that this repository is tested with.
cp Cargo.lock "$dir/app/Cargo.lock"
CARGO_TARGET_DIR=$target/package-app cargo run --quiet --manifest-path "$dir/app/Cargo.toml" >/dev/null
printf 'package: %s bytes, %s files; a program of its own builds and runs\n' \
    "$(stat -c %s "$package" 2>/dev/null || stat -f %z "$package")" "$(tar -tzf "$package" | wc -l)"
