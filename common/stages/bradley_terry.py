"""Train a reward model on preferences: `python -m common.stages.bradley_terry SPEC.json`.

P(a is preferred to b) = sigmoid(r(a) - r(b)) (Bradley and Terry 1952; Ouyang et al. 2022, arXiv
2203.02155, eq. 1), so the loss of a pair is -log sigmoid(r(chosen) - r(rejected)). The model has
one head for each signal, and a pair trains the head of its own. Neither verl 0.9.1 nor transformers
has such a trainer, and TRL is not among the packages of the lock.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import logsigmoid
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)

from common.schema import RewardModel, build
from data.parquet import read_parquet

COLUMNS = ("chosen", "rejected", "signal")


def bradley_terry_loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Mean of -log sigmoid(chosen - rejected) over pairs; both [pairs]."""
    return -logsigmoid(chosen - rejected).mean()


Pair = tuple[list[int], list[int], int]  # tokens of chosen and of rejected, head


def read_pairs(path: Path, tokenizer: Any, signals: Sequence[str], longest: int) -> list[Pair]:
    """The pairs of a file of preferences, as tokens.

    Raises: ValueError, naming file and row, for a signal without a head or a chat that is too long.
    """
    pairs: list[Pair] = []
    for number, row in enumerate(read_parquet(path, COLUMNS)):
        if row["signal"] not in signals:
            raise ValueError(
                f"{path}: row {number}: signal {row['signal']!r} is none of "
                f"recipe.reward_model.signals ({', '.join(signals)})"
            )
        texts = [tokenizer.apply_chat_template(row[c], tokenize=False) for c in COLUMNS[:2]]
        chosen, rejected = tokenizer(texts, add_special_tokens=False)["input_ids"]
        if max(len(chosen), len(rejected)) > longest:
            raise ValueError(
                f"{path}: row {number} has more than recipe.reward_model.max_length={longest} "
                "tokens; raise it"
            )
        pairs.append((chosen, rejected, list(signals).index(row["signal"])))
    return pairs


def scores(model: Any, tokenizer: Any, pairs: Sequence[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
    """The scores of chosen and of rejected by the heads of their pairs, [pairs] each."""
    texts = [chosen for chosen, _, _ in pairs] + [rejected for _, rejected, _ in pairs]
    padded = tokenizer.pad({"input_ids": texts}, return_tensors="pt").to(model.device)
    heads = torch.tensor([head for _, _, head in pairs] * 2, device=model.device)
    found = model(**padded).logits.float().gather(1, heads[:, None])[:, 0]
    return found[: len(pairs)], found[len(pairs) :]


@torch.no_grad()
def measure(
    model: Any, tokenizer: Any, pairs: Sequence[Pair], signals: Sequence[str], batch: int
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Of held-out pairs, by signal: accuracy (an equal score counts half), and mean and standard
    deviation of the scores of all their texts, which say on what scale the head is; and, as the
    evaluation gives it, which pairs are in the right order (`common.results.record.Problems`)."""
    found: dict[int, list[tuple[float, float]]] = {}
    model.eval()
    for i in range(0, len(pairs), batch):
        some = pairs[i : i + batch]
        chosen, rejected = scores(model, tokenizer, some)
        both = zip(chosen.tolist(), rejected.tolist(), strict=True)
        for (_, _, head), pair in zip(some, both, strict=True):
            found.setdefault(head, []).append(pair)
    model.train()
    metrics, result = {}, {}
    for head, of_pairs in sorted(found.items()):
        name, table = signals[head], torch.tensor(of_pairs, dtype=torch.float64)
        gap = table[:, 0] - table[:, 1]
        metrics[f"{name}/accuracy"] = float(((gap > 0) + 0.5 * (gap == 0)).double().mean())
        metrics[f"{name}/mean"] = float(table.mean())
        metrics[f"{name}/std"] = float(table.std(correction=0))
        order: dict[str, Any] = {"id": [str(i) for i in range(len(gap))], "n": [1] * len(gap)}
        result[f"reward model, {name}"] = {"problems": order | {"c": (gap > 0).int().tolist()}}
    return metrics, result


def train(spec: dict[str, Any], folder: Path) -> None:
    """Train as `spec` says and write `model/`, `metrics.jsonl` (by step) and, of the held-out pairs
    at the end, `metrics.json` and `result.json` into `folder`."""
    torch.manual_seed(spec["seed"])
    options = build(RewardModel, spec["reward_model"], "recipe.reward_model")
    signals = options.signals
    tokenizer = AutoTokenizer.from_pretrained(spec["start"], trust_remote_code=False)
    model = AutoModelForSequenceClassification.from_pretrained(
        spec["start"], num_labels=len(signals), dtype=torch.float32, trust_remote_code=False
    )
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.id2label = dict(enumerate(signals))
    model.config.label2id = {name: head for head, name in enumerate(signals)}
    model.to(spec["device"]).train()
    learnt = read_pairs(Path(spec["train"]), tokenizer, signals, options.max_length)
    held_out = read_pairs(Path(spec["validation"]), tokenizer, signals, options.max_length)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.lr, weight_decay=options.weight_decay
    )
    steps, size = options.steps, options.batch_size
    schedule = get_linear_schedule_with_warmup(optimizer, options.lr_warmup_steps, steps)
    rng, order = random.Random(spec["seed"]), list[Pair]()
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as log:
        for step in range(1, steps + 1):
            while len(order) < size:  # epochs follow each other without a rest
                order += rng.sample(learnt, len(learnt))
            some, order = order[:size], order[size:]
            chosen, rejected = scores(model, tokenizer, some)
            loss = bradley_terry_loss(chosen, rejected)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_grad)
            optimizer.step()
            schedule.step()
            values = {
                "train/loss": loss.item(),
                "train/accuracy": (chosen > rejected).float().mean().item(),
                "train/grad_norm": float(norm),
            }
            log.write(json.dumps({"step": step, "data": values}) + "\n")
            log.flush()
    found, result = measure(model, tokenizer, held_out, signals, size)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    for name, what in (("metrics", found), ("result", result)):
        text = json.dumps(what, indent=2, sort_keys=True) + "\n"
        (folder / f"{name}.json").write_text(text)


if __name__ == "__main__":
    SPEC = Path(sys.argv[1])
    train(json.loads(SPEC.read_text(encoding="utf-8")), SPEC.parent)
