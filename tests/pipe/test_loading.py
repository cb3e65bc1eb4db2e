from __future__ import annotations

import asyncio
import math
from random import Random
from typing import TYPE_CHECKING

import pytest

from conftest import FakeClock, only
from neuroroute import Event, LMStudioAdapter, ModelLoading, ModelTimeoutError
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STUCK = SimulatedModel("big", load_seconds=math.inf)
LOADING = Fail(503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}})


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def patient(lmstudio: Simulator, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    """An adapter whose time limit is far shorter than the load of its model."""
    lmstudio.models[:] = [SimulatedModel("big", load_seconds=math.inf)]
    async with LMStudioAdapter(
        "big",
        base_url=lmstudio.url,
        timeout_ms=60,
        model_loading_timeout_ms=5000,
        max_retries=0,
        observers=[only(events, ModelLoading)],
    ) as made:
        yield made


async def wait_for(events: list[Event], count: int = 1) -> None:
    async with asyncio.timeout(3):
        while len(events) < count:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_load_is_waited_for(
    lmstudio: Simulator, patient: LMStudioAdapter, events: list[Event], streaming: bool
) -> None:
    """While the server lists the model as not loaded, a request outlives its time limit, and is told of once."""
    whole = patient.stream("hi").whole() if streaming else patient.generate_completion("hi")
    asked = asyncio.create_task(whole)
    await wait_for(events)
    await asyncio.sleep(0.1)  # past timeout_ms
    lmstudio.load("big")
    assert (await asked).text == "You said: hi"
    assert [(event.host, event.model) for event in events] == [(f"127.0.0.1:{lmstudio.port}", "big")]


async def test_who_waits_in_the_queue_waits_for_the_load_too(
    lmstudio: Simulator, patient: LMStudioAdapter, events: list[Event]
) -> None:
    """The deadline of a request moves that waits for a slot while those before it wait for the load."""
    tasks = [asyncio.create_task(patient.generate_completion(str(number))) for number in range(6)]
    await wait_for(events, 6)
    await asyncio.sleep(0.1)
    lmstudio.load("big")
    assert [(await task).text for task in tasks] == [f"You said: {number}" for number in range(6)]


async def test_a_load_that_does_not_end(patient: LMStudioAdapter) -> None:
    """The deadline moves once; the error names both limits, and is the server's failure."""
    with pytest.raises(ModelTimeoutError, match="within timeout_ms=60 and model_loading_timeout_ms=50"):
        await patient.generate_completion("hi", model_loading_timeout_ms=50)
    assert repr(patient.breaker) == "<Breaker closed, 1 of 1 failed>"


async def test_a_limit_for_the_first_token_waits_too(
    lmstudio: Simulator, patient: LMStudioAdapter, events: list[Event]
) -> None:
    """An attempt's limit moves with the deadline: to leave would have the load cancelled."""
    asked = asyncio.create_task(patient.stream("hi", first_token_timeout_ms=45).whole())
    await wait_for(events)
    await asyncio.sleep(0.06)
    lmstudio.load("big")
    assert (await asked).text == "You said: hi"


async def test_a_slow_prompt_is_no_load(lmstudio: Simulator, patient: LMStudioAdapter, events: list[Event]) -> None:
    """A model that is listed as loaded gets no more time than was given."""
    lmstudio.load("big")
    lmstudio.answer(Answer("late", delay=5))
    with pytest.raises(ModelTimeoutError, match=r"within timeout_ms=60\."):
        await patient.generate_completion("hi")
    assert events == []


async def test_a_server_that_lists_nothing(lmstudio: Simulator, patient: LMStudioAdapter) -> None:
    """Without a listing nobody knows of a load, and the limit holds."""
    for path in ("/api/v1/models", "/api/v0/models", "/v1/models"):
        lmstudio.fail(Fail(500), path=path, times=5)
    with pytest.raises(ModelTimeoutError, match=r"within timeout_ms=60\."):
        await patient.generate_completion("hi")


async def test_loading_said_in_words_is_no_failure(lmstudio: Simulator, clock: FakeClock) -> None:
    """Answers that say so are asked for again until the model is there: beyond max_retries, unpaid and uncounted."""
    lmstudio.fail(LOADING, times=12)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock, random=Random(1)) as adapter:
        response = await adapter.generate_completion("hi", max_retries=1)
        assert (response.text, response.attempts) == ("You said: hi", 13)
        assert repr(adapter.breaker) == "<Breaker closed, 0 of 1 failed>"
        assert repr(adapter._core.hosts.all[0].budget) == "<RetryBudget 10.2 retries left>"
    assert all(slept <= 5 for slept in clock.slept)


async def test_loading_said_in_words_moves_the_deadline_once(lmstudio: Simulator, clock: FakeClock) -> None:
    """Waiting for a model that says that it loads ends at the deadline, as it was moved."""
    lmstudio.fail(LOADING, times=1000)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock, random=Random(1)) as adapter:
        with pytest.raises(Exception, match="Loading model"):
            await adapter.generate_completion("hi", timeout_ms=10_000, model_loading_timeout_ms=30_000)
    assert 35 < sum(clock.slept) < 40
