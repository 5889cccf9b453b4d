"""What every program finds imported, as LiveCodeBench's runner does for its solutions.

Source: LiveCodeBench @15808c76, lcb_runner/evaluation/testing_util.py, `import_string`: the same
modules in the same order, which decides what `pow` or `open` is.
"""

STAR = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random"),
    *("statistics", "itertools", "functools", "operator", "io", "sys", "json", "builtins"),
    "typing",
)
NAMED = tuple(name for name in STAR if name not in ("builtins", "typing"))
PRELUDE = "".join(
    [f"from {name} import *\n" for name in STAR]
    + [f"import {name}\n" for name in NAMED]
    + ["sys.setrecursionlimit(50000)\n"]
)
