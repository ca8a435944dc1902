#!/usr/bin/env bash
# Starts the demo; Grafana is then at http://127.0.0.1:3000, Prometheus at http://127.0.0.1:9090.
set -euo pipefail
cd "$(dirname "$0")"
# Readable for the container's user: it guards this demo's metrics alone.
[ -f metrics-token ] || (umask 022; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > metrics-token)
exec docker compose up --build "$@"
