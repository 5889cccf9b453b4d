"""common/setup.sh in a copy of the repository: with fakes for what a test cannot break, and with
the real Python and pip on local wheels. Also what the locks may contain."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TOOLS = "awk bash cat cp cut dirname flock grep ln mkdir readlink rm sed sha256sum sleep tail wc"

# A Python that knows what setup.sh asks of one; its venv module makes .venv/bin/python a copy.
PYTHON = """#!/bin/bash
echo "$*" >>"$CALLS"
case "$*" in
  *version_info*) echo {version} ;;
  *"import ensurepip"*) [ -z "{without_venv}" ] ;;
  "-m venv"*)
    while [ -e "$CALLS.hold" ]; do sleep 0.1; done
    mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && echo "version = {version}" >"$4/pyvenv.cfg" ;;
  "-m pip install"*) [ -z "${{PIP_SAYS:-}}" ] || {{ echo "$PIP_SAYS"; exit 1; }} ;;
  *"import torch"*) [ -z "${{IMPORT_SAYS:-}}" ] || {{ echo "$IMPORT_SAYS"; exit 1; }} ;;
esac
"""


class Copy:
    """setup.sh with tiny locks, and a PATH of nothing but the tools and fakes put there."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin, self.calls = folder / "a repo", folder / "bin", folder / "calls"
        self.venv = self.root / ".venv"
        (self.root / "common").mkdir(parents=True)
        (self.root / "requirements").mkdir()
        shutil.copy(ROOT / "common/setup.sh", self.root / "common")
        for lock in ("micro", "node8"):
            (self.root / f"requirements/{lock}.txt").write_text("torch==2.13.0\nverl==0.9.1\n")
        self.bin.mkdir()
        for tool in TOOLS.split():
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        self.fake("uname", 'if [ "$1" = -s ]; then echo Linux; else echo host; fi')
        self.free(100)
        self.python("python3")

    def fake(self, name: str, body: str) -> None:
        (self.bin / name).write_text(body if body.startswith("#!") else f"#!/bin/bash\n{body}\n")
        (self.bin / name).chmod(0o755)

    def python(self, name: str, version: str = "3.11", without_venv: str = "") -> None:
        self.fake(name, PYTHON.format(version=version, without_venv=without_venv))

    def free(self, gigabytes: int) -> None:
        self.fake("df", f"echo header; echo disk 0 0 {gigabytes * 1024**2} 0% /")

    def start(self, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.bin / "bash", self.root / "common/setup.sh"],
            env={"PATH": str(self.bin), "CALLS": str(self.calls), "CDPATH": "/", **env},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **env: str) -> tuple[int, str, str]:
        process = self.start(**env)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def count(self, call: str) -> int:
        return self.calls.read_text().count(call) if self.calls.exists() else 0

    def made(self, **env: str) -> str:
        """Runs it, expects success; returns stderr."""
        code, out, err = self.run(**env)
        assert (code, out) == (0, f"{self.venv}/bin/python\n"), err
        return err

    def refused(self, **env: str) -> str:
        """Runs it, expects one line of error after the progress lines and nothing on stdout."""
        code, out, err = self.run(**env)
        assert code != 0 and out == ""
        *progress, error = err.splitlines()
        assert error.startswith("setup: error: ")
        assert all(re.match("setup: (?!error)", line) for line in progress), err
        return error


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.02)


def test_installs_the_cpu_torch_then_the_lock_then_nothing(copy: Copy) -> None:
    assert "ready: .venv (micro)" in copy.made()
    installs = [c for c in copy.calls.read_text().splitlines() if c.startswith("-m pip install")]
    assert len(installs) == 2
    assert "whl/cpu torch==2.13.0+cpu" in installs[0]
    assert installs[1].endswith("requirements/micro.txt")
    calls = copy.calls.read_text()
    assert copy.made() == "", "a call with nothing to do is silent"
    assert copy.calls.read_text() == calls, "and starts no Python"


def test_macos_has_one_torch(copy: Copy) -> None:
    copy.fake("uname", 'if [ "$1" = -s ]; then echo Darwin; else echo host; fi')
    copy.made()
    assert copy.count("-m pip install") == 1


