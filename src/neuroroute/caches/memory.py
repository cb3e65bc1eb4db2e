"""Answers kept in this process's memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from neuroroute.caches.bounds import checked_bounds


class MemoryCache:
    """A ResponseCache in memory: gone with the process, and seen by it alone.

    What was not used for longest goes first when there is too much. It may be used from several event loops and
    threads.

    Args:
        ttl_seconds: how long an answer is given again; None: as long as it is there.
        max_entries: answers that are kept at most.
        max_bytes: bytes that they may have together; a single answer that has more is not kept.
        clock: gives seconds that only go forward.
    """

    def __init__(
        self,
        *,
        ttl_seconds: float | None = 86_400,
        max_entries: int = 1000,
        max_bytes: int = 64 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds = checked_bounds(ttl_seconds, max_entries, max_bytes)
        self._clock = clock
        self._lock = Lock()
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        """The answer of this key; None: there is none, or it is too old."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            kept, value = found
            ttl = self._bounds.ttl_seconds
            if ttl is not None and self._clock() - kept >= ttl:
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return value

    async def put(self, key: str, value: bytes) -> None:
        """Keeps an answer, in place of what was there."""
        with self._lock:
            self._drop(key)
            if len(value) > self._bounds.max_bytes:
                return
            self._entries[key] = (self._clock(), value)
            self._bytes += len(value)
            while len(self._entries) > self._bounds.max_entries or self._bytes > self._bounds.max_bytes:
                self._drop(next(iter(self._entries)))

    async def delete(self, key: str) -> None:
        """Forgets one."""
        with self._lock:
            self._drop(key)

    async def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def __len__(self) -> int:
        """Answers that are kept, those that are too old included."""
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<MemoryCache {len(self._entries)} answers, {self._bytes} bytes; {self._bounds}>"

    def _drop(self, key: str) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self._bytes -= len(found[1])
