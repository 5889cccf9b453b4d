"""Where a number comes from: code, packages, machine and files, as plain JSON-able values.

Holds no host name, user name, environment variable or absolute path.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

PACKAGES = [
    *("verl", "torch", "transformers", "ray", "tensordict", "TransferQueue", "vllm", "veomni"),
    *("flash-attn", "hydra-core", "datasets", "numpy"),
]
LOCKED = ("torch", "transformers")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of the bytes of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value in canonical form: sorted keys, no spaces, ASCII.

    Raises: ValueError for NaN or infinity, which JSON has no form for.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def git_state(root: Path) -> dict[str, Any]:
    """Commit, whether the tree differs from it, and the sha256 of `git diff HEAD`.

    `results/` and README.md are left out: they are what runs write, and the first seed's record
    would make every later seed look dirty. All null when root is not the top of a git checkout
    with a commit.
    """
    nothing = {"commit": None, "dirty": None, "diff_sha256": None}
    top = _git(root, "rev-parse", "--show-toplevel")
    # A folder unpacked inside someone else's checkout would report that checkout's commit.
    if not top or Path(top.decode().strip()).resolve() != root.resolve():
        return nothing
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return nothing
    code = ("--", ".", ":(exclude)results", ":(exclude)README.md")
    diff = _git(root, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", *code)
    return {
        "commit": commit.decode().strip(),
        "dirty": bool(_git(root, "status", "--porcelain", *code)),
        "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
    }


def committed_versions(root: Path, path: Path) -> Iterator[Any]:
    """The JSON of a file in the last commits that changed it, newest first; none outside git."""
    if not path.is_relative_to(root):
        return
    name = path.relative_to(root).as_posix()
    for commit in _git(root, "log", "-n", "10", "--format=%H", "--", name).decode().split():
        with contextlib.suppress(ValueError):
            yield json.loads(_git(root, "show", f"{commit}:{name}"))


def _git(root: Path, *arguments: str) -> bytes:
    """Output of git, empty where git is missing or refuses."""
    if shutil.which("git") is None:
        return b""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


def package_versions() -> dict[str, str]:
    """{distribution: version} of the packages that decide a result; absent ones are left out."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def installed_lock(folder: Path) -> Path:
    """The lock file of `folder` whose torch and transformers are the installed ones.

    Raises: ValueError when there is none: the environment was not made by the set-up.
    """
    wanted = [f"{name}=={metadata.version(name).partition('+')[0]}" for name in LOCKED]
    for lock in sorted(folder.glob("*.txt")):
        pinned = {line.split()[0] for line in lock.read_text().splitlines() if line.strip()}
        if pinned.issuperset(wanted):
            return lock
    raise ValueError(
        f"the installed {' and '.join(wanted)} match no file of requirements/; "
        "run `bash common/setup.sh` and start through run.sh"
    )


def lock_state(lock: Path) -> dict[str, str]:
    """Name (without its folder) and sha256 of the lock file that the environment was built from."""
    return {"file": lock.name, "sha256": sha256_file(lock)}


def hardware() -> dict[str, Any]:
    """Processor model, cores this process may use, memory in GiB, and the GPUs nvidia-smi lists."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _gpus() -> list[dict[str, Any]]:
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version"]
    done = subprocess.run(
        [*query, "--format=csv,noheader,nounits"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:  # installed without a device: a machine without GPUs
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return [
        {"name": name, "memory_gb": round(float(memory) / 1024, 1), "driver": driver}
        for name, memory, driver in rows
    ]
