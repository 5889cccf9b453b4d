"""Run folders, the store of shared stages, keys and locks.

Everything a run makes lies under `runs/`. Stages that several runs share (data, model, sft, the
evaluation of the cold-start model) lie in `runs/.store/<stage>-<key>` and are linked into the run's
folder; `train`, `evaluate` and `record` belong to one run. A finished stage holds `stage.json` with
the inputs it was made from; a key is the hash of those inputs and of the code that reads them.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from common.config import ROOT
from common.console import say
from common.process import end_left_over
from common.results.provenance import installed_lock, sha256_file, sha256_json

STORE = ROOT / "runs" / ".store"
STAGE_FILE = "stage.json"


def source_digest(*patterns: str) -> dict[str, str]:
    """Hashes of the source files that a stage runs, and of the lock, by path in the repository."""
    found = sorted({p for pattern in patterns for p in ROOT.glob(pattern)})
    assert found, patterns
    found.append(installed_lock(ROOT / "requirements"))
    return {str(p.relative_to(ROOT)): sha256_file(p) for p in found}


def module_sources(*modules: str) -> list[str]:
    """Source files, relative to the repository, of modules and of all that they import here."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        file = Path(*waiting.pop().split("."))
        # data/prompts.py is a module, though data/prompts/ holds its texts
        package = (ROOT / file / "__init__.py").is_file()
        file = file / "__init__.py" if package else file.with_suffix(".py")
        if str(file) in found or not (ROOT / file).is_file():
            continue
        found.add(str(file))
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return sorted(found)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_json(path: Path, value: Any) -> None:
    """Atomic: readers see the old file or the whole new one."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """How `write_json` writes a value: equal values give equal bytes."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def write_text(path: Path, text: str) -> None:
    """Atomic: readers see the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


@contextlib.contextmanager
def locked(path: Path, waiting: str | None) -> Iterator[None]:
    """Hold an exclusive lock on `path`, released with the process however it ends.

    When another process holds it: wait after printing `waiting`, or, when that is None, raise
    ValueError naming that process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            if waiting is None:
                raise ValueError(
                    f"{relative(path.parent)}: another process ({holder}) is running here; "
                    "wait for it or stop it"
                ) from None
            say(f"{waiting} (process {holder})")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def relative(path: Path) -> str:
    """The path relative to the repository where it lies inside, for messages and records."""
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)


def shared_stage(
    name: str, inputs: dict[str, Any], make: Callable[[Path], None], resumable: bool = False
) -> Path:
    """The finished folder of a shared stage, made now unless one with equal inputs exists.

    `make` fills a partial folder, which is renamed when whole; an interrupted one is made anew, or
    handed to `make` again when `resumable`.
    """
    key = sha256_json(inputs)
    final = STORE / f"{name}-{key[:12]}"
    partial = STORE / f"{name}-{key[:12]}.partial"
    with locked(STORE / f"{name}-{key[:12]}.lock", f"{name}: another run is making it; waiting"):
        if not (final / STAGE_FILE).exists():
            end_left_over(partial)
            if not resumable:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True, exist_ok=True)
            started = time.time()
            make(partial)
            finish_stage(partial, inputs, time.time() - started)
            partial.rename(final)
        else:
            say(f"{name}: done before ({relative(final)})")
            check_files(final)
    return final


def finish_stage(folder: Path, inputs: dict[str, Any], seconds: float) -> None:
    """Mark a stage's folder as whole."""
    files = {p.name: sha256_file(p) for p in sorted(folder.glob("*.parquet"))}
    values = {"key": sha256_json(inputs), "inputs": inputs, "files": files}
    times = {"seconds": round(seconds, 1), "finished": now()}
    write_json(folder / STAGE_FILE, values | times)


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_files(folder: Path) -> None:
    """Raise ValueError naming the data file of a finished stage that changed or vanished."""
    for name, sha in read_json(folder / STAGE_FILE)["files"].items():
        path = folder / name
        if not path.exists() or sha256_file(path) != sha:
            raise ValueError(
                f"{relative(path)}: damaged since it was made (sha256 differs); "
                f"delete {relative(folder)} and run again"
            )


def link(run_dir: Path, name: str, target: Path) -> Path:
    """`run_dir/name` as a relative link to a shared stage's folder."""
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / name
    wanted = os.path.relpath(target, run_dir)
    if not path.is_symlink() or os.readlink(path) != wanted:
        path.unlink(missing_ok=True)
        path.symlink_to(wanted)
    return path


def difference(old: Any, new: Any, prefix: str = "") -> str | None:
    """The first place where two JSON-able values differ, as `key: old -> new`; None when equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            found = difference(old.get(key), new.get(key), f"{prefix}{key}.")
            if found:
                return found
        return None
    return None if old == new else f"{prefix[:-1]}: {old} -> {new}"
