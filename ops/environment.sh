#!/usr/bin/env bash
# Makes a virtual environment hold exactly one lock file and this checkout; does nothing when it already does.
#   ops/environment.sh VENV LOCK [editable]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 lock=$2 mode=${3:-}
python=${PYTHON:-python3}

command -v "$python" >/dev/null || { echo "longwatch needs Python 3.11 or newer; install it or set PYTHON=" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "longwatch needs Python 3.11 or newer, $("$python" --version) found; set PYTHON= to a newer one" >&2; exit 1; }

if [ "$mode" = editable ]; then source_state=$(cat pyproject.toml)
else source_state=$(cat pyproject.toml; find kernels model pipeline -type f ! -path '*/__pycache__/*' -print0 | sort -z | xargs -0 cat | sha256sum); fi
state=$( { cat "$lock" ops/locks/uv.txt "$0"; echo "$source_state $mode"; "$python" --version; } | sha256sum | cut -d' ' -f1)
[ -f "$venv/.longwatch-state" ] && [ "$(cat "$venv/.longwatch-state")" = "$state" ] && exit 0

echo "preparing $venv from $lock" >&2
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv" || {
    echo "python3 -m venv failed; on Debian install python3-venv" >&2; exit 1; }
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r ops/locks/uv.txt
export VIRTUAL_ENV=$PWD/$venv
"$venv/bin/uv" pip sync --quiet --require-hashes "$lock" ops/locks/uv.txt
"$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation ${mode:+-e} .
echo "$state" > "$venv/.longwatch-state"
