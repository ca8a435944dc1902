#!/usr/bin/env bash
# Builds promtool from its Go module into .cache/bin, once; needs Go 1.25 or newer.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=v0.316.0
target=$PWD/.cache/bin/promtool
[ -x "$target" ] && exit 0
command -v go >/dev/null || { echo "promtool is built from source: install Go, or put promtool on the PATH" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go mod init promtool >/dev/null 2>&1
go get "github.com/prometheus/prometheus/cmd/promtool@$version" >/dev/null 2>&1
mkdir -p "$(dirname "$target")"
go build -o "$target" github.com/prometheus/prometheus/cmd/promtool
