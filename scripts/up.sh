#!/usr/bin/env bash
# Runs the distributed profile on this machine: MariaDB, MongoDB, Redis, two servers, two workers.
#
#   scripts/up.sh          builds and starts everything, and prints the URLs of the servers
#   scripts/up.sh down     stops everything; the data in ./shiori-up is kept for the next start
#
# Ports: 8081 and 8082, or SHIORI_UP_PORTS="9001 9002". The workers read the settings of the language
# model from the environment (SHIORI_LLM_MODEL, OPENAI_BASE_URL, OPENAI_API_KEY); by default they use
# the built-in summariser. With Docker, compose.yaml does the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=shiori-up
release=${CARGO_TARGET_DIR:-target}/release
read -ra ports <<<"${SHIORI_UP_PORTS:-8081 8082}"

up() {
    if compgen -G "$dir/*.pid" >/dev/null; then
        echo "error: already running, or not stopped; run: scripts/up.sh down" >&2
        exit 1
    fi
    cargo build --locked --release -p shiori-server -p shiori-worker
    (umask 077 && mkdir -p "$dir")
    trap 'scripts/services.py stop "$dir"' ERR
    unset SHIORI_TEST_MYSQL_URL SHIORI_TEST_MONGODB_URL SHIORI_TEST_REDIS_URL
    local urls
    urls=$(scripts/services.py start "$dir")
    eval "$urls"
    export SHIORI_DATABASE_URL=$SHIORI_TEST_MYSQL_URL
    export SHIORI_MONGODB_URL=$SHIORI_TEST_MONGODB_URL
    export SHIORI_REDIS_URL=$SHIORI_TEST_REDIS_URL
    SHIORI_JWT_SECRET=$(secret jwt)
    SHIORI_INTERNAL_TOKEN=$(secret internal)
    export SHIORI_JWT_SECRET SHIORI_INTERNAL_TOKEN
    "$release/shiori-server" migrate
    local port
    for port in "${ports[@]}"; do
        SHIORI_LISTEN=127.0.0.1:$port \
            scripts/services.py run "$dir" "server-$port" "$release/shiori-server"
        SHIORI_SERVER_URL=http://127.0.0.1:$port \
            scripts/services.py run "$dir" "worker-$port" "$release/shiori-worker"
    done
    for port in "${ports[@]}"; do
        ready "$port"
        echo "http://127.0.0.1:$port"
    done
}

# A secret that is generated once and stored with the data.
secret() {
    [[ -s "$dir/$1.secret" ]] || (umask 077 && python3 -c 'import secrets; print(secrets.token_urlsafe(32))' >"$dir/$1.secret")
    cat "$dir/$1.secret"
}

ready() {
    local _
    for _ in {1..100}; do
        if python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)' \
            "http://127.0.0.1:$1/readyz" 2>/dev/null; then
            return
        fi
        sleep 0.1
    done
    echo "error: the server at port $1 is not ready; see $dir/server-$1.log" >&2
    return 1
}

case "${1:-up}" in
    up) up ;;
    down) scripts/services.py stop "$dir" ;;
    *)
        echo "usage: scripts/up.sh [down]" >&2
        exit 2
        ;;
esac
