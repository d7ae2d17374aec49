#!/usr/bin/env bash
# The SDK's public API is the one that shiori-sdk/public-api.txt writes down, so that no change of it
# goes unseen, and no foreign crate's type shows in it unless it may.
#
#     scripts/check_public_api.sh           check
#     scripts/check_public_api.sh --bless   write it down
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Everything that is covered by semantic versioning.
features=client,rustls,blocking,testing

# rustdoc's JSON is a nightly format. The one of the toolchain that the project is built with is
# taken, so a new toolchain may need a new `public-api`.
RUSTC_BOOTSTRAP=1 cargo rustdoc --locked --quiet -p shiori-sdk --lib --no-default-features --features "$features" -- \
    -Z unstable-options --output-format json
json=${CARGO_TARGET_DIR:-target}/doc/shiori_sdk.json
cargo run --locked --quiet -p shiori-public-api -- "$json" shiori-sdk/public-api.txt "$@"
