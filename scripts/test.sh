#!/usr/bin/env bash
# Runs every test and doctest of the workspace, then every example. The engines of
# the distributed profile are started and stopped, unless SHIORI_TEST_MYSQL_URL,
# SHIORI_TEST_MONGODB_URL or SHIORI_TEST_REDIS_URL are set.
# It needs Rust. On Debian and Ubuntu, other missing programs are installed, with root or sudo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    need_rust
    command -v python3 >/dev/null || missing+=(python3 python3-pip)
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    c_compiler_works || missing+=(gcc libc6-dev) # SQLite is compiled from source.
    command -v strace >/dev/null || missing+=(strace) # It injects disk faults.
    command -v faketime >/dev/null || missing+=(faketime) # It changes the clocks of processes.
    install_missing

    say "the wire types build without an HTTP client"
    cargo check --locked -p shiori-sdk --no-default-features

    # Searched at the end. Absolute, because each test program starts in the directory of its crate.
    logs=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}/test-logs")
    rm -rf "$logs"
    mkdir -p "$logs"
    export SHIORI_TEST_LOGS=$logs

    say "MariaDB, MongoDB and Redis"
    start_services

    say "tests and doctests"
    # Many tests wait for engines and deadlines, so few cores run more of them.
    local cores
    cores=$(getconf _NPROCESSORS_ONLN)
    ((cores > 4)) || export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * cores))}
    local skipped=() disk_full=,disk-full
    disk_faults_can_be_injected || skipped=(--skip faults::disk --skip small_disk) disk_full=
    cargo test --locked --workspace -- --include-ignored "${skipped[@]}" 2>&1 | tee "$logs/tests.out"

    say "the BERT model, which is not a default feature"
    cargo test --locked -p shiori-worker --no-default-features --features bert --lib emotion

    say "histories of clients under faults"
    # With the examples, so that it has the features of the tests and the build is shared.
    cargo build --quiet --locked --workspace --bin history --examples
    # Not those that need another MariaDB or MongoDB, which take long to start.
    history --profile embedded --seconds 30 --faults "kill,half-open$disk_full"
    history --profile distributed --seconds 30 \
        --faults kill,stop,cut,freeze,half-open,clock,redis-kill,redis-flush
    for patch in benches/planted/*.patch; do
        git apply --check "$patch"
    done

    say "compose.yaml and the image"
    python3 scripts/check_image.py "${CARGO_TARGET_DIR:-target}/debug/shiori-server"

    say "the description of the API, and the responses to random requests"
    python3 scripts/check_openapi.py fuzz "${CARGO_TARGET_DIR:-target}/debug/shiori-server"

    example quickstart
    example two_devices
    example weekly_summary
    example embedded_server --once
    example offline_writer
    example export_import
    example watch
    example emotion_calendar
    example terminal_diary <<<$'아침에 비가 왔다.\n/title 비\n/edit 1 아침부터 비가 왔다.\n/week\n/quit'
    example journal_app --once

    say "no diary text, password, token or key in the logs"
    python3 scripts/search_logs.py "$logs"
    say "all passed"
}

# Some containers permit neither tracing nor mounting.
disk_faults_can_be_injected() {
    strace -f -o /dev/null true && unshare --mount --map-root-user mount -t tmpfs none /mnt && return
    say "skipped: tests with disk faults need strace and the permission to mount"
    return 1
}

# Their temporary directory is removed when the script exits.
start_services() {
    services=$(mktemp -d)
    trap 'scripts/services.py stop "$services"; rm -rf "$services"' EXIT
    scripts/services.py start "$services" >"$services/urls"
    # shellcheck source=/dev/null
    . "$services/urls"
}

say() { printf '\n==> %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

need_rust() {
    if ! command -v cargo >/dev/null && [[ -r "$HOME/.cargo/env" ]]; then
        # shellcheck source=/dev/null
        . "$HOME/.cargo/env"
    fi
    command -v cargo >/dev/null || die "Rust is not installed; install it from https://rustup.rs"
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d ' ' -f 2)
    [[ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" == "$wanted" ]] \
        || die "Rust $wanted or newer is required, found $found; run: rustup update stable"
}

c_compiler_works() {
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -x c -o /dev/null - 2>/dev/null
}

# Missing Debian packages.
missing=()

install_missing() {
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || die "missing packages (Debian names): ${missing[*]}"
    say "installing ${missing[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: $*"
    fi
}

history() {
    "${CARGO_TARGET_DIR:-target}/debug/history" --out "${CARGO_TARGET_DIR:-target}/history" "$@" 2>&1 | tee -a "$logs/history.out"
}

# Runs an example, and prints its output only if it fails.
example() {
    local log=$logs/example-$1.out
    say "example: $*"
    # `cargo run` would build dependencies once more, with other features.
    if ! "${CARGO_TARGET_DIR:-target}/debug/examples/$1" "${@:2}" >"$log" 2>&1; then
        cat "$log"
        die "the example $1 failed"
    fi
    echo "ok, $(wc -l <"$log") lines of output"
}

main
