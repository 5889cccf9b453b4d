"""Client of a language model behind an OpenAI-compatible endpoint: cached, resumable, with cost.

Every answer is appended to a file as it comes and read from there the next time, by the hash of its
request: an interrupted command goes on where it stopped, and nothing is paid for twice.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from common.console import say
from common.process import StageError
from common.results.provenance import sha256_json
from common.services.client import post

KEY = "OPENAI_API_KEY"  # sent where it is set, and written nowhere
Messages = list[dict[str, str]]


class ChatError(StageError):
    """The endpoint gave no answer; one line says which, and what it said."""


@dataclass(frozen=True)
class Answer:
    """`finish`: why the text ended (`length`: at the limit); tokens as the endpoint counts them."""

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int


@dataclass
class Cost:
    """Of this command: answers paid for now, answers from the cache, and tokens paid for now.
    `price`: dollars for a million tokens of prompts and of completions; None where not known."""

    price: tuple[float, float] | None
    paid: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def dollars(self) -> float | None:
        if self.price is None:
            return None
        dear, dearer = self.price
        return (self.prompt_tokens * dear + self.completion_tokens * dearer) / 1e6

    def __str__(self) -> str:
        tokens = f"{self.prompt_tokens:,} + {self.completion_tokens:,} tokens"
        money = "no --price given" if self.dollars is None else f"${self.dollars:.2f}"
        return f"{self.paid} answers asked for ({self.cached} from the cache), {tokens}, {money}"


class Chat:
    """A pool of connections to one endpoint.

    `url`: its root, up to and with `/v1`; `cache`: a file of JSON lines, made where there is none;
    `concurrency`: requests in flight; `timeout_s`, `retries`, `backoff_s`: as of
    `services.client.Service`.
    Raises: ValueError for an address that is none, or a cache that another program wrote.
    """

    def __init__(
        self,
        url: str,
        model: str,
        cache: Path,
        *,
        max_tokens: int,
        temperature: float,
        price: tuple[float, float] | None = None,
        concurrency: int = 8,
        timeout_s: float = 300.0,
        retries: int = 5,
        backoff_s: float = 1.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--url {url!r}: an http:// or https:// address is wanted")
        self.url = f"{url.rstrip('/')}/chat/completions"
        self.settings = {"model": model, "max_tokens": max_tokens, "temperature": temperature}
        self.cost = Cost(price)
        self.retries, self.backoff_s, self.concurrency = retries, backoff_s, concurrency
        self.cache, self._lock = cache, threading.Lock()
        self._known = _read(cache)
        key = os.environ.get(KEY)
        self._client = httpx.Client(
            headers={"authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=concurrency),
            timeout=httpx.Timeout(timeout_s, pool=None),
        )

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def answers(self, asked: Sequence[Messages]) -> list[Answer]:
        """One answer for each conversation, in order.

        Raises: ChatError when a request fails for good; the answers until then are in the cache.
        """
        bodies = [self.settings | {"messages": messages} for messages in asked]
        keys = [sha256_json(body) for body in bodies]
        missing = {k: b for k, b in zip(keys, bodies, strict=True) if k not in self._known}
        self.cost.cached += len(keys) - len(missing)
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="chat")
        try:
            jobs = [threads.submit(self._ask, key, body) for key, body in missing.items()]
            for number, job in enumerate(as_completed(jobs), start=1):
                job.result()
                if number % 100 == 0 or number == len(jobs):
                    say(f"{number} of {len(jobs)}: {self.cost}")
        finally:
            threads.shutdown(cancel_futures=True)
        return [self._known[key] for key in keys]

    def _ask(self, key: str, body: dict[str, Any]) -> None:
        try:
            response = post(self._client, self.url, body, self.retries, self.backoff_s)
        except ConnectionError as error:
            raise ChatError(f"{self.url}: {error}") from None
        answer = self._answer(response)
        line = json.dumps({"key": key, **asdict(answer)})
        with self._lock:
            with self.cache.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self._known[key] = answer
            self.cost.paid += 1
            self.cost.prompt_tokens += answer.prompt_tokens
            self.cost.completion_tokens += answer.completion_tokens

    def _answer(self, response: httpx.Response) -> Answer:
        if not response.is_success:
            text = " ".join(response.text.split())[:200]
            raise ChatError(f"{self.url}: {response.status_code} {response.reason_phrase}: {text}")
        try:
            content = response.json()
            choice, usage = content["choices"][0], content.get("usage") or {}
            return Answer(
                str(choice["message"]["content"] or ""),
                str(choice.get("finish_reason")),
                int(usage.get("prompt_tokens") or 0),
                int(usage.get("completion_tokens") or 0),
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ChatError(
                f"{self.url}: an answer of another form ({type(error).__name__}: {error})"
            ) from None


def _read(path: Path) -> dict[str, Answer]:
    """The answers of a cache. A last line cut short by a kill is left out, and ended."""
    if not path.exists():
        return {}
    found, text = {}, path.read_text(encoding="utf-8")
    for number, line in _whole_lines(text):
        try:
            entry = json.loads(line)
            key = entry.pop("key")
            found[key] = Answer(**entry)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}: line {number} is no cached answer; move the file") from None
    if text and not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    return found


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    yield from enumerate(text[: text.rfind("\n") + 1].splitlines(), start=1)
