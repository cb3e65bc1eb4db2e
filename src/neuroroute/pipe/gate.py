"""The slots of one model on one host, and the queue before them."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from neuroroute.errors import LMStudioError, ModelBusyError
from neuroroute.limits import milliseconds

DEFAULT_SLOTS = 4
MAX_WAITING = 1000
LOW_TURN = 8
"""While both wait, every eighth slot goes to one of low priority, so that those come to their turn, too."""

_ENOUGH_HOLDS = 4
"""Slots that were held and left before a wait is foretold from them."""
_LEARNING = 0.2
"""The weight of the last hold in the mean of all."""


class Gate:
    """Whoever waits is let in first come, first served; those of low priority after the others."""

    __slots__ = ("_holds", "_mean_hold", "_monotonic", "_since_low", "_taken", "_waiting", "_waiting_low", "slots")

    def __init__(self, slots: int, monotonic: Callable[[], float]) -> None:
        self.slots = slots
        self._monotonic = monotonic
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._waiting_low: deque[asyncio.Future[None]] = deque()
        self._since_low = 0
        self._holds = 0
        self._mean_hold = 0.0

    def __repr__(self) -> str:
        return f"<Gate {self._taken} of {self.slots} slots taken, {self.queue_length} waiting>"

    @property
    def taken(self) -> int:
        """Slots that are taken."""
        return self._taken

    @property
    def queue_length(self) -> int:
        """How many wait."""
        return len(self._waiting) + len(self._waiting_low)

    @property
    def is_idle(self) -> bool:
        """Nobody is inside, and nobody waits."""
        return not (self._taken or self._waiting or self._waiting_low)

    def expected_wait(self, *, low: bool = False) -> float:
        """Seconds until who comes now would have a slot, as far as the past tells; 0 while it does not tell enough."""
        if self._taken < self.slots or self._holds < _ENOUGH_HOLDS:
            return 0.0
        ahead = self.queue_length if low else len(self._waiting)
        return (ahead + 1) * self._mean_hold / self.slots

    async def enter(self, *, low: bool = False, within: float = math.inf) -> float:
        """Takes a slot, after a wait if need be.

        Args:
            low: of low priority.
            within: seconds that there are.

        Returns:
            When it was taken, which is to be told when it is left.

        Raises:
            ModelBusyError: too many wait already, or the wait would take longer than there is time.
            LMStudioError: the queue was sent away meanwhile.
        """
        if self._taken < self.slots:  # whoever waits would have taken it
            self._taken += 1
            return self._monotonic()
        self._refuse_in_vain(self.expected_wait(low=low), within)
        queue = self._waiting_low if low else self._waiting
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn in queue:  # whoever lets others in drops whom it finds cancelled
                queue.remove(turn)
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self._let_in()  # the slot was given, and its taker left at the same moment
            raise
        return self._monotonic()

    def leave(self, entered: float) -> None:
        """Gives the slot to whoever waits longest.

        Args:
            entered: what :meth:`enter` gave.
        """
        held = self._monotonic() - entered
        self._holds += 1
        self._mean_hold += (held - self._mean_hold) * max(_LEARNING, 1 / self._holds)
        self._let_in()

    def resize(self, slots: int) -> None:
        """More or fewer slots; those inside stay."""
        self.slots = slots
        while self._taken < self.slots and (turn := self._next()) is not None:
            self._taken += 1
            turn.set_result(None)

    def send_away(self, why: Callable[[], LMStudioError]) -> None:
        """Fails everybody who waits, each with an error of its own."""
        while (turn := self._next()) is not None:
            turn.set_exception(why())

    def _let_in(self) -> None:
        """Hands a slot that was left to the next, or keeps it free."""
        turn = self._next() if self._taken <= self.slots else None
        if turn is None:
            self._taken -= 1
        else:
            turn.set_result(None)

    def _next(self) -> asyncio.Future[None] | None:
        """Who is next, out of the queue."""
        while self._waiting or self._waiting_low:
            low = not self._waiting or (self._waiting_low and self._since_low >= LOW_TURN - 1)
            turn = (self._waiting_low if low else self._waiting).popleft()
            if turn.done():  # cancelled
                continue
            self._since_low = 0 if low or not self._waiting_low else self._since_low + 1
            return turn
        return None

    def _refuse_in_vain(self, expected: float, within: float) -> None:
        waiting, wait = self.queue_length, round(expected * 1000)
        details = {"queue_length": waiting, "expected_wait_ms": wait}
        if waiting >= MAX_WAITING:
            raise ModelBusyError(f"{waiting} requests wait for this model already", details=details)
        if expected > within:
            left = milliseconds(max(round(within * 1000), 0))
            why = (
                f"{waiting} requests wait for this model's {self.slots} slots, for about {wait} ms; {left} ms are left"
            )
            raise ModelBusyError(why, details=details)
