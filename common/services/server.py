"""What the servers of small models share: one process, one model, one thread that computes.

A server speaks vLLM's words, so that its client does not change where vLLM takes its place. It
loads its model before it answers anything, writes its address to a file when it can be asked, and
ends with the process that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from common.console import say
from common.runs import write_json

PARENT_POLL_S = 0.2
GRACE_S = 5  # from the parent's end to ours, whatever is computed


class Bad(ValueError):
    """What was asked for cannot be computed; the message is for who asked."""


@dataclass(frozen=True)
class Options:
    """Of a server: `model`: a folder in the hub's layout, or a name of the hub; `host` and `port`
    (0: any free one) to listen at; `address`: the file to write the URL to; `threads` of torch;
    `device` and `dtype` of the weights; `batch`: sequences, and `tokens`: padded tokens, of one
    forward pass; `weights`: of a reward model's heads; `keep`: outlive the parent process."""

    model: str
    host: str = "127.0.0.1"
    port: int = 0
    address: Path | None = None
    threads: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    batch: int = 32
    tokens: int = 8192
    weights: tuple[float, ...] | None = None
    keep: bool = False

    def __post_init__(self) -> None:
        for name in ("threads", "batch", "tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}: 1 or more is wanted")


class Served(Protocol):
    """A loaded model. `kind`: of its service; `path`: that it answers at; `merges`: whether items
    of different requests may share a forward pass, which moves the last bits of their numbers."""

    kind: str
    path: str
    merges: bool

    def read(self, body: Any) -> list[Any]:
        """The items of a request. Raises Bad."""

    def compute(self, items: list[Any]) -> list[Any]:
        """One answer for each item, in order; called by one thread only."""

    def write(self, items: list[Any], answers: list[Any]) -> dict[str, Any]:
        """The content of the answer to a request."""

    def describe(self) -> dict[str, Any]:
        """What `GET /health` tells of the model."""


class Queue:
    """Requests that wait for the model: computed one batch at a time, in the order in which they
    came; what came meanwhile is computed together where the model merges."""

    def __init__(self, served: Served, batch: int) -> None:
        self._served, self._batch = served, batch
        self._requests: asyncio.Queue[tuple[list[Any], asyncio.Future[list[Any]]]] = asyncio.Queue()

    async def answer(self, items: list[Any]) -> list[Any]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._requests.put_nowait((items, future))
        return await future

    async def work(self) -> None:
        """Compute for ever."""
        while True:
            taken = [await self._requests.get()]
            while (
                self._served.merges
                and not self._requests.empty()
                and sum(len(items) for items, _ in taken) < self._batch
            ):
                taken.append(self._requests.get_nowait())
            items = [item for found, _ in taken for item in found]
            try:
                answers = await asyncio.to_thread(self._served.compute, items)
            except Exception as error:  # it belongs to those who asked; the server serves on
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for found, future in taken:
                own, answers = answers[: len(found)], answers[len(found) :]
                if not future.done():  # done already: who asked has gone
                    future.set_result(own)


def batches(lengths: Sequence[int], batch: int, tokens: int) -> Iterable[list[int]]:
    """Positions of sequences for one forward pass each, the shortest first: at most `batch`
    sequences, and at most `tokens` tokens with the padding, but always one sequence."""
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if group and (len(group) == batch or (len(group) + 1) * lengths[i] > tokens):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def make_app(served: Served, options: Options, started: Callable[[], None] = lambda: None) -> Any:
    """The FastAPI application: `GET /health` and `POST` to the model's path."""
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

    queue = Queue(served, options.batch)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        work = asyncio.create_task(queue.work())
        started()
        yield
        work.cancel()

    async def health() -> JSONResponse:
        return JSONResponse({"kind": served.kind, "model": options.model, **served.describe()})

    async def answer(request: Any) -> JSONResponse:
        try:
            items = served.read(json.loads(await request.body()))
            answers = await queue.answer(items) if items else []
        except (Bad, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            return JSONResponse({"error": {"message": str(error)}}, status_code=400)
        return JSONResponse({"model": options.model} | served.write(items, answers))

    # FastAPI reads the annotation, which is a local name here
    answer.__annotations__["request"] = Request
    app = FastAPI(lifespan=lifespan)
    app.add_api_route("/health", health, response_model=None)
    app.add_api_route(served.path, answer, methods=["POST"], response_model=None)
    return app


def serve(load: Callable[[Options], Served], options: Options) -> None:
    """Load the model, serve until stopped (Ctrl-C, SIGTERM, or the parent's end).

    Raises: ValueError when the port is taken, or the model cannot be loaded.
    """
    import torch
    import uvicorn

    if not options.keep:
        _end_with_parent()
    torch.set_num_threads(options.threads)
    listener = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.host, options.port))
        except OSError as error:
            where = f"--host {options.host} --port {options.port}"
            raise ValueError(f"{where}: {error.strerror}; choose others") from None
        try:
            served = load(options)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"{options.model}: cannot be served: {reason}") from None
        listener.listen(1024)
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}{served.path}"

        def started() -> None:
            say(f"{served.kind} service: {options.model} at {url}")
            if options.address is not None:
                told = {"kind": served.kind, "url": url, "pid": os.getpid()}
                options.address.parent.mkdir(parents=True, exist_ok=True)
                write_json(options.address, told)

        config = uvicorn.Config(
            make_app(served, options, started),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    say(f"{served.kind} service: stopped")


def _end_with_parent() -> None:
    """Stop this process when the one that started it is gone, also by kill -9."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
