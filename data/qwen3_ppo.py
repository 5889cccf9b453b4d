"""The prompt pool of qwen3_ppo at micro: general prompts, and verifiable ones with a rule. (ours)

General prompts are tiny instructions (`checkable_instructions`), which a reward model scores in
training; verifiable ones are questions over passages (`retrieval_qa`, to answer or to refuse) and
arithmetic chains. A prompt with the think template begins with `think`, and its response with a
thought, `<think>...</think>`, before the answer. In training it is drawn for each of a prompt's
samples (`extra_info.think_prompt`, `think_share`; common/plugin/agent_loop.py), in what is taught
for each prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.schema import build as typed
from data import arithmetic_chain, checkable_instructions, preferences, retrieval_qa
from data.arithmetic_chain import Chain, sample_chain
from data.checkable_instructions import sample_problem as sample_instruction
from data.micro_task import draw_distinct, resample
from data.parquet import prompt_row, write_parquet
from data.retrieval_qa import World, worked_answer
from data.retrieval_qa import sample_problem as sample_question

THINK = "think "
OPEN, CLOSE = "<think>", "</think>"
STEP = len("1+2=3;")  # of a worked chain; the last one is the answer after a thought
HELD_OUT_SEED = 20250628


@dataclass(frozen=True)
class Task:
    """One kind of prompt. `draw(rng)` a problem, `key` by which two are the same, `prompt` and
    `gold` of it, `answer(rng, problem, noise)`: (thought, answer), wrong with that probability."""

    source: str
    draw: Callable[[random.Random], Any]
    key: Callable[[Any], Any]
    prompt: Callable[[Any], str]
    gold: Callable[[Any], str]
    answer: Callable[[random.Random, Any, float], tuple[str, str]]


@dataclass(frozen=True)
class General:
    """Arguments of `checkable_instructions.sample_problem`."""

    alphabet: str
    letters: int
    words: int
    constraints: int

    def draw(self, rng: random.Random) -> Any:
        return sample_instruction(rng, self.alphabet, self.letters, self.words, self.constraints)


@dataclass(frozen=True)
class Chains:
    """Arguments of `arithmetic_chain.sample_chain`."""

    operations: int
    modulus: int


@dataclass(frozen=True)
class Shares:
    """`kbqa`: questions among all prompts, which the post mixes with its general ones and gives no
    share of; `verifiable`: of the others; `think`: of all, those that ask for a thought."""

    verifiable: float
    kbqa: float
    think: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"recipe.data.options.shares.{name}: {value}; use 0 to 1")


def tasks(general: General, world: World, chains: Chains) -> dict[str, Task]:
    """The kinds of prompts, by the name of their test file."""
    digits = "0123456789"[: chains.modulus]

    def instruction(rng: random.Random, problem: Any, noise: float) -> tuple[str, str]:
        return problem.prompt.rstrip(":"), resample(
            rng, problem.solution(), noise, general.alphabet
        )

    def question(rng: random.Random, problem: Any, noise: float) -> tuple[str, str]:
        thought = f"{problem.attribute} {problem.answer}" if problem.answer else ""
        return thought, worked_answer(rng, problem, world.refusal, noise)

    def chain(rng: random.Random, problem: Chain, noise: float) -> tuple[str, str]:
        worked = resample(rng, problem.solution(chains.modulus)[0], noise, digits)
        return worked[:-STEP], worked[-STEP:]

    return {
        "general": Task(
            checkable_instructions.DATA_SOURCE,
            general.draw,
            lambda p: p.key,
            lambda p: p.prompt,
            lambda p: p.ground_truth,
            instruction,
        ),
        "kbqa": Task(
            retrieval_qa.DATA_SOURCE,
            lambda rng: sample_question(rng, world),
            lambda p: p.key,
            lambda p: p.prompt,
            lambda p: p.ground_truth(world.refusal),
            question,
        ),
        "chains": Task(
            arithmetic_chain.DATA_SOURCE,
            lambda rng: sample_chain(rng, chains.operations, chains.modulus),
            lambda p: p,
            lambda p: p.prompt,
            lambda p: p.solution(chains.modulus)[1],
            chain,
        ),
    }


def counts(total: int, shares: Shares) -> dict[str, int]:
    """How many prompts of each kind make `total`."""
    kbqa = round(total * shares.kbqa)
    chains = round((total - kbqa) * shares.verifiable)
    return {"general": total - kbqa - chains, "kbqa": kbqa, "chains": chains}


def text_of(task: Task, problem: Any, think: bool) -> str:
    return (THINK if think else "") + task.prompt(problem)


def response(rng: random.Random, task: Task, problem: Any, think: bool, noise: float) -> str:
    """A response as it is taught: with the thought between its marks, or without any; of a chain
    the steps are part of the answer then."""
    thought, answer = task.answer(rng, problem, noise)
    if think:
        return f"{OPEN}{thought}{CLOSE}{answer}"
    return thought + answer if task.source == arithmetic_chain.DATA_SOURCE else answer


class _Pool:
    """Draws of one seed, none of them held out."""

    def __init__(self, known: dict[str, Task], seed: int, held_out: dict[str, list[Any]]) -> None:
        self.tasks, self.held_out = known, held_out
        self.rng = random.Random(seed)

    def draw(self, shares: Shares, total: int) -> list[tuple[Task, Any, bool]]:
        """`total` (task, problem, think), mixed by the shares, in random order."""
        found = []
        for name, count in counts(total, shares).items():
            task = self.tasks[name]
            drawn = draw_distinct(self.rng, count, task.draw, task.key, self.held_out[name])
            found += [(task, problem, self.rng.random() < shares.think) for problem in drawn]
        self.rng.shuffle(found)
        return found


def _rows(drawn: Sequence[tuple[Task, Any]], split: str, think: float) -> list[dict[str, Any]]:
    """Rows of verl's schema; `think`: the share of the samples that get the think template."""
    rows = []
    for index, (task, problem) in enumerate(drawn):
        plain, thinking = (
            [{"role": "user", "content": text_of(task, problem, t)}] for t in (False, True)
        )
        extra: dict[str, Any] = {"prompt": plain}  # the reward model reads it
        extra |= {"think_prompt": thinking, "think_share": think} if think else {}
        rows.append(
            prompt_row(task.source, plain, task.gold(problem), split, index, "micro", extra)
        )
    return rows


