"""`python -m common doctor`: what this machine and this checkout are, to paste into an issue.

Everything that may hang (a GPU's driver, the network) is asked at once, each in a thread that is
not waited for longer than `SECONDS`. Names no host, user, path or variable's value.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import psutil

from common.config import ROOT
from common.results.provenance import git_state, installed_lock, package_versions

SECONDS = 3.0  # for all probes together; importing Python's packages takes another second
HUB, GITHUB = "https://huggingface.co", "https://raw.githubusercontent.com"


def report() -> dict[str, str]:
    """What was found, by what was looked at; what is wrong begins with `!`."""
    probes: dict[str, Callable[[], str]] = {
        "repository": _repository,
        "GPUs": _gpus,
        "Ray": _ray,
        "hub": lambda: _reach(os.environ.get("HF_ENDPOINT", HUB)) + _hub_settings(),
        "GitHub": lambda: _reach(GITHUB),
    }
    found = probe(probes, SECONDS)
    return {
        "repository": found["repository"],
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "set-up": _setup(),
        "packages": ", ".join(f"{k} {v}" for k, v in package_versions().items()),
        "machine": _machine(),
        "GPUs": found["GPUs"],
        "disk": _disk(),
        "Ray": found["Ray"],
        "hub": found["hub"],
        "GitHub": found["GitHub"],
        "data mirror": _mirror(),
    }


def probe(checks: dict[str, Callable[[], str]], seconds: float) -> dict[str, str]:
    """The answers of the checks that answer in time; the others are said not to."""
    found: dict[str, str] = {}

    def ask(name: str, check: Callable[[], str]) -> None:
        try:
            found[name] = check()
        except Exception as error:  # a report is wanted most where something is broken
            found[name] = f"! {type(error).__name__}: {error}"

    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in checks.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return {name: found.get(name, f"! no answer in {seconds:g} s") for name in checks}


def _repository() -> str:
    git = git_state(ROOT)
    if git["commit"] is None:
        return "not a git checkout"
    return f"commit {git['commit'][:10]}{', with local changes' if git['dirty'] else ''}"


def _setup() -> str:
    try:
        lock = f"requirements/{installed_lock(ROOT / 'requirements').name}"
    except (ValueError, metadata.PackageNotFoundError) as error:
        return f"! {error}"
    stamp = ROOT / ".venv" / "setup.stamp"
    whole = stamp.is_file() and len(stamp.read_text().split()) == 2
    return lock if whole else f"! {lock}, set-up not finished: `bash common/setup.sh`"


def _machine() -> str:
    memory = psutil.virtual_memory()
    cores, load = psutil.cpu_count() or 1, os.getloadavg()[0]
    text = (
        f"{cores} cores, load {load:.1f}, {memory.available / 2**30:.1f} of "
        f"{memory.total / 2**30:.1f} GiB memory free"
    )
    # Ray waits 30 s for its node, a constant of its own
    return f"! {text}: on a machine this busy Ray may not start" if load > 4 * cores else text


def _gpus() -> str:
    if shutil.which("nvidia-smi") is None:
        return "none (no nvidia-smi)"
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"! nvidia-smi: no answer in {SECONDS:g} s"
    if done.returncode != 0:
        return "! nvidia-smi fails: " + " ".join((done.stdout + done.stderr).split())[:200]
    lines = done.stdout.splitlines()
    return "; ".join(f"{lines.count(line)} x {line}" for line in dict.fromkeys(lines)) or "none"


def _disk() -> str:
    places = {"repository": ROOT, "/tmp": Path("/tmp"), "/dev/shm": Path("/dev/shm")}
    free = {n: shutil.disk_usage(p).free / 1e9 for n, p in places.items() if p.is_dir()}
    text = ", ".join(f"{gigabytes:.1f} GB free in {name}" for name, gigabytes in free.items())
    return f"! {text}: the smallest run needs 1 GB" if free["repository"] < 1 else text


def _ray() -> str:
    version = metadata.version("ray")
    if " " in str(ROOT):
        return f"! {version}: cannot work below a folder with spaces"
    address = os.environ.get("RAY_ADDRESS", "")
    if address in ("", "auto", "local"):
        nodes = sum(p.info["name"] == "raylet" for p in psutil.process_iter(["name"]))
        return f"{version}, RAY_ADDRESS is not set; {nodes} nodes run on this machine"
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return f"! {version}, RAY_ADDRESS is no HOST:PORT"
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except (OSError, OverflowError) as error:
        return f"! {version}, the cluster of RAY_ADDRESS does not answer: {error}"
    return f"{version}, the cluster of RAY_ADDRESS answers"


def _reach(url: str) -> str:
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "recipes"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return f"answers ({answer.status})"
    except urllib.error.HTTPError as error:
        return f"answers ({error.code})" if error.code < 500 else f"! fails ({error.code})"
    except OSError as error:
        return f"! not reachable: {getattr(error, 'reason', error)}"
    except ValueError:  # whose text is the address
        return "! not reachable: the address is none"


def _hub_settings() -> str:
    names = [n for n in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME") if os.environ.get(n)]
    return f"; set: {', '.join(names)}" if names else ""


def _mirror() -> str:
    mirror = os.environ.get("DATA_MIRROR")
    if not mirror:
        return "DATA_MIRROR is not set"
    return "DATA_MIRROR is a folder" if Path(mirror).is_dir() else "! DATA_MIRROR is no folder"
