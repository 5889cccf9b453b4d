"""A grader that does what its response says, for tests of the processes that graders run in."""

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

from common.rewards.verdict import Grader, Outcome, Verdict

kept = []


def spin():
    while True:
        pass


def power():
    return 9**9**9**9


def hide():
    with contextlib.suppress(BaseException):
        exec("kept.append(1)")


ACTS = {
    "spin": spin,
    "power": power,
    "sleep": lambda: time.sleep(3600),
    "eat": lambda: bytearray(1 << 33),
    "exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), 9),
    "recurse": lambda: ACTS["recurse"](),
    "fault": lambda: {}["no such key"],
    "eval": lambda: eval("1 + 1"),
    "exec, hidden": hide,
    "shell": lambda: os.system("true"),
    "program": lambda: subprocess.run(["true"]),
    "fork": os.fork,
    "network": lambda: socket.create_connection(("127.0.0.1", 9)),
    "read": lambda: Path("/etc/hostname").read_text(),
    "write": lambda: Path("/tmp/misbehaving").write_text("x"),
    "import": lambda: __import__("xml.dom.minidom"),
}


def grade(row):
    if not isinstance(row["gold"], str):
        raise ValueError(f"gold: text is wanted, not {row['gold']!r}")
    response = row["response"]
    if response in ACTS:
        ACTS[response]()
    right = response == row["gold"]
    return Verdict(
        Outcome.CORRECT if right else Outcome.WRONG,
        1.0 if right else -2.0,
        response,
        {"said": [right], **({} if response is None else {"pid": os.getpid()})},
    )


GRADERS = (Grader(name="misbehaving", version="1", grade=grade, bounded=False),)
