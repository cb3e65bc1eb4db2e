from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from neuroroute.pipe.window import SlidingWindow

WIDTH = 5.0
"""Seconds of a slice of a window of a minute."""


def test_it_counts_what_failed_and_what_was_slow() -> None:
    """Calls, failures and slow calls are counted each for itself."""
    window = SlidingWindow(60)
    assert window.counts(0) == (0, 0, 0)
    window.add(1)
    window.add(2, failed=True)
    window.add(6, slow=True)
    window.add(7, slow=True)
    assert window.counts(7) == (4, 1, 2)
    assert window.counts(7)._asdict() == {"calls": 4, "failures": 1, "slow": 2}


def test_a_slice_is_forgotten_as_a_whole() -> None:
    """A call is forgotten when its slice is: never late, and at most a twelfth of the window early."""
    window = SlidingWindow(60)
    window.add(0, failed=True)
    window.add(4.9, slow=True)
    window.add(5)
    assert window.counts(59.9) == (3, 1, 1)
    assert window.counts(60) == (1, 0, 0)
    assert window.counts(64.9) == (1, 0, 0)
    assert window.counts(65) == (0, 0, 0)


def test_adding_forgets_too() -> None:
    """Who only adds has no old counts, and no more slices than there are in a window."""
    window = SlidingWindow(60)
    for second in range(1000):
        window.add(second, failed=True)
    assert len(window._slices) == 12
    assert window.counts(999) == (60, 60, 0)


def test_many_in_one_slice_are_one_entry() -> None:
    """However many calls there are, the window holds a bounded number of counts."""
    window = SlidingWindow(60)
    for _ in range(1000):
        window.add(3)
    assert len(window._slices) == 1
    assert window.counts(3) == (1000, 0, 0)


def test_clearing_forgets_everything() -> None:
    """After clearing it is as new, and counts again."""
    window = SlidingWindow(60)
    window.add(0, failed=True, slow=True)
    window.clear()
    assert window.counts(0) == (0, 0, 0)
    window.add(0, failed=True)
    assert window.counts(0) == (1, 1, 0)
    assert window.counts(60) == (0, 0, 0)


@given(
    st.lists(st.tuples(st.floats(0, 20), st.booleans(), st.booleans()), max_size=60),
    st.floats(0, 100),
)
def test_it_is_what_a_list_of_all_calls_would_tell(calls: list[tuple[float, bool, bool]], after: float) -> None:
    """Whatever comes when: the counts are those of the calls in this slice and the eleven before it."""
    window, now = SlidingWindow(60), 0.0
    seen: list[tuple[float, bool, bool]] = []
    for pause, failed, slow in calls:
        now += pause
        window.add(now, failed=failed, slow=slow)
        seen.append((now // WIDTH, failed, slow))
        assert window.counts(now)[0] >= 1
    now += after
    kept = [call for call in seen if call[0] > now // WIDTH - 12]
    assert window.counts(now) == (len(kept), sum(call[1] for call in kept), sum(call[2] for call in kept))
