"""Time limits that cost next to nothing until they pass.

``asyncio.timeout`` sets and cancels a timer for each request: 12 µs, a fifteenth of a whole call. Requests of one
adapter mostly have the same limit, so they become due in the order they began: here they wait in line, and one timer
looks at the first of the line.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Limit:
    """One running limit; what ``asyncio.timeout`` is, for the task that made it.

    ::

        limit = limited(5.0)
        try:
            await something()
        except asyncio.CancelledError:
            if limit.passed():
                raise TimeoutError from None
            raise
        finally:
            limit.end()
    """

    __slots__ = ("_cancelled", "_cancelling", "_task", "due")

    def __init__(self, due: float, task: asyncio.Task[object]) -> None:
        self.due = due
        """When it passes, on the event loop's clock (seconds)."""
        self._task: asyncio.Task[object] | None = task
        self._cancelling = task.cancelling()
        self._cancelled = False

    @property
    def over(self) -> bool:
        """What was limited has ended."""
        return self._task is None

    def look(self) -> None:
        """It is due: the task is cancelled where it waits."""
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()

    def passed(self) -> bool:
        """Whether the cancellation that was caught is this limit's, and nobody else's; it is taken back then."""
        if not self._cancelled or self._task is None:
            return False
        self._cancelled = False
        return self._task.uncancel() <= self._cancelling

    def end(self) -> None:
        """What was limited has ended, however it did."""
        if self._cancelled:
            self.passed()
        self._task = None


class _Line:
    """The limits of one duration, first to last."""

    __slots__ = ("_loop", "_seconds", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._waiting: deque[Limit] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def join(self, task: asyncio.Task[object]) -> Limit:
        waiting = self._waiting
        while waiting and waiting[0].over:  # so that the line is as long as there are requests, no longer
            waiting.popleft()
        limit = Limit(self._loop.time() + self._seconds, task)
        waiting.append(limit)
        if self._timer is None:
            self._timer = self._loop.call_at(limit.due, self._look)
        return limit

    def _look(self) -> None:
        now = self._loop.time()
        waiting = self._waiting
        while waiting and (waiting[0].over or waiting[0].due <= now):
            waiting.popleft().look()
        self._timer = self._loop.call_at(waiting[0].due, self._look) if waiting else None


_MOST_LINES = 64
_lines: dict[asyncio.AbstractEventLoop, dict[float, _Line]] = {}


def limited(seconds: float) -> Limit:
    """Begins a limit for the running task.

    Args:
        seconds: until the task is cancelled, unless the limit was ended before.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - layers run in tasks
    loop = task.get_loop()
    lines = _lines.get(loop)
    if lines is None:
        for closed in [other for other in _lines if other.is_closed()]:
            del _lines[closed]
        lines = _lines[loop] = {}
    line = lines.get(seconds)
    if line is None:
        if len(lines) >= _MOST_LINES:  # limits that are computed anew each time; the lines live on with their timers
            lines.clear()
        line = lines[seconds] = _Line(loop, seconds)
    return line.join(task)
