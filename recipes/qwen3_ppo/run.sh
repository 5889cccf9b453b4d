#!/usr/bin/env bash
# Sets up .venv and runs this folder's recipe; arguments are overrides (scale=, variant=, seed=, any of verl's).
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
python=$(bash "$root/common/setup.sh")
cd -- "$root"
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m common run "$here" "$@"
