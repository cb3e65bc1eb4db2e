"""The retry budget: what keeps many callers from burying a server that is down under their retries.

Each retry spends a token. A success earns a fifth of one, so that retries are at most a fifth of what succeeds; beside
that there is a small reserve that comes back with time, so that whoever calls seldom always has his retries.
Kin: the retry quota of the AWS SDKs, and gRPC's retry throttling
(https://github.com/grpc/proposal/blob/master/A6-client-retries.md).
"""

from __future__ import annotations

from collections.abc import Callable

EARNED_BY_SUCCESS = 0.2
REFILL_SECONDS = 60.0
"""How long an empty reserve takes to be full again."""
EARNED_AT_MOST = 100.0
"""A long good time does not pay for a flood of retries."""
_ROUNDING = 1e-9
"""Ten fifths of a token add up to a little less than two."""


class RetryBudget:
    """The tokens of one host."""

    __slots__ = ("_most", "_now", "_reserve", "_seen", "_tokens")

    def __init__(self, reserve: float, monotonic: Callable[[], float]) -> None:
        """Full.

        Args:
            reserve: retries that are free, once and then again each minute.
            monotonic: the time, in seconds that only go forward.
        """
        self._reserve = reserve
        self._most = max(reserve, EARNED_AT_MOST)
        self._now = monotonic
        self._tokens = float(reserve)
        self._seen = monotonic()

    def __repr__(self) -> str:
        self._refill()
        return f"<RetryBudget {self._tokens:.1f} retries left>"

    def spend(self) -> bool:
        """Takes a token for a retry; False where there is none."""
        self._refill()
        if self._tokens < 1 - _ROUNDING:
            return False
        self._tokens = max(self._tokens - 1, 0.0)
        return True

    def earn(self) -> None:
        """A call succeeded."""
        self._refill()
        self._tokens = min(self._tokens + EARNED_BY_SUCCESS, self._most)

    def _refill(self) -> None:
        now = self._now()
        if self._tokens < self._reserve:
            refilled = self._tokens + (now - self._seen) * self._reserve / REFILL_SECONDS
            self._tokens = min(refilled, self._reserve)
        self._seen = now
