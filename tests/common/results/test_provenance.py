"""Provenance in a real git checkout, and of files and values."""

import hashlib
import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from common.results import provenance

NOTHING = {"commit": None, "dirty": None, "diff_sha256": None}


def git(root: Path, *arguments: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(root), *names, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    root.mkdir()
    git(root, "init", "-q")
    (root / "code.py").write_text("x = 1\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root


def test_git_state_clean_dirty_and_untracked(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD").strip()
    assert provenance.git_state(checkout) == {"commit": commit, "dirty": False, "diff_sha256": None}
    (checkout / "new.py").write_text("y = 1\n")
    assert provenance.git_state(checkout) == {"commit": commit, "dirty": True, "diff_sha256": None}
    (checkout / "code.py").write_text("x = 2\n")
    state = provenance.git_state(checkout)
    diff = git(checkout, "diff", "HEAD").encode()
    assert state["dirty"] and state["diff_sha256"] == hashlib.sha256(diff).hexdigest()


def test_git_state_ignores_the_records_that_runs_write(checkout: Path) -> None:
    (checkout / "results").mkdir()
    (checkout / "results" / "a.json").write_text("{}")
    assert provenance.git_state(checkout)["dirty"] is False


def test_git_state_is_null_outside_a_checkout(checkout: Path, tmp_path: Path) -> None:
    assert provenance.git_state(tmp_path) == NOTHING
    (checkout / "unpacked").mkdir()
    assert provenance.git_state(checkout / "unpacked") == NOTHING
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert provenance.git_state(empty) == NOTHING


def test_git_state_is_null_without_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state(checkout) == NOTHING


def test_hashes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1_000_000)
    assert provenance.sha256_file(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
    assert provenance.lock_state(path) == {"file": "file", "sha256": provenance.sha256_file(path)}
    one, same = {"b": [1, None], "a": "\u00e9"}, {"a": "\u00e9", "b": [1, None]}
    assert provenance.sha256_json(one) == provenance.sha256_json(same)
    assert provenance.sha256_json(one) != provenance.sha256_json(one | {"b": [1, 0]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        provenance.sha256_json({"a": float("nan")})


def test_package_versions_are_the_installed_ones() -> None:
    import numpy

    versions = provenance.package_versions()
    assert versions["numpy"] == numpy.__version__
    assert set(versions) <= set(provenance.PACKAGES)


def test_hardware_names_no_host_and_no_path() -> None:
    machine = provenance.hardware()
    assert machine["cores"] >= 1 and machine["memory_gb"] > 0 and machine["cpu"]
    text = json.dumps(machine)
    assert platform.node() not in text and os.path.expanduser("~") not in text


def test_gpus_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559, 550.54'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    gpu = {"name": "NVIDIA H100 80GB HBM3", "memory_gb": 79.6, "driver": "550.54"}
    assert provenance.hardware()["gpus"] == [gpu]
    tool.write_text("#!/bin/sh\necho 'No devices were found'; exit 6\n")
    assert provenance.hardware()["gpus"] == []
