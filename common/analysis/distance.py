"""How far a warm-up, and RL after it, lead from the base: perplexity and KL divergence.

The authors of SimpleRL (hkust-nlp/simpleRL-reason, January 2025) guess that long solutions of a
stronger model do not suit a small policy; this puts numbers on it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from common.analysis.forks import ELEMENTS, ratio
from common.analysis.report import Analysis, Table, bars, figure, interval_text
from common.analysis.runs import (
    AFTER,
    BEFORE,
    Run,
    Selection,
    problems,
    read_responses,
    saved_benchmarks,
)
from common.console import say
from common.results.rows import Estimate
from common.runs import STAGE_FILE, read_json, relative
from data.parquet import MESSAGE_COLUMNS, read_parquet

LESSONS = "what the warm-up teaches"
STAGES = {BEFORE: "the model before RL", AFTER: "the trained model"}
NOTES = [
    "perplexity: exp(-sum log p_base / tokens), p_base the base's probabilities at temperature 1, "
    "over the tokens of the lessons, or of the model's own saved responses (sample 0 of a problem; "
    "its stop token is not among them).",
    "KL: mean over those tokens of sum_v p(v) log(p(v) / p_base(v)), p the model's distribution at "
    "that place, exact over the vocabulary; in nats. On sampled responses of temperature 1 it "
    "estimates KL(model || base) per token; on greedy ones it is the KL along the greedy path.",
    "Intervals: 95 %, bootstrap over responses (2,000 resamples, seeded; expanded percentiles), "
    "seeds pooled.",
]


@dataclass(frozen=True)
class Texts:
    """(N,) for N responses: tokens of each, minus the base's log-probability of them, and the sum
    of the divergences at them (NaN where there is no model but the base)."""

    tokens: NDArray[np.float64]
    surprise: NDArray[np.float64]
    divergence: NDArray[np.float64]

    def perplexity(self) -> Estimate:
        found = ratio(np.arange(self.tokens.size), self.surprise, self.tokens)
        ends = found.interval and tuple(math.exp(end) for end in found.interval)
        return Estimate(math.exp(found.value), ends or None, found.over)  # type: ignore[arg-type]

    def kl(self) -> Estimate | None:
        if np.isnan(self.divergence).any():
            return None
        return ratio(np.arange(self.tokens.size), self.divergence, self.tokens)


def pooled(parts: Sequence[Texts]) -> Texts:
    names = ("tokens", "surprise", "divergence")
    return Texts(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def analyse(selection: Selection, benchmarks: Sequence[str] = (), responses: int = 100) -> Analysis:
    """The table, the figure and the JSON, over `responses` lessons, and as many saved responses, of
    each run."""
    found: dict[tuple[str, str], list[Texts]] = {}
    for run in selection.runs:
        for where, texts in measure(run, benchmarks, responses):
            found.setdefault((run.variant, where), []).append(texts)
    lines: list[list[str]] = []
    values: dict[str, Any] = {}
    shown: dict[str, Estimate] = {}
    for (arm, where), parts in found.items():
        texts = pooled(parts)
        perplexity, kl = texts.perplexity(), texts.kl()
        divergence = interval_text(kl) if kl else "-"
        counts = [str(texts.tokens.size), f"{texts.tokens.mean():.4g}"]
        lines.append([arm, where, *counts, interval_text(perplexity), divergence])
        values.setdefault(arm, {})[where] = {
            "responses": texts.tokens.size,
            "perplexity": asdict(perplexity),
            "kl": asdict(kl) if kl else None,
        }
        if kl:
            shown[f"{arm}: {where}"] = kl
    title = f"distance from the base, {selection.recipe} at {selection.scale}"
    head = "arm | texts | responses | mean tokens | perplexity under the base | KL per token"
    table = Table("perplexity and KL", head, lines)
    return Analysis("distance", title, [table], NOTES, values, draw(shown, title))


def measure(run: Run, benchmarks: Sequence[str], responses: int) -> list[tuple[str, Texts]]:
    """What is measured of one run, by name: its lessons, and its responses to each benchmark before
    RL, where a warm-up has moved the model, and after.

    Raises: ValueError when a checkpoint, or the base, is gone.
    """
    base = load(run, run.folder / "sft" / "model")
    found = []
    chats = lessons(run) if (run.folder / "warmup").exists() else []
    if chats:
        chosen = sorted(range(len(chats)), key=lambda i: (zlib.crc32(str(i).encode()), i))
        taken = [chats[i] for i in chosen[:responses]]
        rows = [{"prompt": chat[:-1]} for chat in taken]
        texts = compare(base, None, rows, [chat[-1]["content"] for chat in taken])
        found.append((LESSONS, texts))
    moved = (run.folder / "start").resolve() != (run.folder / "sft").resolve()
    for stage in (BEFORE, AFTER) if moved else (AFTER,):
        spec = read_json(run.folder / stage / "spec.json")
        model = load(run, Path(spec["model"]))
        for benchmark in saved_benchmarks(run, benchmarks):
            say(f"distance: {run.name}, {STAGES[stage]}, {benchmark}")
            saved = {
                row["id"]: row["response"]
                for row in read_responses(run, stage, benchmark)
                if row["sample"] == 0
            }
            asked = sorted(saved, key=lambda p: (zlib.crc32(p.encode()), p))[:responses]
            known = problems(run, stage, benchmark)
            texts = compare(base, model, [known[p] for p in asked], [saved[p] for p in asked])
            found.append((f"{STAGES[stage]}, {benchmark}", texts))
    return found


def lessons(run: Run) -> list[list[dict[str, str]]]:
    """The chats of a run's warm-up: none where it teaches texts without a prompt."""
    (phase,) = read_json(run.folder / "warmup" / STAGE_FILE)["inputs"]["phases"]
    if phase["data"]["custom_cls"]["path"]:
        say(f"distance: {run.name} learns from texts of its own form, which are not measured")
        return []
    rows = read_parquet(run.folder / phase["data"]["train_files"], MESSAGE_COLUMNS)
    return [row["messages"] for row in rows if len(row["messages"]) > 1]


