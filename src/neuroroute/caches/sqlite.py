"""Answers kept in a SQLite file, which several processes may use at once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from neuroroute.caches.bounds import checked_bounds

if TYPE_CHECKING:
    from neuroroute.caches.database import CacheFile

R = TypeVar("R")


class SQLiteCache:
    """A ResponseCache in one file, which stays when the process ends.

    Answers lie in it as they are, prompts as hashes: it is readable by its owner only. SQLite works in a thread of the
    cache's own. A file of ours that is damaged is made anew; what is no cache is left as it is, and each use of it
    fails (which no request fails for). It must be on a local disk: SQLite's locks do not hold on network drives.

    Args:
        path: the file; made on first use, as is its folder.
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
        self._path = Path(path).absolute()
        self._bounds = checked_bounds(ttl_seconds, max_entries, max_bytes)
        self._clock = clock
        self._worker = ThreadPoolExecutor(1, "neuroroute-cache")
        self._file: CacheFile | None = None  # the worker's alone
        self._closed = False

    async def get(self, key: str) -> bytes | None:
        """The answer of this key; None: there is none, or it is too old."""
        return await self._run(lambda file: file.get(key, self._clock()))

    async def put(self, key: str, value: bytes) -> None:
        """Keeps an answer, in place of what was there."""
        await self._run(lambda file: file.put(key, value, self._clock()))

    async def delete(self, key: str) -> None:
        """Forgets one."""
        await self._run(lambda file: file.delete(key))

    async def clear(self) -> None:
        """Forgets all, and leaves no trace of it in the file."""
        await self._run(lambda file: file.clear())

    async def aclose(self) -> None:
        """Closes the file after what was begun is done; the cache cannot be used any more."""
        if not self._closed:
            self._closed = True
            done = asyncio.get_running_loop().run_in_executor(self._worker, self._close)
            self._worker.shutdown(wait=False)
            await asyncio.shield(done)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<SQLiteCache {self._path}; {self._bounds}>"

    async def _run(self, work: Callable[[CacheFile], R]) -> R:
        if self._closed:
            raise RuntimeError("the cache is closed")
        return await asyncio.get_running_loop().run_in_executor(self._worker, lambda: self._done(work))

    def _done(self, work: Callable[[CacheFile], R]) -> R:
        from neuroroute.caches.database import CacheFile, Damaged

        try:
            if self._file is None:
                self._file = CacheFile(self._path, self._bounds)
            return work(self._file)
        except Damaged:
            self._close()
            self._file = CacheFile(self._path, self._bounds, anew=True)
            return work(self._file)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