def build(
    folder: Path,
    seed: int,
    *,
    general: dict[str, Any],
    questions: dict[str, Any],
    chains: dict[str, Any],
    shares: dict[str, Any],
    train: int,
    validation: int,
    test: int,
    sft: int,
    sft_noisy: int,
    noise: float,
    preferences_train: int,
    preferences_validation: int,
    preferences_noise: float,
) -> None:
    """Write train and validation (prompts of the pool), general, kbqa and chains (`test` prompts of
    each, none with a thought), kbqa_answerable and kbqa_unanswerable (the two parts of kbqa), sft
    and sft_noisy (responses to all kinds alike, for the base), taught (right answers to the prompts
    of train, to general ones longer than the base's, which are as short as can be: the baselines'
    teacher),
    preferences and preferences_validation.

    Validation and test prompts are the same for every seed and appear in no other file. `noise`:
    see each task. Raises: ValueError naming the key of `recipe.data.options` that is wrong.
    """
    where = "recipe.data.options"
    instructions = typed(General, general, f"{where}.general")
    known = tasks(
        instructions,
        typed(World, questions, f"{where}.questions"),
        typed(Chains, chains, f"{where}.chains"),
    )
    mixed = typed(Shares, shares, f"{where}.shares")
    fixed = random.Random(HELD_OUT_SEED)
    wanted = counts(validation, mixed)
    wanted["general"] += preferences_validation
    held_out = {
        name: draw_distinct(fixed, test + wanted[name], task.draw, task.key)
        for name, task in known.items()
    }
    compared = {
        name: held_out[name][test : test + count]
        for name, count in counts(validation, mixed).items()
    }
    check = [(known[name], problem) for name, problems in compared.items() for problem in problems]
    pool = _Pool(known, seed, held_out)
    learnt = pool.draw(mixed, train)
    prompts = [(task, problem) for task, problem, _ in learnt]
    write_parquet(folder / "train.parquet", _rows(prompts, "train", mixed.think))
    write_parquet(folder / "validation.parquet", _rows(check, "validation", mixed.think))
    tests = {name: held_out[name][:test] for name in known}
    for answerable, name in ((True, "kbqa_answerable"), (False, "kbqa_unanswerable")):
        tests[name] = [p for p in tests["kbqa"] if (p.answer is not None) is answerable]
    for name, problems in tests.items():
        task = known[name.partition("_")[0]]
        rows = _rows([(task, problem) for problem in problems], name, 0.0)
        write_parquet(folder / f"{name}.parquet", rows)
    teacher = replace(
        known["general"],
        answer=lambda rng, p, noise: (p.prompt.rstrip(":"), p.solution(instructions.letters)),
    )
    taught = [
        (teacher if task is known["general"] else task, problem, think)
        for task, problem, think in learnt
    ]
    alike = Shares(verifiable=1 / 2, kbqa=1 / 3, think=mixed.think)
    for name, drawn, share in (
        ("taught", taught, 0.0),
        ("sft", pool.draw(alike, sft), 0.0),
        ("sft_noisy", pool.draw(alike, sft_noisy), noise),
    ):
        chats = [
            [
                {"role": "user", "content": text_of(task, problem, think)},
                {
                    "role": "assistant",
                    "content": response(pool.rng, task, problem, think, share),
                },
            ]
            for task, problem, think in drawn
        ]
        write_parquet(folder / f"{name}.parquet", [{"messages": chat} for chat in chats])
    draw = instructions.draw
    rest = held_out["general"][-preferences_validation:]
    more = draw_distinct(
        pool.rng, preferences_train, draw, known["general"].key, held_out["general"]
    )
    for name, rng, problems in (
        ("preferences", pool.rng, more),
        ("preferences_validation", fixed, rest),
    ):
        rows = preferences.preferences(rng, problems, draw, preferences_noise)
        write_parquet(folder / f"{name}.parquet", rows)