def test_shasum_replaces_sha256sum(copy: Copy) -> None:
    (copy.bin / "sha256sum").unlink()
    copy.fake("shasum", f'#!{sys.executable}\nimport hashlib, sys\n'
              'print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), "-")')
    copy.made()
    parts = [copy.root / "common/setup.sh", copy.root / "requirements/micro.txt"]
    content = b"".join(p.read_bytes() for p in [*parts, copy.venv / "pyvenv.cfg"])
    digest = hashlib.sha256(content).hexdigest()
    assert (copy.venv / "setup.stamp").read_text() == f"micro {digest}\n"
    assert copy.made() == ""


def test_a_changed_lock_is_installed_into_the_same_venv(copy: Copy) -> None:
    copy.made()
    (copy.root / "requirements/micro.txt").write_text("torch==2.13.1\n")
    copy.made()
    assert copy.count("torch==2.13.1+cpu") == 1
    assert copy.count("-m venv") == 1


def test_interrupted_set_up_is_repaired_and_keeps_its_downloads(copy: Copy) -> None:
    copy.refused(PIP_SAYS="ERROR: Operation cancelled by user")
    download = copy.venv / "build/cache/wheel"
    download.parent.mkdir()
    download.touch()
    copy.refused(PIP_SAYS="ERROR: Operation cancelled by user")
    assert download.exists()
    copy.made()
    assert copy.count("-m venv") == 1, "a .venv whose Python runs is used again"
    assert not (copy.venv / "build").exists()
    assert copy.made() == ""


@pytest.mark.parametrize("damage", ["no python", "python does not run"])
def test_broken_venv_is_remade(copy: Copy, damage: str) -> None:
    copy.made()
    python = copy.venv / "bin/python"
    python.unlink()
    if damage == "python does not run":
        python.write_text("#!/bin/bash\nexit 1\n")
        python.chmod(0o755)
        (copy.venv / "setup.stamp").unlink()
    copy.made()
    assert copy.count("-m venv --clear") == 2


