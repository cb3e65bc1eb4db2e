"""How long answers take, and how long a place is left alone that failed."""

from __future__ import annotations

import pytest

from neuroroute.pipe.pace import HALF_LIFE_SECONDS, LONGEST_ASKED_SECONDS, LONGEST_TROUBLE_SECONDS, Pace, Trouble


def test_a_pace_follows_the_last_answers() -> None:
    """The first answer tells all, later ones a fifth each; nothing is known before the first."""
    pace = Pace()
    assert pace.seconds(0) is None
    pace.learn(1.0, 0)
    assert pace.seconds(0) == 1.0
    for _ in range(40):
        pace.learn(3.0, 0)
    assert pace.seconds(0) == pytest.approx(3.0, abs=0.01)


def test_what_is_known_of_a_pace_fades_and_comes_back() -> None:
    """A place that was slow seems faster the longer it was not asked; its next answer puts that right."""
    pace = Pace()
    pace.learn(8.0, 0)
    assert pace.seconds(3 * HALF_LIFE_SECONDS) == pytest.approx(1.0)
    pace.learn(8.0, 3 * HALF_LIFE_SECONDS)
    assert pace.seconds(3 * HALF_LIFE_SECONDS) == pytest.approx(8.0)


def test_trouble_doubles_and_ends() -> None:
    """After a failure others are preferred for a second, then for two, up to half a minute; an answer ends it."""
    trouble = Trouble()
    assert not trouble.lasts(0)
    now = 100.0
    for seconds in (1, 2, 4, 8, 16, 30, 30):
        trouble.fails(now)
        trouble.fails(now + 0.5)  # the same event
        assert trouble.lasts(now + seconds - 0.01)
        now += seconds
        assert not trouble.lasts(now)
    assert seconds == LONGEST_TROUBLE_SECONDS
    trouble.fails(now, at_least=1e9)
    assert not trouble.lasts(now + LONGEST_ASKED_SECONDS)
    trouble.ends()
    assert not trouble.lasts(now)
    trouble.fails(now)
    assert not trouble.lasts(now + 1)
