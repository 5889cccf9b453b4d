"""Client of a sandbox service: the `run_code` interface of SandboxFusion.

A request is `{"code", "language": "python", "stdin", "compile_timeout", "run_timeout",
"memory_limit_MB", "files", "fetch_files"}`, an answer `{"status": "Success" | "Failed" |
"SandboxError", "message", "run_result": {"status": "Finished" | "Error" | "TimeLimitExceeded",
"execution_time", "return_code", "stdout", "stderr"}}`. Source: verl 0.9.1,
verl/utils/reward_score/sandbox_fusion/utils.py. Times there are on the clock, not of the processor.
"""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlsplit

import httpx

from common.sandbox.runner import Limits, Run, Status
from common.services.client import post

CONNECTIONS = 64  # requests in flight from one process, as verl's reward.sandbox_fusion has it
RETRIES, BACKOFF_S = 4, 0.5
_SPARE_S = 10.0  # beyond a program's time, for the service


class Service:
    """A sandbox at an address. Safe to use from many threads at once."""

    def __init__(self, url: str, retries: int = RETRIES, backoff_s: float = BACKOFF_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"SANDBOX_URL={url}: write an address, such as http://localhost:8080/run_code"
            )
        self.url, self.retries, self.backoff_s = url, retries, backoff_s
        self._client = httpx.Client(limits=httpx.Limits(max_connections=CONNECTIONS))

    def run(self, program: str, stdin: str, limits: Limits) -> Run:
        """Run Python text as a program; `Status.LOST` when the service fails for good."""
        body = {
            "code": program,
            "language": "python",
            "stdin": stdin,
            "compile_timeout": math.ceil(limits.wall_s),
            "run_timeout": math.ceil(limits.wall_s),
            "memory_limit_MB": limits.memory_mb,
            "files": {},
            "fetch_files": [],
        }
        self._client.timeout = httpx.Timeout(2 * limits.wall_s + _SPARE_S, pool=None)
        try:
            answer = post(self._client, self.url, body, self.retries, self.backoff_s)
            return _run(answer.json(), limits)
        except ConnectionError as error:
            return _lost(f"{self.url}: {error}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _lost(f"{self.url}: an answer of another form ({error!r})")

    def close(self) -> None:
        self._client.close()


def _run(answer: dict[str, Any], limits: Limits) -> Run:
    if answer["status"] not in ("Success", "Failed"):
        return _lost(f"{answer['status']}: {answer.get('message')}")
    found = answer["run_result"]
    stdout, stderr = str(found.get("stdout") or ""), str(found.get("stderr") or "").strip()
    last = stderr.splitlines()[-1] if stderr else ""
    if found["status"] == "TimeLimitExceeded":
        status = Status.TIME_LIMIT
    elif len(stdout.encode("utf-8", "replace")) >= limits.output_bytes:
        status = Status.OUTPUT_LIMIT
    elif found["status"] == "Finished" and not found.get("return_code"):
        status = Status.FINISHED
    elif found["status"] in ("Finished", "Error"):
        status = Status.MEMORY_LIMIT if last.startswith("MemoryError") else Status.RUNTIME_ERROR
    else:
        return _lost(f"run_result.status {found['status']!r}")
    return Run(status, stdout, last, float(found.get("execution_time") or 0.0))


def _lost(why: str) -> Run:
    return Run(Status.LOST, "", " ".join(why.split())[:400], 0.0)
