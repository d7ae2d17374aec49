#!/usr/bin/env bash
# Compares the SDK's public API with the snapshot shiori-sdk/public-api.txt, so that every change is
# visible in review, and checks that public signatures contain only types of permitted crates.
#
#     scripts/check_public_api.sh           check
#     scripts/check_public_api.sh --bless   update the snapshot
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Everything that is covered by semantic versioning.
features=client,rustls,blocking,replica,testing

# rustdoc's JSON is a nightly format. It is taken from the project's toolchain, so a new toolchain may
# need a new version of `public-api`.
RUSTC_BOOTSTRAP=1 cargo rustdoc --locked --quiet -p shiori-sdk --lib --no-default-features --features "$features" -- \
    -Z unstable-options --output-format json
json=${CARGO_TARGET_DIR:-target}/doc/shiori_sdk.json
cargo run --locked --quiet -p shiori-public-api -- "$json" shiori-sdk/public-api.txt "$@"
