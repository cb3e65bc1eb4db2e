from __future__ import annotations

from statistics import median, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.bench.figures import percentile, spread

values = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50)


@given(values)
def test_a_spread_holds_its_values(found: list[float]) -> None:
    """Least and most are values, nothing lies beyond them, and the median lies between; the order does not matter."""
    told = spread(found)
    assert told is not None
    assert (told.low, told.high, told.count) == (min(found), max(found), len(found))
    assert told.low <= told.median <= told.high
    assert told.median == pytest.approx(median(found), rel=1e-9, abs=1e-9)
    assert spread(reversed(found)) == told


def test_nothing_has_no_spread() -> None:
    """Where nothing was measured there is no median to be told."""
    assert spread([]) is None


@given(values, st.floats(0, 1), st.floats(0, 1))
def test_a_percentile_grows(found: list[float], one: float, other: float) -> None:
    """A larger share has no lower percentile; 0 and 1 are the least and the most."""
    low, high = sorted((one, other))
    assert percentile(found, low) <= percentile(found, high)
    assert (percentile(found, 0), percentile(found, 1)) == (min(found), max(found))


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50))
def test_a_percentile_is_that_of_the_textbook(found: list[float]) -> None:
    """p50 and p99 are what the standard library calls so, where the least and the most are counted in."""
    cuts = quantiles(found, n=100, method="inclusive")
    assert percentile(found, 0.5) == pytest.approx(cuts[49], abs=1e-6)
    assert percentile(found, 0.99) == pytest.approx(cuts[98], abs=1e-6)