def test_set_up_finds_a_python_that_runs(copy: Copy) -> None:
    copy.python("python3", version="3.13")
    copy.fake("python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    copy.python("python3.11", without_venv="yes")
    copy.python("python3.10", version="3.10")
    assert "python3.10 (Python 3.10)" in copy.made()


def test_python_of_the_user_wins_and_remakes(copy: Copy) -> None:
    copy.made()
    copy.python("other", version="3.12")
    assert "other (Python 3.12)" in copy.made(PYTHON=str(copy.bin / "other"))
    assert copy.made(PYTHON=str(copy.bin / "other")) == ""
    assert copy.made() == "", "without PYTHON, .venv stays as it is"


def test_gpu_machine_takes_node8_and_keeps_it(copy: Copy) -> None:
    copy.python("python3.12", version="3.12")
    copy.fake("nvidia-smi", "echo 'GPU 0: NVIDIA H200 (UUID: GPU-0)'")
    assert "ready: .venv (node8)" in copy.made()
    assert copy.count("+cpu") == 0
    (copy.bin / "nvidia-smi").unlink()
    assert copy.made() == "", "the same folder seen from a machine without a GPU"
    assert "ready: .venv (micro)" in copy.made(LOCK="micro")


def test_driver_without_gpu_takes_micro(copy: Copy) -> None:
    copy.fake("nvidia-smi", "echo 'No devices were found'; exit 6")
    assert "ready: .venv (micro)" in copy.made()


def test_torch_of_the_index_where_the_cpu_build_is_out_of_reach(copy: Copy) -> None:
    fake = PYTHON.format(version="3.11", without_venv="")
    copy.fake("python3", fake.replace('case "$*" in', 'case "$*" in\n  *+cpu*) exit 1 ;;'))
    assert "taking the index's own, with gigabytes of CUDA" in copy.made()


@pytest.mark.parametrize(
    ("says", "mend"),
    [
        ("WARNING: Retrying (Retry(total=4)) after connection broken by 'E'\nERROR: No matching",
         "check the network, the proxy or PIP_INDEX_URL"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
         "free 4 GB"),
        ("ERROR: one\nERROR: No matching distribution found for verl==0.9.1",
         "pip failed (No matching distribution found for verl==0.9.1): see .venv/setup.log"),
    ],
)
def test_failure_of_pip_is_one_line(copy: Copy, says: str, mend: str) -> None:
    assert mend in copy.refused(PIP_SAYS=says)
    assert says in (copy.venv / "setup.log").read_text()


def test_packages_that_do_not_import(copy: Copy) -> None:
    error = copy.refused(IMPORT_SAYS="Traceback\nOSError: libgomp.so.1 is missing")
    assert "(OSError: libgomp.so.1 is missing): remove .venv and call again" in error
    assert "installing" in copy.made(), "the failed set-up left no valid stamp"


def test_no_suitable_python(copy: Copy) -> None:
    copy.python("python3", version="3.13")
    error = copy.refused()
    assert "need a Python of 3.10, 3.11, 3.12" in error and "set PYTHON to its path" in error
    assert "unset it" in copy.refused(PYTHON="python3")
    assert "unset it" in copy.refused(PYTHON="/nowhere/python3")


def test_node8_needs_its_own_python(copy: Copy) -> None:
    error = copy.refused(LOCK="node8")
    assert "need a Python of 3.12 and PATH has none" in error and "LOCK=micro" in error


def test_no_venv_module(copy: Copy) -> None:
    copy.python("python3", without_venv="yes")
    assert "apt install python3.11-venv" in copy.refused()


@pytest.mark.parametrize(("lock", "free", "need"), [("micro", 3, 4), ("node8", 39, 40)])
def test_small_disk(copy: Copy, lock: str, free: int, need: int) -> None:
    copy.python("python3", version="3.12")
    copy.free(free)
    error = copy.refused(LOCK=lock)
    assert f"{free} GB are free" in error and f"need {need}: free some" in error
    assert not copy.venv.exists()
    copy.free(need)
    copy.made(LOCK=lock)


def test_missing_lock(copy: Copy) -> None:
    (copy.root / "requirements/micro.txt").unlink()
    assert "git checkout requirements" in copy.refused()
    assert "huge.txt is missing: set LOCK to micro or node8" in copy.refused(LOCK="huge")


@pytest.mark.parametrize("without_flock", [False, True])
def test_second_set_up_waits_for_the_first(copy: Copy, without_flock: bool) -> None:
    if without_flock:
        (copy.bin / "flock").unlink()
    hold = Path(f"{copy.calls}.hold")
    hold.touch()
    first = copy.start()
    wait_for(lambda: copy.count("-m venv"))
    second = copy.start()
    assert second.stderr is not None
    assert "waiting for it" in second.stderr.readline()
    hold.unlink()
    for process in (first, second):
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, f"{copy.venv}/bin/python\n")
    assert copy.count("-m venv") == 1
    assert copy.count("-m pip install") == 2, "the second found it ready"


def test_lock_of_a_dead_process_is_taken_over(copy: Copy) -> None:
    (copy.bin / "flock").unlink()
    dead = subprocess.Popen(["true"])
    dead.wait()
    (copy.root / ".venv.lock").symlink_to(f"host:{dead.pid}")
    copy.made()
    assert not (copy.root / ".venv.lock").is_symlink()


# --- with the real Python and pip ----------------------------------------------------------------


def wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """Writes a pure wheel with one module that tells its version."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


@pytest.fixture
def real(copy: Copy) -> tuple[Copy, dict[str, str]]:
    """The copy with this Python, the real disk and a folder of wheels as pip's only source."""
    wheels = copy.root.parent / "wheels"
    wheels.mkdir()
    for version in ("2.13.0", "2.13.0+cpu", "2.14.0"):
        wheel(wheels, "torch", version)
    wheel(wheels, "verl", "0.9.1", requires="Requires-Dist: torch>=2\n")
    for tool in ("df", "uname"):
        (copy.bin / tool).unlink()
        (copy.bin / tool).symlink_to(shutil.which(tool) or "")
    home = copy.root.parent / "home"
    home.mkdir()
    env = {"PYTHON": sys.executable, "HOME": str(home), "PIP_CONFIG_FILE": os.devnull}
    return copy, {**env, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.as_uri()}


