"""Builder: a pool of published prompts, general and verifiable ones in given shares; benchmarks;
and a teacher's answers. The twin of `data/qwen3_ppo.py` at paper scale.

General prompts are scored by a reward model, which reads `extra_info.prompt`. A share of the
samples of each prompt gets the think template: ` /think` after the user's turn, Qwen3's own switch.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from common.config import ROOT
from common.console import say
from common.schema import build as typed
from data import retrieval_benchmarks
from data.from_sources import prompt_rows
from data.parquet import write_parquet
from data.qwen3_ppo import Shares, counts

THINK = " /think"


def files(*, taught: str, **_: Any) -> list[Path]:
    """The teacher's answers, which `python -m common data answer` writes."""
    return [ROOT / taught]


def build(
    folder: Path,
    seed: int,
    *,
    template: str,
    general: list[dict[str, Any]],
    kbqa: list[dict[str, Any]],
    verifiable: list[dict[str, Any]],
    shares: dict[str, Any],
    train: int,
    validation: int,
    tests: dict[str, list[dict[str, Any]]],
    instructions: dict[str, list[dict[str, Any]]],
    retrieval: dict[str, dict[str, Any]],
    taught: str,
) -> None:
    """Write train and validation, one file for each of `tests`, `instructions` and `retrieval`, and
    taught where the teacher has answered.

    `general`, `verifiable`, `tests`: parts of `from_sources`; `instructions`: the same of IFEval's
    form, a row for each instruction of a prompt; `kbqa`, `retrieval`: of `retrieval_benchmarks`.
    `shares`: see `data.qwen3_ppo.Shares`, counted over train and validation together. Of each kind
    the prompts are drawn, and all are mixed, by the seed.
    Raises: ValueError naming the key of `recipe.data.options`, or the data file, that is wrong.
    """
    where = "recipe.data.options"
    mixed = typed(Shares, shares, f"{where}.shares")
    kinds = {
        "general": prompt_rows(general, template, "train", f"{where}.general"),
        "kbqa": [
            row
            for number, part in enumerate(kbqa)
            for row in retrieval_benchmarks.rows("train", part, f"{where}.kbqa[{number}]")
        ],
        "chains": prompt_rows(verifiable, template, "train", f"{where}.verifiable"),
    }
    rng, pool = random.Random(seed), list[dict[str, Any]]()
    for kind, wanted in counts(train + validation, mixed).items():
        if len(kinds[kind]) < wanted:
            name = "verifiable" if kind == "chains" else kind
            raise ValueError(
                f"{where}.{name}: {len(kinds[kind])} prompts, and the shares of {train} + "
                f"{validation} ask for {wanted}; lower train or add parts"
            )
        pool += rng.sample(kinds[kind], wanted)
    rng.shuffle(pool)
    splits = {"validation": pool[:validation], "train": pool[validation:]}
    for split, rows in splits.items():
        for index, row in enumerate(rows):
            row["extra_info"] = {
                "split": split,
                "index": index,
                "prompt": row["prompt"],
                "think_prompt": thinking(row["prompt"]),
                "think_share": mixed.think,
                "template": row["extra_info"]["template"],
            }
        write_parquet(folder / f"{split}.parquet", rows)
    for name, parts in tests.items():
        rows = prompt_rows(parts, template, name, f"{where}.tests.{name}")
        write_parquet(folder / f"{name}.parquet", rows)
    for name, parts in instructions.items():
        rows = prompt_rows(parts, template, name, f"{where}.instructions.{name}")
        write_parquet(folder / f"{name}.parquet", each_instruction(rows))
    retrieval_benchmarks.build(folder, seed, files=retrieval)
    answers = ROOT / taught
    if answers.exists():
        write_parquet(folder / "taught.parquet", teachers(answers, splits["train"]))
    else:
        say(f"data: {taught} is not there, so there is no taught.parquet (arms sft_*)")


def thinking(prompt: list[dict[str, str]]) -> list[dict[str, str]]:
    """A prompt with the think template."""
    *before, last = prompt
    return [*before, last | {"content": last["content"] + THINK}]


def each_instruction(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each instruction of IFEval's prompts. With greedy responses, which are those of the
    whole prompt, their accuracy is IFEval's at the level of instructions."""
    found: list[dict[str, Any]] = []
    for row in rows:
        gold = json.loads(row["reward_model"]["ground_truth"])
        for name, arguments in zip(gold["instruction_id_list"], gold["kwargs"], strict=True):
            one = gold | {"instruction_id_list": [name], "kwargs": [arguments]}
            text = json.dumps(one, ensure_ascii=False)
            extra = row["extra_info"] | {"index": len(found)}
            rule = row["reward_model"] | {"ground_truth": text}
            found.append(row | {"reward_model": rule, "extra_info": extra})
    return found


def teachers(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A chat for each of `rows` that the teacher has answered in time.

    Raises: ValueError where the file answers none of them: it was made from other prompts.
    """
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    said = {json.dumps(line["prompt"], sort_keys=True): line["answer"] for line in lines}
    chats = []
    for row in rows:
        answer = said.get(json.dumps(row["prompt"], sort_keys=True))
        if answer:
            turn = {"role": "assistant", "content": answer}
            chats.append({"messages": [*row["prompt"], turn]})
    if not chats:
        raise ValueError(f"{path}: answers no prompt of this pool; make it again (the README)")
    return chats
