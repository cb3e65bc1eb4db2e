"""A client that knows nothing but HTTP, and the server in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest_asyncio

from neuroroute.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Client:
    """What the tests of the simulator say to a server, and how they read what it says."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    def chat(self, server: Any, text: str = "hi there", *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
        body = {"model": "llama3", "messages": [{"role": "user", "content": text}], **fields}
        return self.session.post(f"{server.url}/chat/completions", json=body, headers=headers)

    async def whole(self, server: Any, text: str = "hi there", **fields: Any) -> tuple[int, Any]:
        async with self.chat(server, text, **fields) as response:
            return response.status, await response.json(content_type=None)

    async def stream(self, server: Any, text: str = "hi there", **fields: Any) -> bytes:
        async with self.chat(server, text, stream=True, **fields) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            return bytes(await response.read())

    async def get(self, server: Any, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.get(f"{server.origin}{path}", **options) as response:
            return response.status, await response.json()

    async def post(self, server: Any, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        async with self.session.post(f"{server.origin}{path}", json=body) as response:
            return response.status, await response.json(content_type=None)

    def begin(self, server: Any, **fields: Any) -> asyncio.Task[tuple[int, Any]]:
        """A request in a task of its own, whole."""
        return asyncio.create_task(self.whole(server, **fields))

    @staticmethod
    async def until(holds: Callable[[], bool]) -> None:
        """Waits until something holds; a second at most."""
        async with asyncio.timeout(1):
            while not holds():
                await asyncio.sleep(0.001)

    @staticmethod
    def events(body: bytes) -> list[Any]:
        """The events of a stream, in order: decoded data, and ``[DONE]`` as it is."""
        data = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]
        return [item if item == "[DONE]" else json.loads(item) for item in data]

    @classmethod
    def deltas(cls, body: bytes) -> list[Any]:
        """The deltas of a stream, the empty one of its end left out."""
        chunks = [event for event in cls.events(body) if event != "[DONE]" and event.get("choices")]
        return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"][0]["delta"]]


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield Client(session)
