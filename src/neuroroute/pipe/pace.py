"""How long answers take of late, and how a place that fails is left alone for a while."""

from __future__ import annotations

import math

HALF_LIFE_SECONDS = 30.0
"""In which half of what was learnt is forgotten, so that a host that was slow is tried again some day."""

_LEARNING = 0.2
"""The weight of the last answer in the mean of all."""

FIRST_TROUBLE_SECONDS = 1.0
LONGEST_TROUBLE_SECONDS = 30.0
LONGEST_ASKED_SECONDS = 300.0
"""However much later ``Retry-After`` says."""


class Pace:
    """The mean of how long answers took; answers that failed tell nothing, however fast."""

    __slots__ = ("_answers", "_learnt_at", "_mean")

    def __init__(self) -> None:
        self._answers = 0
        self._mean = 0.0
        self._learnt_at = 0.0

    def learn(self, seconds: float, now: float) -> None:
        """An answer took so long."""
        self._answers += 1
        self._mean += (seconds - self._mean) * max(_LEARNING, 1 / self._answers)
        self._learnt_at = now

    def seconds(self, now: float) -> float | None:
        """How long an answer takes, the less the longer nothing was learnt; None: nothing is known."""
        if not self._answers:
            return None
        return self._mean * math.exp2((self._learnt_at - now) / HALF_LIFE_SECONDS)


class Trouble:
    """Failures in a row: after each, others are preferred for a while, which doubles."""

    __slots__ = ("_failures", "_until")

    def __init__(self) -> None:
        self._failures = 0
        self._until = -math.inf

    def fails(self, now: float, at_least: float = 0.0) -> None:
        """It failed, and asked to be left alone for at least so many seconds.

        What fails while others are preferred already is the same event.
        """
        if self.lasts(now) and not at_least:
            return
        wait = min(FIRST_TROUBLE_SECONDS * 2.0 ** min(self._failures, 16), LONGEST_TROUBLE_SECONDS)
        self._failures += 1
        self._until = max(self._until, now + max(wait, min(at_least, LONGEST_ASKED_SECONDS)))

    def ends(self) -> None:
        """It answered."""
        if self._failures:
            self._failures = 0
            self._until = -math.inf

    def lasts(self, now: float) -> bool:
        """Whether others are preferred."""
        return now < self._until
