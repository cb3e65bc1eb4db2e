"""Time limits that cost next to nothing until they pass.

``asyncio.timeout`` sets and cancels a timer for each request: 12 µs, a fifteenth of a whole call. Requests of one
adapter mostly have the same limit, so they become due in the order they began: here they wait in line, and one timer
looks at the first of the line.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol


class _Waiting(Protocol):
    """What waits in line until it is due."""

    place: float
    """When it is looked at, on the event loop's clock (seconds)."""

    @property
    def over(self) -> bool:
        """It need not be looked at any more."""
        ...

    def look(self) -> None:
        """It is due."""


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

    __slots__ = ("_cancelled", "_cancelling", "_task", "due", "place")

    def __init__(self, due: float, task: asyncio.Task[object]) -> None:
        self.place = due
        self.due = due
        """When it passes, on the event loop's clock (seconds)."""
        self._task: asyncio.Task[object] | None = task
        self._cancelling = task.cancelling()
        self._cancelled = False

    @property
    def over(self) -> bool:
        """What was limited has ended."""
        return self._task is None

    @property
    def fired(self) -> bool:
        """It has passed, and the cancellation that it caused is under way."""
        return self._cancelled

    def look(self) -> None:
        """It is due, unless it was moved meanwhile: the task is cancelled where it waits."""
        if self._task is None or self._cancelled:
            return
        loop = self._task.get_loop()
        if loop.time() < self.due:
            loop.call_at(self.due, self.look)
            return
        self._cancelled = True
        self._task.cancel()

    def fire(self) -> None:
        """It passes now; may be called from another thread."""
        if (task := self._task) is not None and not task.get_loop().is_closed():
            self.due = -math.inf
            task.get_loop().call_soon_threadsafe(self.look)

    def postpone(self, seconds: float) -> None:
        """Passes so much later; too late where it has passed."""
        self.due += seconds

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


class Alarm:
    """Has something done after a while, unless it was ended before."""

    __slots__ = ("_action", "place")

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.place = due
        self._action: Callable[[], None] | None = action

    @property
    def over(self) -> bool:
        """It rang, or was ended."""
        return self._action is None

    def look(self) -> None:
        """It is due."""
        action, self._action = self._action, None
        if action is not None:
            action()

    def end(self) -> None:
        """It need not ring any more."""
        self._action = None


class _Line:
    """Those of one duration, first to last."""

    __slots__ = ("_loop", "_seconds", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def due(self) -> float:
        """When the next one to join is."""
        return self._loop.time() + self._seconds

    def join(self, one: _Waiting) -> None:
        waiting = self._waiting
        while waiting and waiting[0].over:  # so that the line is as long as there are requests, no longer
            waiting.popleft()
        waiting.append(one)
        if self._timer is None:
            self._timer = self._loop.call_at(one.place, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        waiting = self._waiting
        try:
            while waiting and (waiting[0].over or waiting[0].place <= now):
                waiting.popleft().look()
        finally:  # whatever one of them does, the others have their time
            self._timer = self._loop.call_at(waiting[0].place, self._look) if waiting else None


_MOST_LINES = 64
_lines: dict[asyncio.AbstractEventLoop, dict[float, _Line]] = {}


def limited(seconds: float) -> Limit:
    """Begins a limit for the running task.

    Args:
        seconds: until the task is cancelled, unless the limit was ended before.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - layers run in tasks
    line = _line(task.get_loop(), seconds)
    limit = Limit(line.due(), task)
    line.join(limit)
    return limit


def endless() -> Limit:
    """A limit for the running task that passes only when it is fired."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - layers run in tasks
    return Limit(math.inf, task)


def alarmed(seconds: float, action: Callable[[], None]) -> Alarm:
    """Has the action done on the running event loop.

    Args:
        seconds: until then.
        action: what to do, unless the alarm was ended before.
    """
    line = _line(asyncio.get_running_loop(), seconds)
    alarm = Alarm(line.due(), action)
    line.join(alarm)
    return alarm


def _line(loop: asyncio.AbstractEventLoop, seconds: float) -> _Line:
    lines = _lines.get(loop)
    if lines is None:
        for closed in [other for other in list(_lines) if other.is_closed()]:  # other threads have loops, too
            _lines.pop(closed, None)
        lines = _lines[loop] = {}
    line = lines.get(seconds)
    if line is None:
        if len(lines) >= _MOST_LINES:  # limits that are computed anew each time; the lines live on with their timers
            lines.clear()
        line = lines[seconds] = _Line(loop, seconds)
    return line


def milliseconds(value: float) -> str:
    """A number of milliseconds as people write it: 1800000, not 1.8e+06."""
    return f"{value:.15g}"
