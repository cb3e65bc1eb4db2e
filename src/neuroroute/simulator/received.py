"""What the simulator was sent."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(eq=False, slots=True)
class Received:
    """One request, and how its exchange went."""

    method: str
    path: str
    """Without the query."""
    query: str
    headers: Mapping[str, str]
    """Looked up in any case: ``headers["authorization"]``."""
    body: bytes
    connection: int
    """The number of the connection it came on, from 1: two requests with the same number shared one."""
    at: float = field(default_factory=time.monotonic)
    """``time.monotonic()`` when the request was there as a whole."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when the answer was sent to its end, or its fault played out, or the client had left."""
    ended_at: float | None = None
    """``time.monotonic()`` of that moment."""
    closed_early: bool = False
    """The client closed the connection before the last byte of the answer was on its way."""
    status: int | None = None
    """The status that it was answered with; None: with none, or the exchange has not ended."""
    faults: tuple[str, ...] = ()
    """The fault words that were applied to its answer."""

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    async def wait_ended(self, timeout: float = 1.0) -> None:
        """Waits until the exchange has ended, on whatever event loop and in whatever thread the server runs.

        Args:
            timeout: Seconds after which a ``TimeoutError`` is raised.
        """
        async with asyncio.timeout(timeout):
            while not self.ended.is_set():  # noqa: ASYNC110 - it is set in another thread
                await asyncio.sleep(0.001)

    def end(self, *, closed_early: bool) -> None:
        """Notes the end of the exchange; the server calls it, once."""
        self.closed_early = closed_early
        self.ended_at = time.monotonic()
        self.ended.set()
