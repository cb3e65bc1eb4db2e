"""Whether a cancelled call obeys, and when the server sees its connection close."""

from __future__ import annotations

import asyncio
import json
import random
from time import perf_counter
from typing import Any, Self
from urllib.parse import urlsplit

from workload import SMALL, Contender, check_answer

_PACED = "bench-c2000-b1-p1000"
"""A chunk each millisecond, for 2 s."""

_HANGS = "bench-hang"
_MOMENTS = (0.0, 0.1)
"""Seconds after the call began: before it connects, before the first chunk, or after."""

_PATIENCE = 1.0
"""Seconds after which a task counts as not cancelled and a connection as not closed."""


async def cancelled_at_random(client: Contender, base: str, times: int) -> dict[str, Any]:
    """Cancels so many streams at random moments, and one call in five that the server never answers.

    Returns:
        dict: ``swallowed``, how many went on as if nothing had been said; ``closed_ms``, when the server saw the
        close, each; ``works``, whether the client answers afterwards.
    """
    moments = random.Random(1)
    async with _Watch(base) as watch:
        before = await watch.open_connections()
        swallowed = 0
        closed: list[float] = []
        for number in range(times):
            call = client.chat(SMALL, _HANGS) if number % 5 == 4 else client.stream(SMALL, _PACED)
            task = asyncio.ensure_future(call)
            await asyncio.sleep(moments.uniform(*_MOMENTS))
            task.cancel()
            since = perf_counter()
            await asyncio.wait([task], timeout=_PATIENCE)
            swallowed += not task.cancelled()
            while await watch.open_connections() > before and perf_counter() - since < _PATIENCE:
                pass  # it waits for the server's answer
            closed.append((perf_counter() - since) * 1e3)
        check_answer(*await client.chat(SMALL, "bench-ns"))
    return {"times": times, "swallowed": swallowed, "closed_ms": closed}


class _Watch:
    """Asks the server how many connections are open, on a connection of its own."""

    def __init__(self, base: str) -> None:
        self._url = urlsplit(base)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def open_connections(self) -> int:
        self._writer.write(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        found: int = json.loads(await self._reader.readexactly(length))["open"]
        return found
