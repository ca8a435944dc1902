#!/usr/bin/env bash
# Puts promtool into .cache/bin, once: out of Debian's package in a second, or built from its Go module in minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=v0.316.0
target=$PWD/.cache/bin/promtool
if [ -x "$target" ] || command -v promtool >/dev/null; then exit 0; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p "$(dirname "$target")"
packaged() { apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && cp usr/bin/promtool "$target"; }
if packaged >/dev/null 2>&1 || { apt-get update -qq && packaged; } >/dev/null 2>&1; then exit 0; fi
command -v go >/dev/null || { echo "promtool: install your system's prometheus package, or Go 1.25 to build it" >&2; exit 1; }
go mod init promtool >/dev/null 2>&1
go get "github.com/prometheus/prometheus/cmd/promtool@$version" >/dev/null 2>&1
go build -o "$target" github.com/prometheus/prometheus/cmd/promtool
