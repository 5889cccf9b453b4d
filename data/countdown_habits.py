"""Builder of the micro task of priming: puzzles, texts for the base, and the priming sets.

Every set but `none` has its file; all are made at once, so that the arms of one seed share the
puzzles and the base. The form of a response: `habit_traces.py`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from common.habits.checks import check_set
from data import habit_traces as traces
from data.habit_traces import LARGEST, SETS, Puzzle
from data.micro_task import Draws, resample, write_task
from data.parquet import write_parquet

DATA_SOURCE = "countdown_habits"
# One held-out pool for every seed: arms and seeds are compared on the same problems.
HELD_OUT_SEED = 20250303
# Of the base's texts: calculations that reach the target, results of given calculations with their
# comparison, and answers with and without a calculation. The base can answer, but seldom does.
BASE = {"worked": 0.4, "compared": 0.5, "answered": 0.05, "guessed": 0.05}
WRONG = 0.6  # of the compared results
# Up to two calculations with their comparisons are given before a compared one. Without them a
# model learns from the priming sets, where the third try is always right, to call any third one so.
GIVEN = 2
EASY = (1, 9)  # targets of the texts of `curated` and `minimized`, which no other puzzle has


def build(
    folder: Path,
    seed: int,
    *,
    largest: int,
    targets: list[int],
    longest: int,
    train: int,
    validation: int,
    test: int,
    sft: int,
    sft_noisy: int,
    noise: float,
    primed: int,
) -> None:
    """Write train, validation, test (prompts), sft and sft_noisy (the base's texts), and one file
    for each priming set, as parquet.

    `largest`: number of a puzzle; `targets`: the lowest and the highest; `longest`: characters of a
    priming response; `primed`: rows of a priming set; `noise`: share of the numbers of sft_noisy
    that are resampled. Validation and test puzzles are the same for every seed, and in no other
    file. Raises: ValueError naming the option, or the set that does not have its habits.
    """
    low, high = targets
    if not 1 <= largest <= LARGEST or not EASY[1] < low <= high <= LARGEST:
        raise ValueError(
            f"recipe.data.options: largest {largest} and targets {targets}; use numbers up to "
            f"{LARGEST}, and targets from {EASY[1] + 1}"
        )
    draws = Draws(
        lambda rng: traces.draw(rng, largest, (low, high)),
        lambda puzzle: puzzle,
        HELD_OUT_SEED,
        seed,
        train=train,
        validation=validation,
        test=test,
    )
    prompts = {
        split: [(puzzle.prompt, json.dumps(puzzle.gold)) for puzzle in puzzles]
        for split, puzzles in draws.splits.items()
    }
    excluded, rng = set(draws.held_out), draws.rng

    def puzzles(count: int) -> list[Puzzle]:
        found: list[Puzzle] = []
        while len(found) < count:
            puzzle = traces.draw(rng, largest, (low, high))
            if puzzle not in excluded:
                found.append(puzzle)
        return found

    taught = {"sft": [_base_text(rng, p, 0.0) for p in puzzles(sft)]}
    taught["sft_noisy"] = [_base_text(rng, p, noise) for p in puzzles(sft_noisy)]
    shared = puzzles(primed)
    for name, habits in SETS.items():
        taught[name] = [(p.prompt, traces.trace(rng, p, habits, longest)) for p in shared]
    for name, change in (("empty_cot", traces.emptied), ("dots", traces.dotted)):
        taught[name] = [(prompt, change(text)) for prompt, text in taught["all_strategies"]]
    golds = [puzzle.gold for puzzle in shared]
    for name in (*SETS, "empty_cot", "dots"):
        check_set(name, [traces.expand(text) for _, text in taught[name]], golds, f"data: {name}")
    write_task(folder, DATA_SOURCE, prompts, taught)
    easy = [traces.draw(rng, largest, EASY) for _ in range(primed)]
    for name, habits in (("curated", SETS["all_strategies"]), ("minimized", traces.Habits())):
        texts = [p.prompt + traces.trace(rng, p, habits, longest) for p in easy]
        rows = [{"messages": [{"role": "assistant", "content": text}]} for text in texts]
        write_parquet(folder / f"{name}.parquet", rows)


def _base_text(rng: random.Random, puzzle: Puzzle, noise: float) -> tuple[str, str]:
    """A prompt and what follows it, of a kind drawn from `BASE`."""
    attempt = rng.choice(puzzle.right)
    (kind,) = rng.choices(list(BASE), list(BASE.values()))
    prompt, response = puzzle.prompt, attempt.worked
    if kind == "compared":
        wrong = puzzle.wrong
        for given in rng.sample(wrong, min(rng.randint(0, GIVEN), len(wrong))):
            prompt += f"{given.worked}{traces.verdict(given, puzzle.target)}~"
        attempt = rng.choice(wrong) if wrong and rng.random() < WRONG else attempt
        prompt += attempt.worked[:-1]
        response = attempt.worked[-1] + traces.verdict(attempt, puzzle.target)
    elif kind == "answered":
        response += f"]{{{attempt.answer}}}"
    elif kind == "guessed":
        response = f"]{{{attempt.answer}}}"
    return prompt, resample(rng, response, noise, traces.NUMBERS)
