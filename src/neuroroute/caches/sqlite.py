"""Answers kept in a SQLite file, which several processes may use at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from neuroroute.caches.bounds import checked_bounds
from neuroroute.closing import AsyncClosing
from neuroroute.localfile import FileThread, local_path

if TYPE_CHECKING:
    from neuroroute.caches.database import CacheFile


class SQLiteCache(AsyncClosing):
    """A ResponseCache in one file, which stays when the process ends.

    Answers lie in it as they are, prompts as hashes: it is readable by its owner only. SQLite works in a thread of the
    cache's own. A file of ours that is damaged is made anew; what is no cache is left as it is, and each use of it
    fails (which no request fails for). It must be on a local disk: SQLite's locks do not hold on network drives.

    Args:
        path: the file; made on first use, as is its folder. ``~`` is your home folder.
        ttl_seconds: how long an answer is given again; None: as long as it is there.
        max_entries: answers that are kept at most; what was not used for longest goes first.
        max_bytes: bytes that they may have together; a single answer that has more is not kept.
        clock: gives POSIX seconds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        ttl_seconds: float | None = 86_400,
        max_entries: int = 10_000,
        max_bytes: int = 256 << 20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = local_path(path, "SQLiteCache")
        self._bounds = checked_bounds(ttl_seconds, max_entries, max_bytes)
        self._clock = clock
        self._file = FileThread("cache", self._opened)

    async def get(self, key: str) -> bytes | None:
        """The answer of this key; None: there is none, or it is too old."""
        return await self._file.run(lambda file: file.get(key, self._clock()))

    async def put(self, key: str, value: bytes) -> None:
        """Keeps an answer, in place of what was there."""
        await self._file.run(lambda file: file.put(key, value, self._clock()))

    async def delete(self, key: str) -> None:
        """Forgets one."""
        await self._file.run(lambda file: file.delete(key))

    async def clear(self) -> None:
        """Forgets all, and leaves no trace of it in the file."""
        await self._file.run(lambda file: file.clear())

    async def aclose(self) -> None:
        """Closes the file after what was begun is done; the cache cannot be used any more."""
        await self._file.aclose()

    def __repr__(self) -> str:
        return f"<SQLiteCache {self._path}; {self._bounds}>"

    def _opened(self) -> CacheFile:
        from neuroroute.caches.database import CacheFile

        return CacheFile(self._path, self._bounds)
