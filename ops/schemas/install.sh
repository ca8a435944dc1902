#!/usr/bin/env bash
# What the tests of alert forms need: the field types of ECS, from its lock file. OCSF's schema comes from PyPI.
set -euo pipefail
cd "$(dirname "$0")"
command -v npm >/dev/null || { echo "the tests of alert forms need npm, to install the schema of ECS" >&2; exit 1; }
cmp -s package-lock.json node_modules/.lock && exit 0
npm ci --silent --no-audit --no-fund --ignore-scripts
cp package-lock.json node_modules/.lock
