#!/usr/bin/env bash
# Merges generated triples and opens the results with the npm packages of a real editor.
#
#     tools/editor-judge/run.sh [TRIPLES]     triples of each kind of edit; 1000 by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

documents=$(mktemp)
trap 'rm -f "$documents"' EXIT
npm install --no-audit --no-fund --silent
SHIORI_MERGE_TRIPLES=${1:-1000} SHIORI_MERGE_NDJSON=$documents \
    cargo test --locked --release -p shiori-sdk --no-default-features --lib judge -- --nocapture
node judge.mjs "$documents"
