"""Files of ours on this disk: readable by their owner only, and used from a thread of their own."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

from neuroroute.errors import ModelInvalidRequestError


def local_path(path: Any, what: str) -> Path:
    """The whole path of a file of ours, ``~`` for the home folder included.

    Raises:
        ModelInvalidRequestError: it is none.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ModelInvalidRequestError(f"{what} takes the path of a file, not {path!r:.60}")
    if os.fspath(path) == ":memory:":
        raise ModelInvalidRequestError(f"{what} is a file; {what.replace('SQLite', 'Memory')} is in memory")
    return Path(cast("str", path)).expanduser().absolute()


class Closes(Protocol):
    """What is open and can be closed."""

    def close(self) -> None:
        """Closes it."""
        ...


F = TypeVar("F", bound=Closes)
R = TypeVar("R")


class FileThread(Generic[F]):
    """Works on a file in a thread of its own, so that no event loop waits for a disk; several may use it.

    The file is opened on first use: a process that forks does so before.
    """

    def __init__(self, name: str, opened: Callable[[], F]) -> None:
        """Opens nothing yet.

        Args:
            name: what it is, such as ``store``.
            opened: opens the file, in the thread.
        """
        self._name = name
        self._opened = opened
        self._worker = ThreadPoolExecutor(1, f"neuroroute-{name}")
        self._file: F | None = None  # the worker's alone
        self._closed = False

    async def run(self, work: Callable[[F], R]) -> R:
        """What this makes of the file.

        A caller that is cancelled leaves at once; what has begun is done to its end.

        Raises:
            RuntimeError: it is closed.
        """
        if self._closed:
            raise RuntimeError(f"the {self._name} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._done, work)

    async def aclose(self) -> None:
        """Closes the file after what was begun is done."""
        if not self._closed:
            self._closed = True
            done = asyncio.get_running_loop().run_in_executor(self._worker, self._close)
            self._worker.shutdown(wait=False)
            await asyncio.shield(done)

    def _done(self, work: Callable[[F], R]) -> R:
        if self._file is None:
            self._file = self._opened()
        return work(self._file)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def make_private(path: Path) -> None:
    """Makes the file readable by its owner only; one that was there, if it is ours and the system has such modes."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if sys.platform == "win32":
            return
        # By name: to open and close a database takes away this process's locks on it (POSIX), other users' too.
        for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            with suppress(FileNotFoundError):
                status = file.stat()
                if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077 and status.st_uid == os.geteuid():
                    file.chmod(0o600)
