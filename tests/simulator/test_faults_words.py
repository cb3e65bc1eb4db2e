"""Faults as words."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.simulator import (
    CATALOGUE,
    Answer,
    Bandwidth,
    Blackhole,
    ChaosProxy,
    Cut,
    Fail,
    Fault,
    FaultPlan,
    Freeze,
    Latency,
    Refuse,
    Reset,
    Simulator,
    Slicer,
    SlowClose,
    StreamFault,
    WholeFault,
    parse_fault,
)
from neuroroute.simulator.vocabulary import WORDS, Slow

ASKED: Any = SimpleNamespace(json={})
STREAMED: Any = SimpleNamespace(json={"stream": True})
HELLO = Answer("Hello", delay=0.5)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    word = draw(st.sampled_from(list(WORDS.values())))
    least = 400 if word.name == "status" else 1
    numbers = draw(st.lists(st.integers(least, 599), min_size=word.fewest, max_size=len(word.takes)))
    percent, times = draw(
        st.one_of(
            st.just((None, None)),
            st.tuples(st.floats(0, 100, exclude_min=True), st.none()),
            st.tuples(st.none(), st.integers(1)),
        )
    )
    fault = Fault(word.name, tuple(numbers), percent, times)
    return replace(fault, percent=None, times=None) if word.name == "refuse" else fault


@given(faults())
def test_a_fault_is_read_as_it_is_written(fault: Fault) -> None:
    """Every fault, with every number and share, is the same after it was written and read."""
    assert parse_fault(str(fault)) == fault


@given(st.text() | st.lists(st.sampled_from([*WORDS, ":", "@", "%", "1", "0", "±", " "]), max_size=5).map("".join))
def test_anything_else_is_a_value_error(text: str) -> None:
    """A text is a fault that can be made, or a ``ValueError``; nothing else ever happens."""
    try:
        fault = parse_fault(text)
    except ValueError:
        return
    assert fault.effect is not None
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("word", "effect"),
    [
        ("hang", Fail(silent="hang")),
        ("close", Fail(silent="close")),
        ("slow:500", Slow(500)),
        ("stream:cut:3", StreamFault("cut", 3)),
        ("stream:error:2", StreamFault("error", 2)),
        ("stream:no_done", StreamFault("no_done")),
        ("whole:cut:10", WholeFault("cut", 10)),
        ("whole:end", WholeFault("end", 0)),
    ],
)
def test_what_the_words_of_the_server_mean(word: str, effect: object) -> None:
    """A word of the server is what can be scripted by hand, and needs no proxy."""
    assert parse_fault(word).effect == effect
    assert parse_fault(word).network is None


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("refuse", Refuse()),
        ("blackhole", Blackhole()),
        ("latency:200", Latency(200)),
        ("latency:200±50", Latency(200, 50)),
        ("latency:200:50", Latency(200, 50)),
        ("bandwidth:1000", Bandwidth(1000)),
        ("slicer:3:5", Slicer(3, 5)),
        ("cut:500", Cut(500)),
        ("reset", Reset()),
        ("reset:100@25%", Reset(100, rate=0.25)),
        ("freeze:200@3", Freeze(200, times=3)),
        ("slow_close:500", SlowClose(500)),
    ],
)
def test_what_the_words_of_the_network_mean(word: str, fault: object) -> None:
    """A word of the network is what a chaos proxy is told; its share and count are of connections."""
    assert parse_fault(word).network == fault


@pytest.mark.parametrize("case", CATALOGUE, ids=str)
def test_every_row_of_the_catalogue_is_a_word(case: Any) -> None:
    """A name of the catalogue means its row."""
    assert parse_fault(f"{case.name}@10%").effect == case
    assert parse_fault(case.name).word.kind == "server"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("crash_nul", "did you mean crash_null"),
        ("Latency:3", "did you mean latency:MS"),
        ("stream", "stream:cut[:DELTAS]"),
        ("stream:err:3", "did you mean stream:error"),
        ("latency", "it is written latency:MS[:JITTER_MS], as in latency:200:50"),
        ("hang:3", "it is written hang, as in hang"),
        ("status:200", "400 to 599"),
        ("bandwidth:0", "bytes_per_second must be 1 or more"),
        ("hang@0", "a share of the requests, as in @10%"),
        ("reset@101%", "a share of the connections"),
        ("reset@", "after @ comes"),
        ("refuse@3", "without @"),
        ("xyzzy", "there are refuse, blackhole"),
        ("", "there are refuse, blackhole"),
    ],
)
def test_a_wrong_word_is_told_what_would_be_right(wrong: str, said: str) -> None:
    """The error quotes the word and says what would be right."""
    with pytest.raises(ValueError) as told:
        parse_fault(wrong)
    assert said in str(told.value)
    assert repr(wrong) in str(told.value)


# ── Faults applied ──────────────────────────────────────────────────────────────────────────────────────────────────


def outcomes(plan: FaultPlan, count: int) -> list[Answer | Fail]:
    return [plan.alter(ASKED, HELLO) for _ in range(count)]


def test_a_count_is_of_the_next_requests() -> None:
    """``@2`` strikes the next two requests and no more."""
    said = outcomes(FaultPlan("status:503@2"), 4)
    assert [isinstance(one, Fail) for one in said] == [True, True, False, False]
    assert said[-1] == HELLO


def test_a_share_is_drawn_the_same_for_the_same_seed() -> None:
    """``@30%`` strikes about so many, the same ones for the same seed."""
    first, again, other = (outcomes(FaultPlan("crash_null@30%", seed=seed), 200) for seed in (1, 1, 2))
    assert 35 < sum(isinstance(one, Fail) for one in first) < 85
    assert first == again
    assert first != other


def test_faults_come_together() -> None:
    """The first failure is the answer, and none is used up that was not needed; delays add up."""
    plan = FaultPlan("slow:20", "stream:cut:1@1", "slow:30", "whole:end", "status:503@1", "status:500@1")
    first, second, whole, streamed, again = (
        plan.alter(asked, HELLO) for asked in (ASKED, STREAMED, ASKED, STREAMED, STREAMED)
    )
    assert (first, second) == (replace(fail(503), delay=0.05), replace(fail(500), delay=0.05))
    said = replace(HELLO, delay=0.55)
    assert whole == replace(said, whole_fault=WholeFault("end"))
    assert streamed == replace(said, stream_fault=StreamFault("cut", 1))
    assert again == said


def fail(status: int) -> Fail:
    effect = parse_fault(f"status:{status}").effect
    assert isinstance(effect, Fail)
    return effect


async def test_a_plan_is_applied_to_a_simulator(server: Simulator, client: Any) -> None:
    """Applied, requests fail as the plan says; each knows which faults struck it, and its status."""
    plan = FaultPlan("crash_null@1", "close@1", "stream:no_done")
    plan.apply(server)
    assert (await client.whole(server))[0] == 400
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.whole(server)
    assert client.events(await client.stream(server))[-1] != "[DONE]"
    assert [(received.status, received.faults) for received in server.requests] == [
        (400, ("crash_null@1",)),
        (None, ("close@1",)),
        (200, ("stream:no_done",)),
    ]


async def test_what_needs_a_proxy_is_told(server: Simulator, client: Any) -> None:
    """The network's faults are for a proxy in front; the simulator is not touched by them."""
    plan = FaultPlan("cut:0@1", "crash_null@1")
    plan.apply(server)
    assert plan.network == (Cut(0, times=1),)
    async with ChaosProxy(server.url, *plan.network) as proxy:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.whole(proxy)
        assert (await client.whole(proxy))[0] == 200
    assert [received.faults for received in server.requests] == [("crash_null@1",), ()]
