#!/usr/bin/env bash
# Measures speed on this machine and writes benchmarks/report.md; `bash benchmarks/run.sh --help` tells what.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
python=$(bash "$root/common/setup.sh")
cd -- "$root"
trl=runs/.benchmarks/trl # beside .venv, not in it
[ -d "$trl/trl" ] ||
  "$python" -m pip install --quiet --no-deps --target "$trl" -r benchmarks/requirements.txt
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m benchmarks "$@"
