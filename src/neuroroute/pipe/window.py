"""Counts of the last calls: a window of time that slides, in a bounded number of slices."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_SLICES = 12
"""A call is forgotten when its slice is: up to a twelfth of the window early."""


class Counts(NamedTuple):
    """What the window holds."""

    calls: int
    failures: int
    slow: int


class SlidingWindow:
    """Counts calls of the last so many seconds."""

    __slots__ = ("_slices", "_totals", "_width")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _SLICES
        self._slices: deque[tuple[float, list[int]]] = deque()
        self._totals = [0, 0, 0]

    def add(self, now: float, *, failed: bool = False, slow: bool = False) -> None:
        """Counts a call."""
        self._forget(now)
        number = now // self._width
        if not self._slices or self._slices[-1][0] != number:
            self._slices.append((number, [0, 0, 0]))
        for counts in (self._slices[-1][1], self._totals):
            counts[0] += 1
            counts[1] += failed
            counts[2] += slow

    def counts(self, now: float) -> Counts:
        """What it holds now."""
        self._forget(now)
        return Counts(*self._totals)

    def clear(self) -> None:
        """Forgets everything."""
        self._slices.clear()
        self._totals = [0, 0, 0]

    def _forget(self, now: float) -> None:
        oldest = now // self._width - _SLICES
        while self._slices and self._slices[0][0] <= oldest:
            for kind, count in enumerate(self._slices.popleft()[1]):
                self._totals[kind] -= count
