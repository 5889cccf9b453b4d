"""Rewards of whole groups, for the sampler: the votes of `voting.py` and the format reward.

verl's reward functions see one response; all responses to a prompt meet in the sampler
(`common/plugin/sampler.py`), which pays what this module says in the place of their rewards:
`trainer.v1.sampler.sampler_kwargs.group_reward` holds the fields of `GroupReward`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.rewards import voting
from common.rewards.gemma_gsm8k import (
    Credit,
    equal_credit,
    format_reward,
    smooth_credit,
    step_credit,
)
from common.rewards.gsm8k import gold_number
from common.rewards.voting import Vote

KEY = "trainer.v1.sampler.sampler_kwargs.group_reward"
RULES = ("vote", "bonus")
CREDITS: dict[str, Credit] = {"equal": equal_credit, "step": step_credit, "smooth": smooth_credit}


@dataclass(frozen=True)
class GroupReward:
    """Correctness by a vote of the group, plus the format reward of each response.

    `rule`: `vote`, the article's description: everyone gets the credit of the group's answer; or
    `bonus`: the credit of one's own answer, and `bonus` for voting with the group. `credit`
    (`step`, `smooth`, `equal`): what an answer earns by its distance from the gold. `confidence`: a
    vote weighs the mean probability of its response's tokens. The others are those of
    `voting.Vote`.

    Raises: ValueError for a value that is none of these.
    """

    rule: str
    credit: str = "step"
    bonus: float = 0.0
    confidence: bool = False
    min_share: float = 0.0
    well_formed_only: bool = False
    ties: str = "first"

    def __post_init__(self) -> None:
        for name, known in (("rule", RULES), ("credit", tuple(CREDITS))):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{KEY}.{name}: {value!r} is not one of {', '.join(known)}")
        if self.bonus < 0 or (self.bonus > 0) != (self.rule == "bonus"):
            raise ValueError(f"{KEY}.bonus={self.bonus:g}: above 0 with rule bonus, else 0")
        try:
            Vote(self.min_share, self.well_formed_only, self.ties)
        except ValueError as error:
            raise ValueError(f"{KEY}.{error}") from None

    @property
    def vote(self) -> Vote:
        return Vote(self.min_share, self.well_formed_only, self.ties)

    def correctness(
        self,
        responses_G: Sequence[str],
        gold: str,
        confidence_G: Callable[[], Sequence[float]],
    ) -> list[float]:
        """The correctness part of each response's reward, all 0 for a gold that is no number.

        `confidence_G` is asked only where confidence counts.
        """
        if gold_number(gold) is None:
            return [0.0] * len(responses_G)
        weights = confidence_G() if self.confidence else None
        credit = CREDITS[self.credit]
        if self.rule == "vote":
            return voting.group_vote(responses_G, gold, self.vote, weights, credit)
        return voting.vote_bonus(responses_G, gold, self.vote, self.bonus, weights, credit)


def format_rewards(responses_G: Sequence[str]) -> list[float]:
    """The format part of each response's reward."""
    return [format_reward(response) for response in responses_G]
