"""Client of a reference model that runs as a service: log-probabilities of given tokens.

It speaks to `/v1/completions`, of vLLM's server or of ours (`python -m common serve reference`), in
vLLM's words: `prompt_logprobs: 0` gives, for each token of the prompt, its own log-probability
given those before it. vLLM gives them at temperature 1, whatever a request says; ours at the
request's, and says so in its answer, which this client insists on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from common.services.client import Service, ServiceError


class ReferenceModel(Service):
    """`temperature`: what logits are divided by, that of the rollouts. All else: see `Service`."""

    kind = "reference"

    def __init__(
        self, address: str, model: str = "", *, temperature: float = 1.0, **options: Any
    ) -> None:
        super().__init__(address, model, **options)
        self.temperature = temperature

    def log_probs(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        """For each sequence of n tokens the n - 1 log-probabilities (nats) of all but its first.

        Raises: ServiceError, see `Service.ask`.
        """
        return self.ask([list(ids) for ids in token_ids])

    async def alog_probs(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        """`log_probs` for coroutines: the event loop goes on meanwhile."""
        return await self.ask_async([list(ids) for ids in token_ids])

    def check(self, wait_s: float = 0.0) -> None:
        """Raise ServiceError unless the service is there, within `wait_s`, and answers as asked."""
        if not self.healthy(wait_s):
            raise ServiceError(f"{self.name}: does not answer GET /health; start it first")
        self.log_probs([[0, 0]])

    def _request(self, items: list[list[int]], form: str) -> dict[str, Any]:
        named = {"model": self.model} if self.model else {}
        # vLLM samples at least one token, which nobody reads
        asked = {"max_tokens": 1, "prompt_logprobs": 0, "temperature": self.temperature}
        return named | asked | {"prompt": items}

    def _read(self, content: Any, items: list[list[int]], form: str) -> list[list[float]]:
        applied = float(content.get("prompt_logprobs_temperature", 1.0))
        if applied != self.temperature:
            raise ServiceError(
                f"{self.name}: gives log-probabilities at temperature {applied:g}, and "
                f"{self.temperature:g} is wanted; set rollout.temperature={applied:g}, or use "
                "`python -m common serve reference`"
            )
        choices = sorted(content["choices"], key=lambda choice: choice["index"])
        found = []
        for ids, choice in zip(items, choices, strict=True):
            of_tokens = zip(ids, choice["prompt_logprobs"], strict=True)
            found.append([float(entry[str(i)]["logprob"]) for i, entry in list(of_tokens)[1:]])
        if not all(math.isfinite(value) for values in found for value in values):
            raise ServiceError(f"{self.name}: a log-probability that is no finite number")
        return found
