#!/usr/bin/env bash
# What the tests of the pages need: the system's own Chromium, and axe-core from its lock file.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v chromium chromium-browser google-chrome >/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || {
        echo "the page tests need Chromium: install your system's package (Debian: apt install chromium)" >&2; exit 1; }
    echo "installing Chromium" >&2
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
fi
command -v npm >/dev/null || { echo "the page tests need npm, to install axe-core" >&2; exit 1; }
cmp -s package-lock.json node_modules/.lock && exit 0
npm ci --silent --no-audit --no-fund --ignore-scripts
cp package-lock.json node_modules/.lock
