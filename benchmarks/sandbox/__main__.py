"""`python -m benchmarks.sandbox [--problems 40] [--rounds 3]`: write benchmarks/sandbox/report.md.

Verdicts on generated code problems (right, wrong and failing solutions; stdin and function tests)
by the sandbox, whose interpreter is warm and forks a locked-down child for each test, and by a
fresh Python for each test that nothing holds. Both run in turns within one call and judge alike;
what is compared is processor seconds, which other programs on the machine hardly change.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from common.config import ROOT
from common.console import say
from common.results import provenance
from common.runs import now
from common.sandbox.judge import Backend, Judgement, judge
from common.sandbox.problem import Problem
from common.sandbox.runner import Limits, Run, Sandbox, Status, protections
from data.code_problems import draw

TARGET = 5.0
TESTS = 5  # of a problem
REPORT = Path(__file__).parent / "report.md"
Solutions = list[tuple[str, Problem]]


class Fresh:
    """A new interpreter for each test, with a time limit and nothing else."""

    def run(self, program: str, stdin: str, limits: Limits) -> Run:
        command = [sys.executable, "-s", "-c", program]
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired:
            return Run(Status.TIME_LIMIT, "", "", 0.0)
        status = Status.RUNTIME_ERROR if done.returncode else Status.FINISHED
        return Run(status, done.stdout, done.stderr[-200:], 0.0)


def solutions(count: int) -> Solutions:
    """Of each problem a right, a wrong and a failing one."""
    rng = random.Random(1)
    found: Solutions = []
    for _ in range(count):
        asked = draw(rng)
        problem = Problem.of(asked.tests(TESTS))
        texts = (asked.solution(), asked.solution(right=False), "raise KeyError(1)")
        found += [(text, problem) for text in texts]
    return found


def measured(
    backend: Backend, work: Solutions, used: Callable[[], float]
) -> tuple[float, float, list[list[Judgement]]]:
    """Processor seconds and seconds a test that was run, and the verdicts."""
    begun, clock = used(), time.monotonic()
    verdicts = [judge(text, problem, backend) for text, problem in work]
    count = sum(v is not Judgement.NOT_RUN for found in verdicts for v in found)
    return (used() - begun) / count, (time.monotonic() - clock) / count, verdicts


def of_ended_children() -> float:
    """Processor seconds of this process and of all its children that have ended."""
    return sum(
        u.ru_utime + u.ru_stime
        for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def with_living_children() -> float:
    """The same with the children that live, and what those have waited for."""
    total = of_ended_children()
    for child in psutil.Process().children(recursive=True):
        total += sum(child.cpu_times()[:4])
    return total


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    work = solutions(arguments.problems)
    sandbox, fresh = Sandbox(1), Fresh()
    sandbox.run("", "", Limits.of(1.0))  # warm
    load = os.getloadavg()[0]
    warm_s, fresh_s, clocks, same = [], [], [], True
    for number in range(arguments.rounds):
        say(f"sandbox: round {number + 1} of {arguments.rounds}")
        ours = measured(sandbox, work, with_living_children)
        theirs = measured(fresh, work, of_ended_children)
        warm_s.append(ours[0])
        fresh_s.append(theirs[0])
        clocks.append(theirs[1] / ours[1])
        same = same and ours[2] == theirs[2]
    sandbox.close()
    ratios = [b / a for a, b in zip(warm_s, fresh_s, strict=True)]
    machine = provenance.hardware()
    git = provenance.git_state(ROOT)
    verdict = (
        f"Ratio {statistics.median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}] over rounds "
        f"(target {TARGET:.0f}); on the clock {statistics.median(clocks):.1f}. "
        f"The verdicts are {'the same' if same else 'NOT the same'}."
    )
    lines = [
        "# Verdicts on code: the sandbox beside a fresh Python for each test",
        "",
        f"`python -m benchmarks.sandbox --problems {arguments.problems} --rounds "
        f"{arguments.rounds}`, {now()}, commit {(git['commit'] or 'none')[:10]}"
        f"{' with changes' if git['dirty'] else ''}; {machine['cores']} cores of {machine['cpu']}, "
        f"load {load:.1f} at the start. {len(work)} solutions, up to {TESTS} tests each.",
        "",
        "| | processor ms a verdict | verdicts a processor second |",
        "|---|---|---|",
        *(
            f"| {name} | {1000 * statistics.median(s):.2f} | {1 / statistics.median(s):.0f} |"
            for name, s in (("sandbox, warm", warm_s), ("fresh Python", fresh_s))
        ),
        "",
        verdict,
        "",
        "What kept the programs in, in the sandbox only:",
        "",
        *(f"- {name}: {how}" for name, how in protections().items()),
        "",
    ]
    REPORT.write_text("\n".join(lines))
    say(f"sandbox: {verdict}")
    say(f"sandbox: {REPORT.relative_to(ROOT)}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
