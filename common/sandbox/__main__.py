"""`python -m common.sandbox`: what keeps model-written programs in on this machine."""

from __future__ import annotations

import sys

from common.console import fail
from common.sandbox.runner import protections

if __name__ == "__main__":
    try:
        found = protections()
    except ValueError as error:
        fail(str(error))
        sys.exit(2)
    for name, how in found.items():
        print(f"{name}: {how}")
