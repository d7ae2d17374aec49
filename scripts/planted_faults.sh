#!/usr/bin/env bash
# Shows that the checker of histories finds faults: each patch in benches/planted removes a protection
# from a copy of the last commit, and the program `history` must name the anomaly there.
# Arguments: names of patches; without any, all. The sources and builds are in target/planted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SECONDS_OF_RUN=${SECONDS_OF_RUN:-30}

main() {
    local planted=${CARGO_TARGET_DIR:-target}/planted
    mkdir -p "$planted"
    planted=$(cd "$planted" && pwd)
    local patches=("$@")
    if ((${#patches[@]} == 0)); then
        patches=(compare-and-swap save-id two-steps lease)
    fi
    rm -rf "$planted/source"
    mkdir "$planted/source"
    git archive HEAD | tar -xm -C "$planted/source"
    # A repository of its own, so that git applies patches to the copy.
    git -C "$planted/source" init -q
    local failed=0
    for name in "${patches[@]}"; do
        check "$planted" "$name" || failed=1
    done
    return "$failed"
}

# Plants one fault, runs and expects one of its anomalies.
check() {
    local planted=$1 name=$2 expected faults=kill
    case $name in
        compare-and-swap) expected='precondition-ignored|doubled-version' ;;
        save-id) expected='replay-differs|resurrected' ;;
        two-steps) expected='torn-write' ;;
        # A lease expires while its worker is stopped.
        lease) expected='final-summary-changed' faults=stop ;;
        *) echo "error: unknown fault $name" >&2 && return 1 ;;
    esac
    local patch=$PWD/benches/planted/$name.patch
    git -C "$planted/source" apply "$patch"
    local status=0
    (cd "$planted/source" && CARGO_TARGET_DIR=$planted "${CARGO:-cargo}" build --quiet --locked -p shiori-benches --bin history) || return 1
    "$planted/debug/history" --profile embedded --seconds "$SECONDS_OF_RUN" --faults "$faults" \
        --out "$planted/$name" >"$planted/$name.log" 2>&1 || status=$?
    # Not extracted again, so that only the changed files are built again.
    git -C "$planted/source" apply --reverse "$patch"
    local first
    first=$(grep -E -m 1 " s: ($expected) of " "$planted/$name.log" || true)
    if ((status != 1)) || [[ -z "$first" ]]; then
        cat "$planted/$name.log"
        printf '%s: not found in %s s\n' "$name" "$SECONDS_OF_RUN"
        return 1
    fi
    printf '%s: found after %s\n' "$name" "${first%% of *}"
}

main "$@"
