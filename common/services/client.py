"""What the clients of services share: batches, retries, and waiting while a service is away."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx

from common.console import say

# What may pass by itself: an overloaded or restarting server, and a lost connection.
PASSING = (408, 425, 429, 500, 502, 503, 504)
POLL_S = 0.5  # between two looks for a service that is away


class ServiceError(RuntimeError):
    """A service gave no answer; one line says which, what it said, and how often."""


class NoAddress(Exception):
    """The file that a service writes its address to is not there (yet), or is no such file."""


def post(
    client: httpx.Client,
    url: str | Callable[[], str],
    body: dict[str, Any] | Callable[[], dict[str, Any]],
    retries: int,
    backoff_s: float,
) -> httpx.Response:
    """The answer to a request, sent again while what went wrong may pass by itself.

    Args: url, body: asked for before each attempt where they are functions, which may raise
    NoAddress; retries: attempts after the first; backoff_s: the wait before the first of them,
    twice as long before each next, with up to half as much again at random, or what Retry-After
    asks.
    Raises: ConnectionError saying what went wrong the last time, and how often something did.
    """
    for attempt in range(1, retries + 2):
        try:
            where = url if isinstance(url, str) else url()
            answer = client.post(where, json=body() if callable(body) else body)
            if answer.status_code not in PASSING:
                return answer
            reason = f"{answer.status_code} {answer.reason_phrase}"
            asked = answer.headers.get("retry-after", "")
        except (httpx.HTTPError, NoAddress) as error:
            reason, asked = f"{type(error).__name__} {error}".strip(), ""
        if attempt <= retries:
            wait = backoff_s * 2 ** (attempt - 1) * random.uniform(1, 1.5)
            time.sleep(float(asked) if asked.isdecimal() else wait)
    raise ConnectionError(f"{reason}, {attempt} times in a row")


@dataclass(frozen=True)
class Connection:
    """How a recipe names a service: the arguments of `Service`. An address that is no URL is a file
    below the run's folder, whose path the program completes."""

    address: str
    model: str = ""
    batch: int = 32
    concurrency: int = 4
    timeout_s: float = 60.0
    retries: int = 4
    backoff_s: float = 0.5
    wait_s: float = 1800.0

    def arguments(self) -> dict[str, Any]:
        return asdict(self)


