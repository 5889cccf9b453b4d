"""Metrics of the groups of a step, over all responses that were sampled."""

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any


def spread(name: str, values_PG: list[list[float]]) -> dict[str, float]:
    """Of each group's values: mean standard deviation, and the share of groups without any."""
    return {
        f"{name}spread": fmean(map(pstdev, values_PG)),
        f"{name}zero_spread": fmean(max(values) == min(values) for values in values_PG),
    }


def scales(sources: Sequence[str], scores_PG: list[list[float]]) -> dict[str, float]:
    """Of each data source, where there are several: mean of its scores, and the mean over its
    prompts of their standard deviation, which say on what scale its rewards are.

    Args: sources: of each prompt.
    """
    names = sorted(set(sources))
    found: dict[str, float] = {}
    for name in names if len(names) > 1 else ():
        groups = [g for source, g in zip(sources, scores_PG, strict=True) if source == name]
        found[f"group/{name}/score"] = fmean(score for group in groups for score in group)
        found[f"group/{name}/spread"] = fmean(map(pstdev, groups))
    return found


def entropy(fields: Any) -> dict[str, float]:
    """`group/entropy`, where the sampler gave its log-probabilities."""
    if "rollout_log_probs" not in set(fields.keys()):
        return {}
    total = tokens = 0.0
    for log_probs, mask in zip(fields["rollout_log_probs"], fields["response_mask"], strict=True):
        total -= float((log_probs * mask).sum())
        tokens += float(mask.sum())
    return {"group/entropy": total / max(1.0, tokens)}


def means(infos: list[dict[str, float | None]]) -> dict[str, float]:
    """`group/<name>`: the mean of each number that a reward function logs, where it is one."""
    values: dict[str, list[float]] = {}
    for info in infos:
        for key, value in info.items():
            if key != "score" and value is not None and value == value:
                values.setdefault(key, []).append(value)
    return {f"group/{key}": sum(found) / len(found) for key, found in values.items()}
