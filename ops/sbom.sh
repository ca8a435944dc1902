#!/usr/bin/env bash
# Writes a bill of materials (CycloneDX, JSON) of what each image installs: ops/sbom.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?usage: ops/sbom.sh FOLDER}
mkdir -p "$out"
for lock in cpu gpu; do
    "$here/.venv/bin/cyclonedx-py" requirements --pyproject "$here/pyproject.toml" --mc-type application \
        --output-reproducible --of JSON -o "$out/$lock.cdx.json" "$here/ops/locks/$lock.txt" 2>/dev/null
done
