#!/usr/bin/env bash
# Writes the lock files: exact versions with hashes, the same for every platform, naming no registry.
#   ops/lock.sh            keep what is locked, add what is new
#   ops/lock.sh --upgrade  newest versions that pyproject.toml allows
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
lock() {
    local out=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command 'make lock' --constraint ops/locks/constraints.in --output-file "ops/locks/$out" "$@"
}
lock uv.txt ops/locks/uv.in "$@"
lock cpu.txt pyproject.toml --extra cpu --extra web --group build "$@"
lock gpu.txt pyproject.toml --extra gpu --extra web --group build "$@"
lock dev.txt pyproject.toml --extra cpu --extra train --extra bench --extra web --extra otel --extra docs --group build --group dev "$@"
# Ray is large: an environment of its own, for `make test-ray`.
lock ray.txt pyproject.toml --extra cpu --extra web --extra ray --group build --group test "$@"
