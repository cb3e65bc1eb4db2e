"""Work that requests may wait for together, and that goes on when they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from neuroroute.errors import AdapterClosedError

R = TypeVar("R")


class Background:
    """Of each kind of work one at a time in an event loop: who wants it while it is done waits for the same."""

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, asyncio.Task[Any]]]
        self._loops = WeakKeyDictionary()

    def begin(self, kind: Hashable, work: Callable[[], Awaitable[R]]) -> asyncio.Task[R]:
        """Begins it, unless it is under way."""
        tasks = self._loops.setdefault(asyncio.get_running_loop(), {})
        task: asyncio.Task[R] | None = tasks.get(kind)
        if task is None:

            async def done() -> R:
                return await work()

            task = tasks[kind] = asyncio.create_task(done())
            task.add_done_callback(lambda ended: _ended(tasks, kind, ended))
        return task

    def under_way(self, kind: Hashable) -> asyncio.Task[Any] | None:
        """It, if it is being done now."""
        return self._loops.get(asyncio.get_running_loop(), {}).get(kind)

    async def result(self, kind: Hashable, work: Callable[[], Awaitable[R]]) -> R:
        """What comes of it; whoever leaves does not take it from the others.

        Raises:
            AdapterClosedError: the adapter was closed meanwhile.
        """
        task = self.begin(kind, work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise AdapterClosedError("the adapter was closed meanwhile") from None

    async def aclose(self) -> None:
        """Ends all that is under way in this event loop."""
        tasks = list(self._loops.pop(asyncio.get_running_loop(), {}).values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _ended(tasks: dict[Hashable, asyncio.Task[Any]], kind: Hashable, task: asyncio.Task[Any]) -> None:
    tasks.pop(kind, None)
    if not task.cancelled():
        task.exception()  # whoever waited has seen it; if nobody did, it is of no interest
