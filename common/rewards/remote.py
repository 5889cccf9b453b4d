"""Client of a reward model that runs as a service: texts in, one score each out.

Three forms of service, chosen by the path of the address:

- `/classify`, of vLLM's OpenAI-compatible server: `{"model", "input": [texts]}` gives `{"data":
  [{"index", "probs": [...]}]}`. The score is the probability of the last class; a model with one
  class gives that number as the server's activation left it.
- `/score`, of the same server: `{"model", "text_1": [prompts], "text_2": [responses]}` gives
  `{"data": [{"index", "score"}]}`; texts are pairs (prompt, response).
- any other path: `{"texts": [texts]}` gives `{"scores": [numbers]}`.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx

Text = str | tuple[str, str]
# What may pass by itself: an overloaded or restarting server, and a lost connection.
PASSING = (408, 425, 429, 500, 502, 503, 504)


def post(
    client: httpx.Client, url: str, body: dict[str, Any], retries: int, backoff_s: float
) -> httpx.Response:
    """The answer to a request, sent again while what went wrong may pass by itself.

    Args: retries, backoff_s: as of `RewardModel`.
    Raises: ConnectionError saying what went wrong the last time, and how often something did.
    """
    for attempt in range(1, retries + 2):
        try:
            answer = client.post(url, json=body)
            if answer.status_code not in PASSING:
                return answer
            reason = f"{answer.status_code} {answer.reason_phrase}"
            asked = answer.headers.get("retry-after", "")
        except httpx.HTTPError as error:
            reason, asked = f"{type(error).__name__} {error}".strip(), ""
        if attempt <= retries:
            wait = backoff_s * 2 ** (attempt - 1) * random.uniform(1, 1.5)
            time.sleep(float(asked) if asked.isdecimal() else wait)
    raise ConnectionError(f"{reason}, {attempt} times in a row")


class RewardServiceError(RuntimeError):
    """The service gave no scores; one line says which, what it answered, and how often."""


class RewardModel:
    """A pool of connections to one address. Safe to use from many threads at once.

    `batch`: texts of one request. `concurrency`: requests in flight. `timeout_s`: of one attempt.
    `retries`: attempts after the first, each after twice the wait of the one before, from
    `backoff_s` on with up to half as much again at random, or what the server's Retry-After asks.
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        batch: int = 32,
        concurrency: int = 4,
        timeout_s: float = 60.0,
        retries: int = 4,
        backoff_s: float = 0.5,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"reward service {url!r}: an http:// or https:// address is wanted")
        for name, value in (("batch", batch), ("concurrency", concurrency), ("retries", retries)):
            if value < (name != "retries"):
                raise ValueError(f"reward service {url}: {name}={value} is too small")
        self.url, self.model, self.batch = url, model, batch
        self.retries, self.backoff_s = retries, backoff_s
        self._form = parts.path.rstrip("/").rpartition("/")[2]
        self._root = f"{parts.scheme}://{parts.netloc}"
        limits = httpx.Limits(max_connections=concurrency)
        # a request waits for a free connection as long as that takes; only the answer has a limit
        timeout = httpx.Timeout(timeout_s, pool=None)
        self._client = httpx.Client(limits=limits, timeout=timeout)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="reward service")

    def __enter__(self) -> RewardModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; requests in flight end first."""
        self._threads.shutdown(cancel_futures=True)
        self._client.close()

    def score(self, texts: Sequence[Text]) -> list[float]:
        """One finite number for each text, in order.

        Raises: RewardServiceError when a request fails for good, or the answer is not as above.
        """
        batches = [texts[i : i + self.batch] for i in range(0, len(texts), self.batch)]
        return [score for found in self._threads.map(self._request, batches) for score in found]

    async def ascore(self, texts: Sequence[Text]) -> list[float]:
        """`score` for coroutines: the event loop goes on meanwhile."""
        return await asyncio.to_thread(self.score, texts)

    def healthy(self, wait_s: float = 0.0) -> bool:
        """Whether `GET /health` succeeds, now or within `wait_s` seconds of asking."""
        until = time.monotonic() + wait_s
        while True:
            try:
                if self._client.get(f"{self._root}/health", timeout=5.0).is_success:
                    return True
            except httpx.HTTPError:
                pass
            if time.monotonic() >= until:
                return False
            time.sleep(min(0.5, wait_s))

    def _request(self, texts: Sequence[Text]) -> list[float]:
        body = self._body(texts)
        try:
            answer = post(self._client, self.url, body, self.retries, self.backoff_s)
        except ConnectionError as error:
            raise RewardServiceError(f"reward service {self.url}: {error}") from None
        return self._scores(answer, len(texts))

    def _body(self, texts: Sequence[Text]) -> dict[str, Any]:
        if self._form == "score":
            prompts, responses = zip(*texts, strict=True)
            return {"model": self.model, "text_1": prompts, "text_2": responses}
        if self._form == "classify":
            return {"model": self.model, "input": list(texts)}
        return {"texts": list(texts)}

    def _scores(self, answer: httpx.Response, count: int) -> list[float]:
        where = f"reward service {self.url}"
        if not answer.is_success:
            text = " ".join(answer.text.split())[:200]
            raise RewardServiceError(
                f"{where}: {answer.status_code} {answer.reason_phrase}: {text}"
            )
        try:
            content = answer.json()
            if self._form in ("score", "classify"):
                items = sorted(content["data"], key=lambda item: item["index"])
                pair = self._form == "score"
                values = [item["score"] if pair else item["probs"][-1] for item in items]
            else:
                values = content["scores"]
            scores = [float(value) for value in values]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise RewardServiceError(
                f"{where}: an answer of another form ({type(error).__name__}: {error})"
            ) from None
        if len(scores) != count:
            raise RewardServiceError(f"{where}: {len(scores)} scores for {count} texts")
        if not all(map(math.isfinite, scores)):
            raise RewardServiceError(f"{where}: a score that is no finite number")
        return scores