def load(run: Run, path: Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a checkpoint, on the GPU where there is one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    if not (path / "config.json").exists():
        raise ValueError(f"{relative(path)}: the checkpoint is gone; `{run.command}` makes it")
    disable_progress_bar()
    cuda = torch.cuda.is_available()
    model: Any = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=torch.bfloat16 if cuda else torch.float32,
        attn_implementation="sdpa",
        trust_remote_code=False,
    )
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    return model.to("cuda" if cuda else "cpu").eval(), tokenizer


def compare(
    base: tuple[Any, Any],
    model: tuple[Any, Any] | None,
    rows: list[dict[str, Any]],
    responses: list[str],
) -> Texts:
    """Each response to its prompt under the base, and under another model with the same tokens.

    Args: rows: with `prompt`, a chat, one for each response. A response without a token is left
    out.
    Raises: ValueError when no response holds a token.
    """
    import torch

    from common.evaluation.generation import prompt_ids

    network, tokenizer = base
    prompts = prompt_ids(tokenizer, rows)
    answers = [tokenizer(text, add_special_tokens=False).input_ids for text in responses]
    chunk = max(1, ELEMENTS // network.config.vocab_size)
    found: list[tuple[float, float, float]] = []
    for prompt, answer in zip(prompts, answers, strict=True):
        if not answer:
            continue
        with torch.inference_mode():
            ids = torch.tensor([prompt + answer], device=network.device)
            targets = ids[0, len(prompt) :]
            # the position before a token predicts it
            under = [
                one(ids, logits_to_keep=len(answer) + 1).logits[0, :-1]
                for one in (network, *([model[0]] if model else []))
            ]
            surprise, divergence = 0.0, 0.0 if model else math.nan
            for i in range(0, len(answer), chunk):
                logs = [logits[i : i + chunk].float().log_softmax(-1) for logits in under]
                picked = logs[0].gather(1, targets[i : i + chunk, None])
                surprise -= float(picked.sum())
                if model:
                    divergence += float((logs[1].exp() * (logs[1] - logs[0])).nansum())
        found.append((float(len(answer)), surprise, divergence))
    if not found:
        raise ValueError("the responses hold no token")
    return Texts(*np.array(found).T)


def draw(shown: dict[str, Estimate], title: str) -> Figure:
    made, grid = figure(1, 1, title)
    made.set_size_inches(7.5, 1.6 + 0.3 * len(shown))  # the names are long
    label = "KL from the base (nats per token, 95 % CI)"
    bars(grid[0, 0], list(shown), list(shown.values()), label)
    return made
