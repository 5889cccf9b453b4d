"""Group votes: rewards of all responses to one prompt at once.

The article on reward design (Wei Xinyu, see `gemma_gsm8k.py`) describes a vote of the group: the
commonest answer of all responses is paid for by its distance from the gold. Its code does not do
that, as it sees one response at a time. Done as described (`group_vote` with `Vote()`), every
member gets the same reward, so the group-relative advantage, reward minus the group's mean, is
zero for everyone: nothing is learnt from it. `vote_bonus` pays each member for its own answer and
adds a bonus for agreeing with the vote.

The article's five improvements, of which only the names are known to us, so that every form here is
ours: vote threshold (`Vote.min_share`), format filter (`Vote.well_formed_only`), confidence
weighting (`confidence_G`), tie handling (`Vote.ties`), smooth difference (`credit=smooth_credit`).

Who calls this: all responses of a prompt are needed together. verl 0.9.1's reward managers see one
response (`run_single`), and an advantage estimator sees groups (`index`) without texts; whole
groups meet in the sampler (`common/plugin/sampler.py`), which replaces their `rm_scores` before the
advantages are computed. `group.py` adds the format reward of each response.

Shapes: `_G` is one entry for each response to the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from common.rewards.gemma_gsm8k import Credit, format_reward, last_answer, step_credit
from common.rewards.gsm8k import read_number

TIES = ("first", "mean", "none")


@dataclass(frozen=True)
class Vote:
    """How a group votes.

    `min_share`: the part of the whole group's weight that an answer must have to win, 0 to 1;
    responses without an answer count against it. `well_formed_only`: only responses in the
    required format vote. `ties`: of equal answers the `first` wins, as in the published code; or
    the prize is their `mean`; or `none` wins.
    """

    min_share: float = 0.0
    well_formed_only: bool = False
    ties: str = "first"

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= 1:
            raise ValueError(f"min_share: {self.min_share} is not between 0 and 1")
        if self.ties not in TIES:
            raise ValueError(f"ties: {self.ties!r} is not one of {', '.join(TIES)}")


def ballots(responses_G: Sequence[str | None], vote: Vote) -> list[str | None]:
    """The answer that each response votes for: its last `<answer>...</answer>`, numbers by value
    (18.0 and 18 are one answer). None: no answer, or kept out by the format filter."""
    cast: list[str | None] = []
    for response in responses_G:
        answer = last_answer(response or "")
        if vote.well_formed_only and not format_reward(response or ""):
            answer = None
        number = None if answer is None else read_number(answer)
        cast.append(answer if number is None else format(number.normalize(), "f"))
    return cast


def winners(
    ballots_G: Sequence[str | None], vote: Vote, confidence_G: Sequence[float] | None = None
) -> dict[str, float]:
    """The winning answer or answers, each with its part of the prize; the parts sum to 1. Empty:
    nobody voted, the threshold was missed, or a tie was not resolved.

    `confidence_G`: the weight of each vote, at least 0, such as the mean token probability; all
    equal by default.
    """
    weights = [1.0] * len(ballots_G) if confidence_G is None else [float(c) for c in confidence_G]
    if len(weights) != len(ballots_G) or not all(0 <= w < math.inf for w in weights):
        raise ValueError(f"confidence_G: {len(ballots_G)} finite numbers, at least 0, are wanted")
    parts: dict[str, list[float]] = {}
    for ballot, weight in zip(ballots_G, weights, strict=True):
        if ballot is not None:
            parts.setdefault(ballot, []).append(weight)
    # fsum: a sum does not depend on the order, so that equal votes are equal to the last bit
    totals = {ballot: math.fsum(part) for ballot, part in parts.items()}
    most = max(totals.values(), default=0.0)
    if most == 0 or most < vote.min_share * math.fsum(weights):
        return {}
    tied = [ballot for ballot, total in totals.items() if total == most]
    if vote.ties == "first":
        tied = tied[:1]
    elif vote.ties == "none" and len(tied) > 1:
        tied = []
    return {ballot: 1 / len(tied) for ballot in tied}


def group_vote(
    responses_G: Sequence[str | None],
    gold: str,
    vote: Vote,
    confidence_G: Sequence[float] | None = None,
    credit: Credit = step_credit,
) -> list[float]:
    """The credit of the group's vote, the same for every member; 0 where nothing wins.

    Raises: ValueError for a gold that is no number.
    """
    _check_gold(gold)
    won = winners(ballots(responses_G, vote), vote, confidence_G)
    prize = math.fsum(part * credit(answer, gold) for answer, part in won.items())
    return [prize] * len(responses_G)


def vote_bonus(
    responses_G: Sequence[str | None],
    gold: str,
    vote: Vote,
    bonus: float,
    confidence_G: Sequence[float] | None = None,
    credit: Credit = step_credit,
) -> list[float]:
    """Each member's own credit, plus `bonus` (times its part of the prize) when its vote won.

    The bonus does not ask the gold: it separates members where all are right or all wrong, and it
    also pays for a wrong majority, so keep it well below the full credit. (ours)

    Raises: ValueError for a gold that is no number.
    """
    _check_gold(gold)
    cast = ballots(responses_G, vote)
    won = winners(cast, vote, confidence_G)
    rewards = []
    for response, ballot in zip(responses_G, cast, strict=True):
        answer = last_answer(response or "")
        own = 0.0 if answer is None else credit(answer, gold)
        rewards.append(own + bonus * won.get(ballot, 0.0) if ballot is not None else own)
    return rewards


def _check_gold(gold: str) -> None:
    if read_number(gold) is None:
        raise ValueError(f"gold: {gold[:40]!r} is not a number")
