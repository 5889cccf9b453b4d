"""A headless Chromium for the tests, driven over its DevTools protocol.

Nothing is downloaded: `program()` is None where this machine has none.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S = 60


def program() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """One tab. `errors`: what its console said that is an error or a warning; `requests`: the
    addresses that it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.sent = 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.loaded = False

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.sent += 1
        await self.socket.send_json({"id": self.sent, "method": method, "params": parameters})
        while True:
            message = await self.socket.receive_json()
            if message.get("id") == self.sent:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._event(message["method"], message["params"])

    def _event(self, method: str, values: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(values["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.errors.append(str(values["args"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.errors.append(values["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    async def open(self, address: str, width: int, height: int, scheme: str = "light") -> None:
        """Load a page into a window of this size; `scheme`: the system's, light or dark."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        await self.call("Emulation.setDeviceMetricsOverride", mobile=width < 600, **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])
        self.loaded = False
        await self.call("Page.navigate", url=address)
        while not self.loaded:
            message = await self.socket.receive_json()
            self._event(message["method"], message["params"])

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page, once its promise is kept."""
        done = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    async def screenshot(self, file: Path) -> None:
        """What the window shows, as a PNG."""
        done = await self.call("Page.captureScreenshot")
        file.write_bytes(base64.b64decode(done["data"]))


async def _port(file: Path) -> str:
    """The browser writes it as soon as it listens."""
    while not (file.is_file() and "\n" in file.read_text()):
        await asyncio.sleep(0.1)
    return file.read_text().split()[0]


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """A browser whose profile lies in `folder`, ended with the block."""
    found = program()
    assert found is not None
    process = await asyncio.create_subprocess_exec(
        found,
        "--headless",
        "--no-sandbox",  # root has none; the page is ours
        "--disable-gpu",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await asyncio.wait_for(_port(folder / "DevToolsActivePort"), START_S)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = await answer.json()
            tab = next(t for t in tabs if t["type"] == "page")
            address = tab["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.terminate()
        await process.wait()
