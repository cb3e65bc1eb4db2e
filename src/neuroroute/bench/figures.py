"""What many measured values are told as: medians with their spread, percentiles. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

import msgspec


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Some values of one kind."""

    median: float
    low: float
    """The least of them."""
    high: float
    """The most."""
    count: int
    """How many there were."""


def spread(values: Iterable[float]) -> Spread | None:
    """Median, least and most; None where there are no values."""
    found = sorted(values)
    if not found:
        return None
    # The mean of two neighbours may be rounded out of their range.
    middle = min(max(median(found), found[0]), found[-1])
    return Spread(median=middle, low=found[0], high=found[-1], count=len(found))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which so many lie; between two, a straight line is drawn.

    Args:
        values: at least one, in any order.
        share: 0 to 1; 0.5 gives the median.
    """
    found = sorted(values)
    place = share * (len(found) - 1)
    below = math.floor(place)
    low, high = found[below], found[min(below + 1, len(found) - 1)]
    return min(max(low + (high - low) * (place - below), low), high)
