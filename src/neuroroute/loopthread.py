"""An event loop in a thread of its own, for code without asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from neuroroute.errors import AdapterClosedError

R = TypeVar("R")


class _Life:
    """The loop and thread of one process."""

    __slots__ = ("lock", "loop", "thread")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None

    def running(self) -> asyncio.AbstractEventLoop:
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.loop.run_forever, name="neuroroute", daemon=True)
            self.thread.start()
        return self.loop


class LoopThread:
    """An event loop in a daemon thread, started on first use; after a fork, the child starts one of its own.

    A fork copies no thread but the one that forks, and a lock as it was, perhaps held for ever.
    """

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}

    def _life(self) -> _Life:
        process = os.getpid()
        return self._lives.get(process) or self._lives.setdefault(process, _Life())

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """The coroutine's result; what interrupts the caller (Ctrl-C) cancels it.

        Raises:
            RuntimeError: called in the loop's own thread, which would wait for itself for ever.
        """
        life = self._life()
        if threading.current_thread() is life.thread:
            coroutine.close()
            raise RuntimeError(
                "a blocking adapter cannot be used inside its own event loop; use a function that is not async"
            )
        with life.lock:  # so that no call begins while stop() ends them
            future = asyncio.run_coroutine_threadsafe(coroutine, life.running())
        try:
            return future.result()
        except CancelledError:
            raise AdapterClosedError("the adapter was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def call_soon(self, action: Callable[[], None]) -> None:
        """Runs the action in the loop's thread, if that is still there."""
        loop = self._life().loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it stopped this very moment
                loop.call_soon_threadsafe(action)

    def stop(self) -> None:
        """Ends the thread, and the calls of other threads with it; a later use starts another."""
        life = self._life()
        with life.lock:
            loop, thread = life.loop, life.thread
            life.loop = life.thread = None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _cancel_others() -> None:
    """Cancels all that the loop still does, and waits until it has ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()  # such as a turn that is half taken, and holds its lock
