"""Answers per CPU-second: each contender in a process of its own, on the same answers.

`python -m benchmarks.graders.throughput CONTENDER INPUTS.json` is such a process. It imports,
grades a few other answers to be warm, then grades all once; the time is that of its processor.
"""

from __future__ import annotations

import json
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.graders.agreement import read
from common.config import ROOT
from common.process import settings

GOLDS, CHARACTERS, ROUNDS, WARM_UP = 600, 1600, 5, 60
PUZZLES, PEOPLE = 2000, 8
PATIENCE_S = 60.0
Answer = dict[str, Any]
Grade = Callable[[Answer], bool]


def rewriting(gold: str) -> str:
    """Another way to write the same answer."""
    if re.fullmatch(r"-?\d+", gold):
        return f"{gold}.0"
    if "\\frac" in gold:
        return gold.replace("\\frac", "\\dfrac")
    if "(" in gold and "\\left" not in gold:
        return gold.replace("(", "\\left(").replace(")", "\\right)")
    return f"\\,{gold}\\,"


def wrong(gold: str) -> str:
    """An answer that is not the same: its first digit is another, or one is added."""
    digit = re.search(r"\d", gold)
    if digit is None:
        return f"{gold}+1"
    at = digit.start()
    return f"{gold[:at]}{(int(gold[at]) + 1) % 10}{gold[at + 1 :]}"


