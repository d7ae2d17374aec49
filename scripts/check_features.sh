#!/usr/bin/env bash
# Checks the feature sets: each builds, and none contains a dependency that it must not have.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    # What `cargo demo` builds. TLS and the API page would double its build time.
    without "cargo demo" "$tls utoipa-swagger-ui" -p shiori-examples
    without "the wire types" "$tls reqwest hyper tokio futures-util" -p shiori-sdk --no-default-features
    without "the SDK's client without TLS" "$tls" -p shiori-sdk --no-default-features --features client

    without "the SDK's client without a server to test with" "hyper/server" -p shiori-sdk
    without "the SDK's client without a replica" "redb" -p shiori-sdk
    with "the SDK's replica" "redb" -p shiori-sdk --features replica
    with "the SDK's testing" "hyper/server" -p shiori-sdk --features testing
    without "the SDK's testing without TLS" "$tls axum" -p shiori-sdk --no-default-features --features testing
    without "the binaries" "tokenizers safetensors ndarray matrixmultiply" -p shiori-worker -p shiori-server
    without "a server of the distributed profile" "shiori-worker/models rusqlite libsqlite3-sys" \
        -p shiori-server --no-default-features --features distributed
    with "an embedded server" "shiori-worker/models rusqlite" \
        -p shiori-server --no-default-features --features embedded
    without "an embedded server" "mongodb redis sqlx" -p shiori-server --no-default-features --features embedded
    without "the worker's types, queue and API client" "shiori-worker/models" \
        -p shiori-worker --no-default-features

    # Each feature alone, none and all of them.
    cargo hack check --locked --each-feature -p shiori-sdk -p shiori-worker -p shiori-server
    # Without a crate at its side that enables more, exactly as the README builds it.
    cargo demo
}

tls="rustls ring aws-lc-rs aws-lc-sys native-tls openssl-sys"

# without WHAT "CRATE…" CARGO-TREE-ARGUMENT…: fails if the build contains one of the crates or CRATE/FEATURE.
without() {
    local tree crate
    tree=$(resolved "${@:3}")
    for crate in $2; do
        if contains "$crate" "$tree"; then
            printf 'error: %s must build without %s, but depends on it:\n' "$1" "$crate" >&2
            cargo tree --locked --edges normal,build,features --invert "${crate%/*}" "${@:3}" >&2
            exit 1
        fi
    done
    printf 'features: %s: %s crates, none of: %s\n' "$1" "$(grep -o '^[^ ]* v[0-9][^ ]*' <<<"$tree" | sort -u | wc -l)" "$2"
}

# with WHAT "CRATE…" CARGO-TREE-ARGUMENT…: fails unless the build contains all of them; this tests `without`.
with() {
    local tree crate
    tree=$(resolved "${@:3}")
    for crate in $2; do
        if ! contains "$crate" "$tree"; then
            printf 'error: %s must build with %s\n' "$1" "$crate" >&2
            exit 1
        fi
    done
    printf 'features: %s: all of: %s\n' "$1" "$2"
}

# The packages of a build, one per line, with their features: `NAME vVERSION [FEATURE,…]`.
resolved() {
    cargo tree --locked --edges normal,build --prefix none --format '{p} [{f}]' "$@"
}

# contains CRATE-OR-CRATE/FEATURE TREE
contains() {
    local pattern="^$1 v"
    if [[ $1 == */* ]]; then
        pattern="^${1%/*} v[^[]*\[([^]]*,)?${1#*/}[],]"
    fi
    grep -Eq "$pattern" <<<"$2"
}

main
