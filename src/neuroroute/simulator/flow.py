"""One direction of a connection under faults: what to do next with which bytes. PURE: neither I/O nor a clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from neuroroute.simulator.toxics import (
    Bandwidth,
    Blackhole,
    Cut,
    Freeze,
    Latency,
    Reset,
    Slicer,
    SlowClose,
    Toxic,
    concerns,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from neuroroute.simulator.toxics import Direction


@dataclass(frozen=True, slots=True)
class Write:
    """Pass on so many of the waiting bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due: look again after so many seconds, or when something happens."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing passes until the faults change."""


@dataclass(frozen=True, slots=True)
class End:
    """``pass``: the sender's end is passed on. ``cut``, ``reset``: the whole connection ends."""

    how: Literal["pass", "cut", "reset"]


Action: TypeAlias = Write | Wait | Hold | End


@dataclass(slots=True)
class _Packet:
    data: memoryview
    at: float
    swing: float
    """Where in the range of a jitter it lies, -1 to 1."""

    def due(self, toxics: Sequence[Toxic]) -> float:
        late = sum(toxic.ms + self.swing * toxic.jitter_ms for toxic in toxics if isinstance(toxic, Latency))
        return self.at + max(0.0, late) / 1000


class Flow:
    """The bytes of one direction that came and have not passed yet, and the rules for their passing.

    Args:
        direction: Which one.
        random: Where jitter comes from.
        struck: Called with each toxic that makes a difference.
    """

    def __init__(self, direction: Direction, random: Random, struck: Callable[[Toxic], object]) -> None:
        self.passed = 0
        """How many bytes have passed."""
        self.waiting = 0
        """How many came and have not passed."""
        self._direction: Direction = direction
        self._random = random
        self._struck = struck
        self._packets: deque[_Packet] = deque()
        self._end: _Packet | None = None
        self._ended_by: Literal["pass", "reset"] = "pass"
        self._not_before = 0.0

    def receive(self, data: bytes, now: float) -> None:
        """Bytes came."""
        self._packets.append(self._packet(data, now))
        self.waiting += len(data)

    def end(self, now: float, *, reset: bool = False) -> None:
        """The sender has ended, or reset the connection."""
        self._end = self._packet(b"", now)
        self._ended_by = "reset" if reset else "pass"

    @property
    def ended(self) -> bool:
        """Whether the sender has ended."""
        return self._end is not None

    def next(self, toxics: Sequence[Toxic], now: float) -> Action:
        """What to do now.

        Args:
            toxics: What is to happen to the connection.
            now: Seconds, on the clock of :meth:`receive`.
        """
        ours = [toxic for toxic in toxics if concerns(toxic, self._direction)]
        if stopped := self._stopped(ours):
            return stopped
        if now < self._not_before:
            return Wait(self._not_before - now)
        first = self._packets[0] if self._packets else self._end
        if first is None:
            return Wait()
        due = first.due(ours)
        late: list[Toxic] = [toxic for toxic in ours if isinstance(toxic, Latency)]
        if first is self._end:
            closing = [toxic for toxic in ours if isinstance(toxic, SlowClose)]
            late += closing
            due += sum(toxic.ms for toxic in closing) / 1000
        if now < due:
            self._tell(late)
            return Wait(due - now)
        return End(self._ended_by) if first is self._end else Write(self._size(ours, len(first.data)))

    def take(self, size: int, toxics: Sequence[Toxic], now: float) -> bytes:
        """Takes the bytes of a :class:`Write`; they have passed.

        Args:
            size: As it said.
            toxics: As they were given to :meth:`next`.
            now: Likewise.
        """
        first = self._packets[0]
        taken, first.data = bytes(first.data[:size]), first.data[size:]
        if not first.data:
            self._packets.popleft()
        self.passed += size
        self.waiting -= size
        pause = 0.0
        for toxic in toxics:
            if not concerns(toxic, self._direction):
                continue
            if isinstance(toxic, Bandwidth):
                self._tell([toxic])
                pause += size / toxic.bytes_per_second
            elif isinstance(toxic, Slicer):
                self._tell([toxic])
                pause += toxic.delay_ms / 1000
        self._not_before = now + pause
        return taken

    def _stopped(self, ours: Sequence[Toxic]) -> Action | None:
        """Whether a toxic lets nothing more pass."""
        for toxic in ours:
            match toxic:
                case Blackhole():
                    pass
                case Freeze() if self.passed >= toxic.after_bytes:
                    pass
                case Cut() | Reset() if self.passed >= toxic.after_bytes and (toxic.after_bytes or self._packets):
                    self._tell([toxic])
                    return End("cut" if isinstance(toxic, Cut) else "reset")
                case _:
                    continue
            if self._packets or self._end:
                self._tell([toxic])
            return Hold()
        return None

    def _size(self, ours: Sequence[Toxic], waiting: int) -> int:
        """How many of the waiting bytes pass in one piece."""
        sizes = [waiting]
        for toxic in ours:
            match toxic:
                case Cut() | Reset() | Freeze():
                    sizes.append(toxic.after_bytes - self.passed)
                case Slicer():
                    sizes.append(toxic.size)
                case Bandwidth():
                    sizes.append(max(1, toxic.bytes_per_second // 20))
                case _:
                    pass
        return min(sizes)

    def _tell(self, toxics: Sequence[Toxic]) -> None:
        for toxic in toxics:
            self._struck(toxic)

    def _packet(self, data: bytes, now: float) -> _Packet:
        return _Packet(memoryview(data), now, self._random.uniform(-1, 1))
