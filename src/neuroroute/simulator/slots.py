"""The slots of each loaded instance: so many predictions at once, the others wait in order, without being told."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from neuroroute.simulator.answers import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from neuroroute.simulator.answers import Fail
    from neuroroute.simulator.wordings import ErrorCase


@dataclass(eq=False, slots=True)
class _Prediction:
    """One request that has a slot, or waits for one."""

    task: asyncio.Task[Any]
    turn: asyncio.Future[ErrorCase | None]
    """Done with None: it has its slot; done with a case: it never gets one."""
    ended_by: ErrorCase | None = None


@dataclass(slots=True)
class _Desk:
    """What one instance has to do."""

    parallel: int = 1
    running: list[_Prediction] = field(default_factory=list["_Prediction"])
    waiting: deque[_Prediction] = field(default_factory=deque["_Prediction"])

    def next(self) -> None:
        while self.waiting and len(self.running) < self.parallel:
            first = self.waiting.popleft()
            if not first.turn.done():
                first.turn.set_result(None)
                self.running.append(first)

    def leave(self, prediction: _Prediction) -> None:
        for place in (self.running, self.waiting):
            if prediction in place:
                place.remove(prediction)
        self.next()


class Slots:
    """Who is being answered, and who waits, on each instance."""

    def __init__(self) -> None:
        self._desks: defaultdict[str, _Desk] = defaultdict(_Desk)

    def running(self, key: str) -> int:
        """How many requests are being answered by a model's instances, or by one of them."""
        return sum(len(desk.running) for desk in self._of(key))

    def queued(self, key: str) -> int:
        """How many requests wait for a model's instances, or for one of them."""
        return sum(len(desk.waiting) for desk in self._of(key))

    def _of(self, key: str) -> list[_Desk]:
        return [desk for name, desk in list(self._desks.items()) if name == key or name.rpartition(":")[0] == key]

    @asynccontextmanager
    async def hold(
        self, instance: str, parallel: int, *, patience: float | None, impatient: Fail
    ) -> AsyncGenerator[None]:
        """Waits for a slot of the instance and holds it for the length of the block.

        Args:
            instance: Its id.
            parallel: How many slots it has.
            patience: Seconds after which waiting is given up; None: never.
            impatient: What is answered then.

        Raises:
            Refused: There is no slot any more, or the prediction in the block was ended from outside.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        desk = self._desks[instance]
        desk.parallel = parallel
        prediction = _Prediction(task, asyncio.get_running_loop().create_future())
        desk.waiting.append(prediction)
        desk.next()
        try:
            await _turn(prediction, patience, impatient)
            yield
        except asyncio.CancelledError:
            # as asyncio.timeout does it: our own cancelling is taken back, anybody else's goes on
            if prediction.ended_by is not None and task.uncancel() <= 0:
                raise Refused(prediction.ended_by) from None
            raise
        finally:
            desk.leave(prediction)

    def end(self, instance: str, *, running: ErrorCase | None, queued: ErrorCase) -> None:
        """Ends what an instance does and what waits for it.

        Args:
            instance: Its id.
            running: What ends the running predictions; None: they go on.
            queued: What ends those that wait.
        """
        desk = self._desks[instance]
        waiting = list(desk.waiting)
        desk.waiting.clear()
        for prediction in waiting:
            if not prediction.turn.done():
                prediction.turn.set_result(queued)
        for prediction in desk.running:
            if running is not None and prediction.ended_by is None:
                prediction.ended_by = running
                prediction.task.cancel()


async def _turn(prediction: _Prediction, patience: float | None, impatient: Fail) -> None:
    try:
        async with asyncio.timeout(patience):
            refused = await prediction.turn
    except TimeoutError:
        raise Refused(impatient) from None
    if refused is not None:
        raise Refused(refused)