def math_answers(data: Path) -> list[Answer]:
    """Three answers to each of GOLDS problems, after CHARACTERS characters of worked solution."""
    rows = [row for row in read(data / "math/test.jsonl") if row["answer_boxed"]]
    draw = random.Random(20250102)
    draw.shuffle(rows)
    prose = [re.sub(r"\\boxed|\\fbox|Asymptote.*?end", "", row["solution"]) for row in rows]
    answers = []
    for i, row in enumerate(rows[: GOLDS + WARM_UP // 3]):
        for kind, make in (("same", str), ("equivalent", rewriting), ("wrong", wrong)):
            work = "\n".join(prose[i : i + 12])[:CHARACTERS]
            text = f"{work}\n\nAnswer: $\\boxed{{{make(row['answer_boxed'])}}}$"
            answers.append({"kind": kind, "gold": row["answer_boxed"], "response": text})
    return answers


def of_ours(name: str) -> Callable[[], Grade]:
    def load() -> Grade:
        from common.rewards.registry import get_grader
        from common.rewards.verdict import Outcome

        grader = get_grader(name)
        if grader.warm:
            grader.warm()
        return lambda answer: grader.grade(answer).outcome is Outcome.CORRECT

    return load


def math_verify() -> Grade:
    """With the extraction that verl configures, in the main thread, where its timeouts work."""
    from verl.utils.reward_score.math_verify import _verify_in_subprocess as verify

    return lambda a: verify("\\boxed{" + a["gold"] + "}", a["response"]) == 1.0


def verl_math_reward() -> Grade:
    from verl.utils.reward_score.math_reward import compute_score

    return lambda answer: compute_score(answer["response"], answer["gold"]) == 1.0


def verl_math_dapo() -> Grade:
    from verl.utils.reward_score import math_dapo

    score: Any = math_dapo.compute_score  # its annotation says float, it returns a mapping
    return lambda answer: bool(score(answer["response"], answer["gold"])["acc"])


def verl_prime_math() -> Grade:
    from verl.utils.reward_score import prime_math

    score: Any = prime_math.compute_score  # its annotation says bool, it returns three values
    return lambda answer: bool(score(answer["response"], answer["gold"])[0])


CONTENDERS: dict[str, tuple[str, str, Callable[[], Grade]]] = {
    "math": ("mathematics", "ours: `math`", of_ours("math")),
    "math_verify": ("mathematics", "math-verify, as verl configures it", math_verify),
    "prime_math": ("mathematics", "verl `prime_math`", verl_prime_math),
    "math_dapo": ("mathematics", "verl `math_dapo` (strings)", verl_math_dapo),
    "math_reward": ("mathematics", "verl `math_reward` (strings)", verl_math_reward),
    "kk_published": ("Knights & Knaves", "ours: `kk_published`", of_ours("kk_published")),
    "kk_strict": ("Knights & Knaves", "ours: `kk_strict`", of_ours("kk_strict")),
    "countdown_published": (
        "Countdown",
        "ours: `countdown_published`",
        of_ours("countdown_published"),
    ),
    "countdown_strict": ("Countdown", "ours: `countdown_strict`", of_ours("countdown_strict")),
}


def measure(cases: Path, data: Path) -> dict[str, Any]:
    """By task: number of answers; by contender: answers a CPU-second, and shares accepted."""
    kk = read(cases / "kk_logicrl_log.jsonl")
    countdown = read(cases / "countdown_beibeizzz_eval_samples.jsonl")
    inputs = {
        "mathematics": math_answers(data),
        "Knights & Knaves": [a | {"kind": "published"} for a in kk * 200],
        "Countdown": [a | {"kind": "published"} for a in countdown * 20],
    }
    found: dict[str, Any] = {task: {"answers": 0, "rows": []} for task in inputs}
    with tempfile.TemporaryDirectory() as folder:
        for task, answers in inputs.items():
            Path(folder, f"{task}.json").write_text(json.dumps(answers))
        files = {name: Path(folder, f"{task}.json") for name, (task, _, _) in CONTENDERS.items()}
        measured = in_turn(files | {"generation": Path(folder)})
    for name, (task, title, _) in CONTENDERS.items():
        rounds = measured[name]
        speeds = [r["answers"] / r["seconds"] for r in rounds]
        found[task]["answers"] = rounds[0]["answers"]
        found[task]["rows"].append(
            {"name": title, "speeds": speeds, "accepted": rounds[0]["accepted"]}
        )
    speeds = [p["answers"] / p["seconds"] for p in measured["generation"]]
    found["generation"] = {"people": PEOPLE, "answers": PUZZLES, "speeds": speeds}
    return found


def in_turn(inputs: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """ROUNDS rounds of all contenders in turn, since a processor's speed may drift by half within
    minutes; of one that has taken PATIENCE_S on the clock fewer."""
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in inputs}
    spent = dict.fromkeys(inputs, 0.0)
    for _ in range(ROUNDS):
        for name, path in inputs.items():
            if spent[name] < PATIENCE_S:
                begun = time.monotonic()
                rounds[name].append(run(name, path))
                spent[name] += time.monotonic() - begun
    return rounds


def run(name: str, inputs: Path) -> dict[str, Any]:
    """What a process of its own prints: answers, CPU seconds, shares accepted by kind."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.graders.throughput", name, str(inputs)],
        cwd=ROOT,
        env=settings("cpu") | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended: prime_math forks."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def generation() -> dict[str, Any]:
    from data.knights_knaves import Sampler

    Sampler(1, PEOPLE).puzzles(50)
    begun = processor_seconds()
    made = Sampler(2, PEOPLE).puzzles(PUZZLES)
    return {"answers": len(made), "seconds": processor_seconds() - begun}


def contend(name: str, answers: list[Answer]) -> dict[str, Any]:
    grade = CONTENDERS[name][2]()
    for answer in answers[-WARM_UP:]:
        grade(answer)
    if CONTENDERS[name][0] == "mathematics":  # the last ones are other problems, for warming up
        answers = answers[:-WARM_UP]
    begun = processor_seconds()
    verdicts = [grade(answer) for answer in answers]
    seconds = processor_seconds() - begun
    kinds: dict[str, list[bool]] = {}
    for answer, verdict in zip(answers, verdicts, strict=True):
        kinds.setdefault(answer["kind"], []).append(verdict)
    accepted = {kind: statistics.mean(found) for kind, found in kinds.items()}
    return {"answers": len(answers), "seconds": seconds, "accepted": accepted}


if __name__ == "__main__":
    contender, source = sys.argv[1:]
    if contender == "generation":
        print(json.dumps(generation()))
    else:
        print(json.dumps(contend(contender, json.loads(Path(source).read_text()))))
