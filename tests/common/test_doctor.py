"""`doctor`: it answers whatever hangs or is broken, and says nothing of host, user or path."""

import getpass
import json
import os
import platform
import socket
import threading

import pytest

from common import cli, doctor
from common.config import ROOT


@pytest.fixture
def silent(monkeypatch):
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(doctor, "SECONDS", 0.3)
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_what_hangs_is_said_to(silent, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", f"http://{silent}")
    monkeypatch.setattr(doctor, "GITHUB", f"http://{silent}")
    monkeypatch.setenv("RAY_ADDRESS", silent)
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found)[:4] == ["repository", "Python", "set-up", "packages"]
    assert found["hub"].startswith("! ") and found["GitHub"].startswith("! ")
    assert found["Ray"].endswith(("the cluster of RAY_ADDRESS answers", "no answer in 0.3 s"))
    assert "verl 0.9.1" in found["packages"] and "cores" in found["machine"]
    text = " ".join(found.values())
    assert str(ROOT) not in text and platform.node() not in text and silent not in text
    assert os.environ.get("HOME", "/root") not in text and getpass.getuser() not in text.split()


def test_a_check_that_fails_or_never_ends_does_not_stop_the_report():
    never = threading.Event()

    def fails():
        raise RuntimeError("broken")

    found = doctor.probe({"a": lambda: "fine", "b": fails, "c": lambda: str(never.wait())}, 0.3)
    never.set()
    assert found == {"a": "fine", "b": "! RuntimeError: broken", "c": "! no answer in 0.3 s"}
