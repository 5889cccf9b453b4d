"""Competition mathematics with integer answers: DAPO-Math-17k for RL, AIME 2024, LIMO for SFT.

All from the Hugging Face hub (`HF_ENDPOINT` chooses a mirror). DAPO-Math-17k's file repeats its
problems about a hundred times; each is kept once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.parquet import prompt_row, write_parquet

DATA_SOURCE = "integer_math"
TRAIN = "BytedTsinghua-SIA/DAPO-Math-17k"
AIME_2024 = "HuggingFaceH4/aime_2024"
LIMO = "GAIR/LIMO"
INSTRUCTION = (
    "Solve the following math problem step by step. "
    "Put your final answer, an integer, in \\boxed{{}}.\n\n{problem}"
)
# DAPO-Math-17k wraps every problem in an instruction of its own.
_PREFIX = "of the problem.\n\n"
_SUFFIX = "\n\nRemember to put your answer"


def build(folder: Path, seed: int, *, validation: int, revisions: dict[str, str]) -> None:
    """Write train, validation, test (AIME 2024) and sft (LIMO) as parquet.

    `validation`: how many DAPO problems to hold out, the same for every seed. `revisions`: hub
    revision by data set. The files do not depend on the seed.
    """
    unique: dict[str, str] = {}
    for row in hub_rows(TRAIN, revisions):
        problem = unwrap(row["prompt"][0]["content"])
        unique.setdefault(problem, str(row["reward_model"]["ground_truth"]))
    problems = [(p, a) for p, a in unique.items() if is_integer(a)]
    if len(problems) <= validation:
        raise ValueError(f"{TRAIN}: {len(problems)} problems, fewer than validation={validation}")
    aime = [(r["problem"], str(int(r["answer"]))) for r in hub_rows(AIME_2024, revisions)]
    splits = {"validation": problems[:validation], "train": problems[validation:], "test": aime}
    for split, items in splits.items():
        rows = [
            prompt_row(DATA_SOURCE, INSTRUCTION.format(problem=p), a, split, i)
            for i, (p, a) in enumerate(items)
        ]
        write_parquet(folder / f"{split}.parquet", rows)
    lines = [
        {
            "messages": [
                {"role": "user", "content": INSTRUCTION.format(problem=r["question"])},
                {"role": "assistant", "content": r["solution"]},
            ]
        }
        for r in hub_rows(LIMO, revisions)
    ]
    write_parquet(folder / "sft.parquet", lines)


def hub_rows(name: str, revisions: dict[str, str]) -> Iterable[dict[str, Any]]:
    """The rows of a hub data set's train split, at the revision that the recipe names."""
    from datasets import load_dataset

    if name not in revisions:
        raise ValueError(f"recipe.data.options.revisions: no revision for {name}")
    return load_dataset(name, split="train", revision=revisions[name])


def unwrap(prompt: str) -> str:
    """The problem without DAPO's own instruction; a prompt in another form stays as it is."""
    problem = prompt.partition(_PREFIX)[2] or prompt
    return problem.partition(_SUFFIX)[0].strip()


def is_integer(answer: str) -> bool:
    return answer.removeprefix("-").isdecimal()
