#!/usr/bin/env bash
# Set-up, ruff, mypy, then pytest with the given arguments (default: the whole suite).
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
python=$(bash "$root/common/setup.sh")
cd -- "$root"
"$python" -m ruff check .
"$python" -m mypy
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m pytest "$@"
