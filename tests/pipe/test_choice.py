"""Which of several places a request goes to."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import FakeClock
from fleet.fleets import Fleet, request
from neuroroute.pipe.choice import ALL_LOOKED_AT, best, expected_seconds, has_free_slot
from neuroroute.pipe.hostedmodel import HostedModel


async def nothing(_: object) -> None:
    """Is never asked."""


async def places(clock: FakeClock, count: int) -> list[HostedModel]:
    fleet = await Fleet({str(number): nothing for number in range(count)}, clock=clock).listed()
    return fleet.hosts.places("m")


async def test_what_is_expected_of_a_place(clock: FakeClock) -> None:
    """The longer its answers, the more of its slots are taken and the more wait, the later; weight divides that."""
    (place,) = await places(clock, 1)
    assert expected_seconds(place, 0, usual=3.0) == 3.0
    place.pace.learn(2.0, 0)
    assert expected_seconds(place, 0, usual=3.0) == 2.0
    assert expected_seconds(place, 30, usual=3.0) == 1.0  # what was learnt fades
    found = [expected_seconds(place, 0, 1.0)]
    for _ in range(place.gate.slots):
        assert has_free_slot(place)
        await place.gate.enter()
        found.append(expected_seconds(place, 0, 1.0))
    assert found == sorted(set(found))
    assert not has_free_slot(place)
    assert found[-1] == pytest.approx(2.0 * (1 + 1 / 4 + 0.5))


@given(
    costs=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    unfit=st.sets(st.integers(0, 39)),
    seed=st.integers(0, 1000),
)
def test_a_fit_place_is_found_if_there_is_one(costs: list[int], unfit: set[int], seed: int) -> None:
    """One that is fit is chosen wherever there is one; of few, it is one that costs least of those."""
    gate = type("Gate", (), {"taken": 0, "slots": 1})
    made = [type("Place", (), {"number": number, "gate": gate})() for number in range(len(costs))]
    fit = [place for place in made if place.number not in unfit]
    chosen = best(made, lambda place: costs[place.number], lambda place: place.number not in unfit, Random(seed))  # type: ignore
    assert (chosen is None) == (not fit)
    if chosen is not None:
        assert chosen in fit
        if len(made) <= ALL_LOOKED_AT:
            assert costs[chosen.number] == min(costs[place.number] for place in fit)  # type: ignore


async def test_those_that_cost_the_same_are_used_evenly(clock: FakeClock) -> None:
    """A fleet that idles has each of its hosts asked as often as the others, be they few or many."""
    for count in (4, 40):
        made = await places(clock, count)
        random = Random(1)
        chosen = Counter(best(made, lambda _: 1.0, lambda _: True, random) for _ in range(count * 100))
        assert len(chosen) == count
        assert max(chosen.values()) < 150


async def test_of_many_the_less_busy_of_two_is_taken(clock: FakeClock) -> None:
    """Of many places two are drawn until one has a free slot, up to four times: most find one if a quarter has."""
    made = await places(clock, 40)
    for place in made[:30]:
        for _ in range(4):
            await place.gate.enter()
    random = Random(1)
    chosen = [best(made, partial(expected_seconds, now=0, usual=1), lambda _: True, random) for _ in range(1000)]
    assert sum(place is not None and has_free_slot(place) for place in chosen) > 850


async def test_a_choice_among_a_thousand_costs_what_one_among_ten_does(clock: FakeClock) -> None:
    """What choosing takes does not grow with the number of hosts."""
    medians: dict[int, float] = {}
    for count in (10, 1000):
        fleet = await Fleet({str(number): nothing for number in range(count)}, clock=clock).listed()
        asked = request()
        fleet.hosts.choose(asked)
        times: list[float] = []
        for _ in range(300):
            began = time.perf_counter()
            fleet.hosts.choose(asked)
            times.append(time.perf_counter() - began)
        medians[count] = median(times)
    assert medians[1000] < 3 * medians[10]
