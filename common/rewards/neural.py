"""The neural branch of the router: a reward model behind HTTP scores what no rule can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from common.services.client import Connection
from common.services.reward import RewardModel, Text

KEY = "reward.custom_reward_function.reward_kwargs.neural"


@dataclass(frozen=True)
class Neural:
    """`sources`: the data sources whose responses a reward model scores, `service`: where it is.
    `tokenizer`: the folder of the model, below that of the run, whose chat template
    turns prompt and response into the text that it reads; none with an address that ends in
    `/score`, which takes the two apart. `weights`: of several numbers of a text. `after`: the mark
    that ends a thought, where the model reads only what follows its last one.

    Rows of these sources have their prompt, chat messages or a text, in `extra_info.prompt`.

    Raises: ValueError without a source, or without a tokenizer where one is needed.
    """

    sources: list[str]
    service: Connection
    tokenizer: str | None = None
    weights: list[float] | None = None
    after: str | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError(f"{KEY}.sources: none is named; leave {KEY} out")
        pairs = self.service.address.rstrip("/").endswith("/score")
        if pairs != (self.tokenizer is None):
            raise ValueError(
                f"{KEY}.tokenizer={self.tokenizer}: the reward model's folder is wanted, but with "
                "an address that ends in /score"
            )

    @cached_property
    def _client(self) -> RewardModel:
        return RewardModel(weights=self.weights, **self.service.arguments())

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.tokenizer, trust_remote_code=False)

    def text(self, prompt: Any, response: str) -> Text:
        """What the model reads of one response."""
        if self.after:
            response = response.rpartition(self.after)[2]
        turns = [dict(turn) for turn in prompt] if not isinstance(prompt, str) else None
        if self.tokenizer is None:
            return prompt if turns is None else "\n".join(t["content"] for t in turns), response
        turns = turns or [{"role": "user", "content": prompt}]
        chat = [*turns, {"role": "assistant", "content": response}]
        return str(self._tokenizer.apply_chat_template(chat, tokenize=False))

    async def score(self, response: str | None, extra: Mapping[str, Any] | None) -> float:
        """The reward model's score, on its own scale.

        Raises: ValueError without a prompt; ServiceError when the service stays away.
        """
        text = self.text(self.prompt(extra), response or "")
        (score,) = await self._client.ascore([text])
        return score

    @staticmethod
    def prompt(extra: Mapping[str, Any] | None) -> Any:
        """The prompt of a row. Raises: ValueError where there is none."""
        found = (extra or {}).get("prompt")
        if found is None or len(found) == 0:
            raise ValueError("extra_info.prompt: missing, and the reward model reads it")
        return found