@pytest.mark.component
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a CPU build of torch")
def test_real_set_up(real: tuple[Copy, dict[str, str]]) -> None:
    copy, env = real
    copy.made(**env)
    python = copy.venv / "bin/python"
    report = "import torch, verl; print(torch.__version__, verl.__version__)"
    installed = subprocess.run([python, "-c", report], capture_output=True, text=True, check=True)
    assert installed.stdout == "2.13.0+cpu 0.9.1\n", "the lock did not replace the CPU build"
    assert list((copy.root.parent / "home").iterdir()) == []
    assert copy.made(**env) == ""

    (copy.venv / "setup.stamp").write_text("micro\n")  # as an interrupted set-up leaves it
    shutil.rmtree(next(copy.venv.glob("lib/python*/site-packages/verl-*.dist-info")))
    survivor = copy.venv / "survivor"
    survivor.touch()
    assert "making" not in copy.made(**env)
    assert survivor.exists() and list(copy.venv.glob("lib/python*/site-packages/verl-*"))


@pytest.mark.component
def test_real_pip_without_an_index(real: tuple[Copy, dict[str, str]]) -> None:
    copy, env = real
    nobody = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    env = {k: v for k, v in env.items() if k not in ("PIP_NO_INDEX", "PIP_FIND_LINKS")}
    assert "the package index cannot be reached" in copy.refused(**env, **nobody)


# --- the locks -----------------------------------------------------------------------------------


def pins(lock: str) -> list[Requirement]:
    lines = (ROOT / f"requirements/{lock}.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("lock", ["micro", "node8"])
def test_lock_is_pinned_and_names_no_machine(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    command = next(line for line in text.splitlines() if "uv pip compile" in line)
    assert f"requirements/{lock}.in -o requirements/{lock}.txt" in command
    for pin in pins(lock):
        assert re.fullmatch(r"==[0-9][\w.]*", str(pin.specifier)) and pin.url is None, str(pin)
    assert not re.search(r"(://|^\s*-|\s/|\+cpu)", text, re.MULTILINE)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_micro_pins_one_version_of_everything_it_names(python: str, platform: str) -> None:
    machine = {"linux": "x86_64", "darwin": "arm64"}[platform]
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "platform_machine": machine,
    }
    here = [p.name for p in pins("micro") if not p.marker or p.marker.evaluate(environment)]
    assert len(here) == len(set(here))
    lines = (ROOT / "requirements/micro.in").read_text().splitlines()
    wanted = [Requirement(line).name.lower() for line in lines if not line.startswith("#")]
    assert set(wanted) <= set(here)


def test_micro_has_no_cuda_package() -> None:
    assert not [p.name for p in pins("micro") if re.match("nvidia|cuda|triton", p.name)]


def test_locks_agree_on_verl() -> None:
    micro, node8 = ({p.name: p.specifier for p in pins(lock)} for lock in ("micro", "node8"))
    assert micro["verl"] == node8["verl"]


def test_micro_equals_the_set_it_was_tested_with() -> None:
    freeze = ROOT.parent / "shared/verl_on_cpu/requirements.freeze.txt"
    if not freeze.exists():
        pytest.skip("the tested set is not beside the repository")
    canonical = {re.sub("[-_.]+", "-", r.name).lower(): str(r.specifier) for r in map(
        Requirement, freeze.read_text().replace("+cpu", "").split())}
    environment = {"python_version": "3.11", "python_full_version": "3.11.7"}
    ours = {p.name: str(p.specifier) for p in pins("micro")
            if not p.marker or p.marker.evaluate(environment)}
    # lm-eval (its typepy) wants python-dateutil below 3, which needs no tzdata
    for name in ("python-dateutil", "tzdata"):
        del canonical[name]
    assert {name: ours.get(name) for name in canonical} == canonical