class Service(ABC):
    """Connections to one service. Safe to use from many threads and coroutines at once.

    What several callers wait for at the same time goes out in common requests, so that callers with
    one item each, as verl's reward loop has them, still make batches.

    `address`: a URL with its path, or a file as `python -m common serve --address` writes it, which
    is read again at each attempt: a service that was started anew may have another port.
    `batch`: items of one request. `concurrency`: requests in flight. `timeout_s`: of one attempt.
    `retries`, `backoff_s`: of one request, as of `post`. `wait_s`: how long a service that does not
    even answer `GET /health` may be away, before all that wait for it fail; they go on when it is
    back. Both is said once.

    Raises: ValueError for an address that is none, or a number that is too small.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        address: str,
        model: str = "",
        *,
        batch: int = 32,
        concurrency: int = 4,
        timeout_s: float = 60.0,
        retries: int = 4,
        backoff_s: float = 0.5,
        wait_s: float = 600.0,
    ) -> None:
        self.name = f"{self.kind} service {address}"
        if not address or (not address.startswith("/") and not _is_url(address)):
            raise ValueError(
                f"{self.kind} service {address!r}: an http:// or https:// address is wanted, or "
                "the absolute path of a file that holds one"
            )
        for name, value in (("batch", batch), ("concurrency", concurrency), ("retries", retries)):
            if value < (name != "retries"):
                raise ValueError(f"{self.name}: {name}={value} is too small")
        self.address, self.model = address, model
        self.batch, self.concurrency = batch, concurrency
        self.retries, self.backoff_s, self.wait_s = retries, backoff_s, wait_s
        limits = httpx.Limits(max_connections=concurrency + 1)  # one to ask for its health
        self._client = httpx.Client(limits=limits, timeout=httpx.Timeout(timeout_s, pool=None))
        self._changed = threading.Condition()  # of the three below
        self._waiting: deque[tuple[Any, Future[Any]]] = deque()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._away = threading.Lock()  # held by the one thread that looks for the service
        self._away_since: float | None = None
        self._returns = 0  # how often it came back

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. Requests in flight end first; what still waits is cancelled."""
        with self._changed:
            self._closed = True
            left, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        for _, future in left:
            future.cancel()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def url(self) -> str:
        """The address, from its file where it is one.

        Raises: NoAddress, or ServiceError for the file of a service of another kind.
        """
        if not self.address.startswith("/"):
            return self.address
        try:
            found = json.loads(Path(self.address).read_text(encoding="utf-8"))
            url, kind = str(found["url"]), found["kind"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NoAddress(f"{self.address}: {type(error).__name__}") from None
        if kind != self.kind:
            raise ServiceError(f"{self.name}: this is the address of a {kind} service")
        return url

    def healthy(self, wait_s: float = 0.0) -> bool:
        """Whether `GET /health` succeeds, now or within `wait_s` seconds of asking."""
        until = time.monotonic() + wait_s
        while True:
            try:
                parts = urlsplit(self.url())
                root = f"{parts.scheme}://{parts.netloc}"
                if self._client.get(f"{root}/health", timeout=5.0).is_success:
                    return True
            except (httpx.HTTPError, httpx.InvalidURL, NoAddress):
                pass
            if self._closed or time.monotonic() >= until:
                return False
            time.sleep(min(POLL_S, wait_s))

    def ask(self, items: Sequence[Any]) -> list[Any]:
        """One answer for each item, in order.

        Raises: ServiceError when a request fails for good, or an answer has another form.
        """
        return [future.result() for future in self._submit(items)]

    async def ask_async(self, items: Sequence[Any]) -> list[Any]:
        """`ask` for coroutines: no thread is held while they wait."""
        return list(await asyncio.gather(*map(asyncio.wrap_future, self._submit(items))))

    @abstractmethod
    def _request(self, items: list[Any], form: str) -> dict[str, Any]:
        """The body of the request for `items`; `form`: the last part of the address's path."""

    @abstractmethod
    def _read(self, content: Any, items: list[Any], form: str) -> list[Any]:
        """The answers in what the service sent; `form`: the last part of the path that was asked.
        Raises ServiceError, or the KeyError, TypeError, ValueError or IndexError that reading
        another form ends in."""

    def _submit(self, items: Sequence[Any]) -> list[Future[Any]]:
        futures: list[Future[Any]] = [Future() for _ in items]
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self.name}: the client is closed")
            self._waiting.extend(zip(items, futures, strict=True))
            while self._waiting and len(self._threads) < self.concurrency:
                # daemons: a process that ends does not wait for a service that is away
                thread = threading.Thread(target=self._work, name=self.name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()
        return futures

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                count = min(self.batch, len(self._waiting))
                taken = [self._waiting.popleft() for _ in range(count)]
            taken = [(i, future) for i, future in taken if future.set_running_or_notify_cancel()]
            if not taken:
                continue
            try:
                answers = self._answers([item for item, _ in taken])
            except Exception as error:
                for _, future in taken:
                    future.set_exception(error)
                continue
            for (_, future), answer in zip(taken, answers, strict=True):
                future.set_result(answer)

    def _answers(self, items: list[Any]) -> list[Any]:
        answer = self._post(lambda: self._request(items, form_of(self.url())))
        if not answer.is_success:
            text = " ".join(answer.text.split())[:200]
            raise ServiceError(f"{self.name}: {answer.status_code} {answer.reason_phrase}: {text}")
        try:
            answers = self._read(answer.json(), items, form_of(str(answer.request.url)))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ServiceError(
                f"{self.name}: an answer of another form ({type(error).__name__}: {error})"
            ) from None
        if len(answers) != len(items):
            raise ServiceError(f"{self.name}: {len(answers)} answers for {len(items)} items")
        return answers

    def _post(self, body: Callable[[], dict[str, Any]]) -> httpx.Response:
        there = False  # it answered, and failed all the same
        while True:
            known = self._returns
            try:
                return post(self._client, self.url, body, self.retries, self.backoff_s)
            except (ConnectionError, httpx.InvalidURL) as error:
                was_away = bool(self.wait_s) and self._wait_until_back(str(error), known)
                if not was_away and (there or not self.wait_s):
                    raise ServiceError(f"{self.name}: {error}") from None
                there = not was_away

    def _wait_until_back(self, reason: str, known: int) -> bool:
        """Return when the service answers: whether it was away since it had come back `known`
        times.

        Raises: ServiceError when it is away for longer than `wait_s`.
        """
        with self._away:  # one looks for it, the others wait for that one
            if self._returns > known:
                return True
            away = self._away_since is not None
            if not away and self.healthy():
                return False
            if not away:
                self._away_since = time.monotonic()
                say(f"{self.name}: away ({reason}); waiting up to {self.wait_s:g} s for it")
            assert self._away_since is not None
            left = self._away_since + self.wait_s - time.monotonic()
            if not self.healthy(max(0.0, left)):
                raise ServiceError(
                    f"{self.name}: {reason}; away for {self.wait_s:g} s; start it again "
                    "and run the same command: it goes on from the last checkpoint"
                )
            seconds = time.monotonic() - self._away_since
            self._away_since = None
            self._returns += 1
            say(f"{self.name}: back after {seconds:.0f} s; going on")
            return True


def _is_url(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def form_of(url: str) -> str:
    """The last part of a URL's path, which says what is spoken there."""
    return urlsplit(url).path.rstrip("/").rpartition("/")[2]
