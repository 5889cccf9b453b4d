#!/usr/bin/env bash
# Set-up, ruff, mypy, then pytest with the given arguments (default: the whole suite, in two processes).
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
python=$(bash "$root/common/setup.sh")
cd -- "$root"
"$python" -m ruff check .
"$python" -m mypy
[ $# -gt 0 ] || set -- -n 2 --dist loadscope --no-loadscope-reorder
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m pytest "$@"
