from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from conftest import only
from neuroroute import Event, LMStudioAdapter, ModelLoading, ModelProgress, ModelTimeoutError, PromptProcessing
from neuroroute.pipe import loading
from neuroroute.simulator import Answer, SimulatedModel, Simulator, StreamFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def events() -> list[Event]:
    return []


SHORT = 300
"""Milliseconds, fewer than the load of a slow model takes."""


def slow() -> SimulatedModel:
    return SimulatedModel("big", load_seconds=0.4)


@pytest.fixture
async def watched(lmstudio: Simulator, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    lmstudio.models[:] = [SimulatedModel("big", load_seconds=0.05)]
    async with LMStudioAdapter(
        "big", base_url=lmstudio.url, observers=[only(events, ModelLoading, PromptProcessing)], max_retries=0
    ) as made:
        yield made


async def test_a_native_stream_tells_how_far_it_is(
    watched: LMStudioAdapter, lmstudio: Simulator, events: list[Event]
) -> None:
    """Loading and reading the prompt reach observers and on_progress, and a load moves the deadline."""
    lmstudio.models[:] = [slow()]
    told: list[ModelProgress] = []
    async with watched.stream("hi", api="native", on_progress=told.append, timeout_ms=SHORT) as stream:
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.chunk for chunk in chunks) == "You said: hi"
    assert all(chunk.chunk or chunk.done for chunk in chunks)
    phases = [one.phase for one in told]
    assert phases == sorted(phases, key=["loading", "loaded", "processing_prompt"].index)
    assert {*phases} == {"loading", "loaded", "processing_prompt"}
    loads = [one.fraction for one in told if one.phase == "loading"]
    assert (loads[0], len(loads) > 1, loads) == (0.0, True, sorted(loads, key=lambda fraction: fraction or 0.0))
    assert [type(event) for event in events] == [
        PromptProcessing if one.phase == "processing_prompt" else ModelLoading for one in told
    ]
    assert [getattr(event, "fraction", None) for event in events] == [one.fraction for one in told]
    assert {(event.model, event.host) for event in events} == {("big", stream.response.host)}
    assert stream.response.stats.load_time is not None


async def test_an_end_that_comes_twice(watched: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """The second prompt_processing.end, seen in life, tells nobody anything."""
    lmstudio.unknowns = type(lmstudio.unknowns)(prefill_ends_twice=True)
    await watched.stream("hi", api="native").whole()
    assert [event.fraction for event in events if isinstance(event, PromptProcessing)] == [0.0, 0.5, 1.0]


async def test_who_is_told_may_fail(watched: LMStudioAdapter, caplog: pytest.LogCaptureFixture) -> None:
    """An on_progress that raises is noted in the log, and harms no request."""

    def fail(_: ModelProgress) -> None:
        raise ValueError("mine")

    with caplog.at_level(logging.ERROR, "neuroroute"):
        assert (await watched.stream("hi", api="native", on_progress=fail).whole()).text == "You said: hi"
    assert "on_progress failed" in caplog.text


async def test_a_load_that_the_listing_tells(watched: LMStudioAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the other routes on_progress hears that a load began, as far as the listing tells."""
    monkeypatch.setattr(loading, "LOOK_AFTER_SECONDS", 0.01)
    told: list[ModelProgress] = []
    await watched.generate_completion("hi", on_progress=told.append)
    assert told == [ModelProgress(model="big", phase="loading")]


async def test_progress_is_no_first_chunk(lmstudio: Simulator) -> None:
    """A stream that only tells of progress is late: nothing of it counts as an answer."""
    lmstudio.answer(Answer("x", stream_fault=StreamFault("hang", 0)))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, timeout_ms=50, max_retries=0) as adapter:
        with pytest.raises(ModelTimeoutError, match="timeout_ms=50"):
            await adapter.stream("hi", api="native").whole()


async def test_a_hedged_stream_waits_for_one_load(
    watched: LMStudioAdapter, lmstudio: Simulator, events: list[Event]
) -> None:
    """Where two requests race, the deadline is moved by their load, for both."""
    lmstudio.models[:] = [slow()]
    async with asyncio.timeout(5):
        response = await watched.stream("hi", api="native", hedge_after_ms=20, timeout_ms=SHORT).whole()
    assert response.text == "You said: hi"
    assert any(isinstance(event, ModelLoading) for event in events)
