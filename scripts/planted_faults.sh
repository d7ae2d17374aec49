#!/usr/bin/env bash
# Shows that the checker of histories finds faults: each patch in benches/planted removes a protection
# from a copy of the last commit, and the program `history` must name the anomaly there. A run that
# misses it is repeated with the next seed, at most RUNS times.
# Arguments: names of patches; without any, all. The sources and builds are in target/planted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUNS=${RUNS:-10}

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

# Plants one fault, and runs until one of its anomalies is found.
check() {
    local planted=$1 name=$2 expected options=(--seconds 10 --faults kill)
    case $name in
        compare-and-swap) expected='precondition-ignored|doubled-version' ;;
        save-id) expected='replay-differs|resurrected' ;;
        two-steps) expected='torn-write' ;;
        # A lease expires while its worker is stopped. Two results of one summary have to arrive, and
        # the first one has to be read before the second, so there are many summaries.
        lease) expected='final-summary-changed' options=(--seconds 30 --faults stop --clients 16 --summaries 80) ;;
        *) echo "error: unknown fault $name" >&2 && return 1 ;;
    esac
    local patch=$PWD/benches/planted/$name.patch
    git -C "$planted/source" apply "$patch"
    local built=0
    (cd "$planted/source" && CARGO_TARGET_DIR=$planted "${CARGO:-cargo}" build --quiet --locked -p shiori-benches --bin history) || built=$?
    # Not extracted again, so that only the changed files are built again.
    git -C "$planted/source" apply --reverse "$patch"
    ((built == 0)) || return 1
    local seed status first
    for ((seed = 1; seed <= RUNS; seed++)); do
        status=0
        "$planted/debug/history" --profile embedded "${options[@]}" --seed "$seed" \
            --out "$planted/$name" >"$planted/$name.log" 2>&1 || status=$?
        if ((status > 1)); then
            cat "$planted/$name.log"
            return 1
        fi
        first=$(grep -E -m 1 " s: ($expected) of " "$planted/$name.log" || true)
        if [[ -n "$first" ]]; then
            printf '%s: found after %s, in run %s of %s s\n' "$name" "${first%% of *}" "$seed" "${options[1]}"
            return 0
        fi
    done
    cat "$planted/$name.log"
    printf '%s: not found in %s runs of %s s\n' "$name" "$RUNS" "${options[1]}"
    return 1
}

main "$@"
