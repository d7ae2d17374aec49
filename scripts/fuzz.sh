#!/usr/bin/env bash
# Fuzzes the crates: builds the targets of fuzz/ and runs each for a number of seconds.
#
#     scripts/fuzz.sh 60                  every target, 60 s each
#     scripts/fuzz.sh 3600 merge sse      two targets, an hour each
#
# It needs cargo-fuzz (`cargo install cargo-fuzz`) and a C++ compiler. Stable Rust suffices, because no
# sanitizer is used: the crates contain no unsafe code. New inputs are kept in target/fuzz/corpus.
# An input with a fault is in fuzz/artifacts; after the fix, add it to fuzz/corpus/TARGET, which the
# tests replay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Larger inputs are slower and reach no more code. In bytes.
max_len=4096
# Far above what an input of this size may need, in MiB.
rss_limit=1024
# A slower input is a fault, in seconds.
timeout=10

main() {
    [[ ${1:-} =~ ^[1-9][0-9]*$ ]] || die "usage: scripts/fuzz.sh SECONDS [TARGET...]"
    cargo fuzz --version >/dev/null 2>&1 || die "cargo-fuzz is not installed; run: cargo install cargo-fuzz"
    local seconds=$1 target
    local targets=("${@:2}")
    if ((!${#targets[@]})); then
        mapfile -t targets < <(cargo fuzz list)
    fi
    # With the versions that the tests use.
    cp Cargo.lock fuzz/Cargo.lock
    build=("--sanitizer=none" "--codegen-units=16" "--target-dir=${CARGO_TARGET_DIR:-$PWD/target}/fuzz")
    cargo fuzz build "${build[@]}"
    for target in "${targets[@]}"; do
        run "$target" "$seconds"
    done
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# run TARGET SECONDS
run() {
    local found=${CARGO_TARGET_DIR:-$PWD/target}/fuzz/corpus/$1
    printf '\n==> %s, %s s\n' "$1" "$2"
    mkdir -p "$found"
    cargo fuzz run "${build[@]}" "$1" "$found" "fuzz/corpus/$1" -- \
        -max_total_time="$2" -max_len="$max_len" -rss_limit_mb="$rss_limit" -timeout="$timeout" \
        -print_final_stats=1
}

main "$@"
