"""Client of a reward model that runs as a service: texts in, one score each out.

The path of the address says what is spoken. The first three are paths of vLLM's server; ours
(`python -m common serve reward`) has the first.

- `/classify`: `{"model", "input": [texts]}` gives `{"data": [{"index", "probs": [...]}]}`.
- `/pooling`: the same request gives `{"data": [{"index", "data": [...]}]}`, the numbers of a text,
  or of each of its tokens, of which the last counts.
- `/score`: `{"model", "text_1": [prompts], "text_2": [responses]}` gives `{"data": [{"index",
  "score"}]}`; texts are pairs (prompt, response).
- any other path: `{"texts": [texts]}` gives `{"scores": [numbers]}`.

The first two are asked for raw numbers (`use_activation: false`), as a Bradley-Terry model gives
them: the sigmoid that vLLM applies by itself would level the high scores. A text is what the model
reads, special tokens included: none is added to it, and its end is kept where it is too long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from common.services.client import Service, ServiceError, form_of

Text = str | tuple[str, str]


def aggregate(heads: Sequence[float], weights: Sequence[float] | None) -> float:
    """One score of the heads of a reward model: their weighted sum, or the last one.

    Raises: ValueError unless there are as many heads as weights.
    """
    if weights is None:
        return heads[-1]
    return math.fsum(w * head for w, head in zip(weights, heads, strict=True))


class RewardModel(Service):
    """`weights`: of the numbers that the service gives for a text, where it does not add them up
    itself; without, the last number counts. All else: see `Service`."""

    kind = "reward"

    def __init__(
        self,
        address: str,
        model: str = "",
        *,
        weights: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(address, model, **options)
        self.weights = weights

    def score(self, texts: Sequence[Text]) -> list[float]:
        """One finite number for each text, in order. Raises: ServiceError, see `Service.ask`."""
        return self.ask(texts)

    async def ascore(self, texts: Sequence[Text]) -> list[float]:
        """`score` for coroutines: the event loop goes on meanwhile."""
        return await self.ask_async(texts)

    def check(self, wait_s: float = 0.0) -> None:
        """Raise ServiceError unless the service is there, within `wait_s`, and scores a text."""
        if not self.healthy(wait_s):
            raise ServiceError(f"{self.name}: does not answer GET /health; start it first")
        self.score([("a", "a") if form_of(self.url()) == "score" else "a"])

    def _request(self, items: list[Text], form: str) -> dict[str, Any]:
        # vLLM wants the name of its model and has one; without the field it takes that
        named = {"model": self.model} if self.model else {}
        if form == "score":
            prompts, responses = zip(*items, strict=True)
            return named | {"text_1": prompts, "text_2": responses}
        if form in ("classify", "pooling"):
            raw = {"use_activation": False, "add_special_tokens": False}
            return named | raw | {"truncate_prompt_tokens": -1, "input": items}
        return {"texts": items}

    def _read(self, content: Any, items: list[Text], form: str) -> list[float]:
        if form in ("score", "classify", "pooling"):
            data = sorted(content["data"], key=lambda item: item["index"])
            key = {"score": "score", "classify": "probs", "pooling": "data"}[form]
            values = [self._number(item[key]) for item in data]
        else:
            values = [float(value) for value in content["scores"]]
        if not all(map(math.isfinite, values)):
            raise ServiceError(f"{self.name}: a score that is no finite number")
        return values

    def _number(self, found: Any) -> float:
        if not isinstance(found, list):
            return float(found)
        if isinstance(found[-1], list):  # of each token
            found = found[-1]
        return aggregate([float(value) for value in found], self.weights)
