"""Whether a priming set contains what it claims: its habits, and the share of right answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.habits import HABITS
from common.habits.rules import count
from common.rewards.countdown import grade_published
from common.rewards.verdict import Outcome

Gold = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """What a set claims. `most`: habits that most of its solutions have; `never`: habits that
    almost none has; `right`: lowest and highest share of right answers."""

    most: tuple[str, ...]
    never: tuple[str, ...]
    right: tuple[float, float]


# Of the solutions, at least this share has a habit that the set claims (of the solver's 70 % try
# more than once), and at most this share another: none where our solver made them; in a language
# model's the counter may take a word for a habit, and the model may slip.
MOST, OTHERS_EXACT, OTHERS_WRITTEN = 0.5, 0.0, 0.1
ANY, NONE_RIGHT = (0.1, 1.0), (0.0, 0.0)


def _only(*habits: str) -> Claim:
    return Claim(habits, tuple(h for h in HABITS if h not in habits), ANY)


CLAIMS = {
    "all_strategies": Claim(HABITS, (), ANY),
    "only_backtracking": _only("backtracking"),
    "backtracking_verification": _only("backtracking", "verification"),
    "backtracking_subgoal": _only("backtracking", "subgoal"),
    "backtracking_backward": _only("backtracking", "backward"),
    "incorrect": Claim(HABITS, (), NONE_RIGHT),
    "empty_cot": _only(),
    "dots": _only(),
}
WITHOUT_THOUGHT = ("empty_cot", "dots")


@dataclass(frozen=True)
class Content:
    """What a set has: `share` of its solutions with each habit, `mean` counts, share of `right`
    answers, and mean length of the thoughts in characters."""

    rows: int
    share: dict[str, float]
    mean: dict[str, float]
    right: float
    characters: float


def content(solutions: Sequence[str], golds: Sequence[Gold]) -> Content:
    """Counts by rules over a set; `golds`: numbers and target of each puzzle."""
    found = [count(s, g["target"]) for s, g in zip(solutions, golds, strict=True)]
    verdicts = [
        grade_published({"response": s, "gold": g}).outcome
        for s, g in zip(solutions, golds, strict=True)
    ]
    rows = len(found)
    return Content(
        rows=rows,
        share={h: sum(c[h] > 0 for c in found) / rows for h in HABITS},
        mean={h: sum(c[h] for c in found) / rows for h in HABITS},
        right=sum(v is Outcome.CORRECT for v in verdicts) / rows,
        characters=sum(len(s.partition("</think>")[0]) for s in solutions) / rows,
    )


def faults(
    name: str, solutions: Sequence[str], golds: Sequence[Gold], exact: bool = True
) -> list[str]:
    """Where a set does not have what `CLAIMS` says of it; empty when all is there.

    `exact`: made by our solver, not written by a language model."""
    claim, found = CLAIMS[name], content(solutions, golds)
    others = OTHERS_EXACT if exact else OTHERS_WRITTEN
    wrong = [
        f"{h} in {found.share[h]:.1%} of the solutions, at least {MOST:.0%} are wanted"
        for h in claim.most
        if found.share[h] < MOST
    ]
    wrong += [
        f"{h} in {found.share[h]:.1%} of the solutions, at most {others:.0%} are allowed"
        for h in claim.never
        if found.share[h] > others
    ]
    low, high = claim.right
    if not low <= found.right <= high:
        wrong.append(f"{found.right:.1%} of the answers are right; {low:.0%} to {high:.0%} wanted")
    if name in WITHOUT_THOUGHT:
        allowed = set(" .\n") if name == "dots" else set(" \n")
        thoughts = (s.partition("</think>")[0] for s in solutions)
        odd = sum(not set(thought) <= allowed for thought in thoughts)
        wrong += [f"{odd} thoughts have words"] if odd else []
    return wrong


def check_set(
    name: str, solutions: Sequence[str], golds: Sequence[Gold], where: str, exact: bool = True
) -> None:
    """Raise ValueError, in one line that begins with `where`, for a set without what it claims."""
    if name not in CLAIMS:
        raise ValueError(f"{where}: no priming set {name!r}; there is {', '.join(CLAIMS)}")
    if not solutions:
        raise ValueError(f"{where}: no solutions")
    found = faults(name, solutions, golds, exact)
    if found:
        raise ValueError(f"{where}: the set {name} is not what it claims: {'; '.join(found)}")
