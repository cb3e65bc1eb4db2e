from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from conftest import only
from neuroroute import Event, Hedged, LMStudioAdapter, ModelTimeoutError, ModelUnavailableError, RetryPolicy
from neuroroute.simulator import Answer, Fail, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LATE = Answer("late", delay=5)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def hedging(lmstudio: Simulator, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, hedge_after_ms=20, max_retries=0, slots=4, observers=[only(events, Hedged)]
    ) as made:
        yield made


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_late_answer_is_asked_for_a_second_time(
    lmstudio: Simulator, hedging: LMStudioAdapter, events: list[Event], streaming: bool
) -> None:
    """The second request answers, the first is closed at once, and a token was paid for it."""
    lmstudio.answer(LATE)
    lmstudio.answer("quick")
    response = await (hedging.stream("hi").whole() if streaming else hedging.generate_completion("hi"))
    assert response.text == "quick"
    assert events == [Hedged(host=response.host, model="llama3", request_id=response.request_id)]
    await lmstudio.requests[0].wait_ended(1)
    assert lmstudio.requests[0].closed_early
    assert repr(hedging._core.hosts.all[0].budget) == "<RetryBudget 9.2 retries left>"
    assert repr(hedging.breaker) == "<Breaker closed, 0 of 1 failed>"  # who was not taken did not fail
    assert repr(hedging._core.hosts.all[0].model("llama3").gate) == "<Gate 0 of 4 slots taken, 0 waiting>"


async def test_an_answer_in_time_is_asked_for_once(lmstudio: Simulator, hedging: LMStudioAdapter) -> None:
    """Whoever answers in time sees one request."""
    assert (await hedging.generate_completion("hi", hedge_after_ms=5000)).text == "You said: hi"
    assert len(lmstudio.requests) == 1


async def test_nothing_is_hedged_unasked(lmstudio: Simulator) -> None:
    """Hedging is off by default."""
    lmstudio.answer(Answer("slowly", delay=0.1))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        await adapter.generate_completion("hi")
    assert len(lmstudio.requests) == 1


async def test_never_two_outputs(lmstudio: Simulator, hedging: LMStudioAdapter) -> None:
    """A stream that has begun is the only one: its chunks are of one answer, whichever it is."""
    lmstudio.answer(Answer(chunks=["a", "b", "c"], delay=0.03, delay_between=0.03))
    lmstudio.answer(Answer(chunks=["x", "y", "z"], delay=0.02, delay_between=0.03))
    async with hedging.stream("hi") as stream:
        text = "".join([chunk.chunk async for chunk in stream])
    assert text in ("abc", "xyz")
    assert len(lmstudio.requests) == 2


async def test_when_the_second_fails_the_first_is_waited_for(lmstudio: Simulator, hedging: LMStudioAdapter) -> None:
    """One failure of two does not matter."""
    lmstudio.answer(Answer("slow but sure", delay=0.1))
    lmstudio.script(lambda request: Fail(503, {"error": "Channel Error"}))
    assert (await hedging.generate_completion("hi")).text == "slow but sure"


async def test_when_the_first_fails_later_the_second_is_waited_for(
    lmstudio: Simulator, hedging: LMStudioAdapter
) -> None:
    """A failure after the second request went out leaves that one to answer."""
    lmstudio.answer(Answer("", delay=0.05, status=503))
    lmstudio.answer(Answer("second", delay=0.1))
    assert (await hedging.generate_completion("hi")).text == "second"


async def test_when_both_fail_the_first_error_comes_out(lmstudio: Simulator, hedging: LMStudioAdapter) -> None:
    """Of two failures that of the first request is raised."""
    lmstudio.fail(Fail(503, {"error": "the first"}, delay=0.1))
    lmstudio.fail(Fail(503, {"error": "the second"}))
    with pytest.raises(ModelUnavailableError, match="the first"):
        await hedging.generate_completion("hi")


async def test_a_failure_before_it_is_late_is_a_failure(lmstudio: Simulator, hedging: LMStudioAdapter) -> None:
    """What fails at once is the retry layer's: no second request goes out."""
    lmstudio.fail(Fail(503, {"error": "down"}))
    with pytest.raises(ModelUnavailableError):
        await hedging.generate_completion("hi", hedge_after_ms=1000)
    assert len(lmstudio.requests) == 1


async def test_without_budget_nothing_is_hedged(lmstudio: Simulator) -> None:
    """An empty retry budget pays for no second request."""
    lmstudio.answer(Answer("slowly", delay=0.1))
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, hedge_after_ms=10, retry=RetryPolicy(budget=0)
    ) as adapter:
        assert (await adapter.generate_completion("hi")).text == "slowly"
    assert len(lmstudio.requests) == 1


async def test_leaving_ends_both(lmstudio: Simulator, hedging: LMStudioAdapter) -> None:
    """A caller who is cancelled takes both requests with him, and both slots."""
    lmstudio.answer(LATE, times=2)
    asked = asyncio.create_task(hedging.generate_completion("hi"))
    await lmstudio.wait_for_requests(2)
    asked.cancel()
    await asyncio.wait([asked])
    assert asked.cancelled()
    for received in lmstudio.requests:
        await received.wait_ended(1)
        assert received.closed_early
    assert repr(hedging._core.hosts.all[0].model("llama3").gate) == "<Gate 0 of 4 slots taken, 0 waiting>"
    assert repr(hedging.breaker) == "<Breaker closed, 0 of 0 failed>"


async def test_the_deadline_ends_both(lmstudio: Simulator, hedging: LMStudioAdapter) -> None:
    """Both requests end with the deadline, and both count: the server answered neither."""
    lmstudio.answer(LATE, times=2)
    with pytest.raises(ModelTimeoutError):
        await hedging.generate_completion("hi", timeout_ms=60)
    assert repr(hedging.breaker) == "<Breaker closed, 2 of 2 failed>"


@pytest.mark.parametrize("after", [1, 30_000])
@pytest.mark.parametrize("turns", range(8))
async def test_a_reply_that_nobody_has_is_closed(
    lmstudio: Simulator, hedging: LMStudioAdapter, after: int, turns: int
) -> None:
    """Cancelled at whatever moment around the first chunk, a caller leaves neither a slot nor a prediction behind."""
    lmstudio.script(lambda request: Answer(chunks=["a", "b", "c"], delay_between=5))
    stream = hedging.stream("hi", hedge_after_ms=after)
    asked = asyncio.create_task(stream.__anext__())
    await lmstudio.wait_for_requests(1)
    while not lmstudio.running("llama3"):
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    await stream.aclose()
    gate = hedging._core.hosts.all[0].model("llama3").gate
    async with asyncio.timeout(1):
        while not (gate.is_idle and lmstudio.running("llama3") == 0):
            await asyncio.sleep(0.001)


async def test_nothing_is_paid_for_a_request_that_would_only_wait(lmstudio: Simulator, events: list[Event]) -> None:
    """Without a free slot a second request is not made, told of, or paid."""
    lmstudio.answer(Answer("slowly", delay=0.1))
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, slots=1, hedge_after_ms=10, observers=[only(events, Hedged)]
    ) as adapter:
        assert (await adapter.generate_completion("hi")).text == "slowly"
        assert repr(adapter._core.hosts.all[0].budget) == "<RetryBudget 10.2 retries left>"
    assert (events, len(lmstudio.requests)) == ([], 1)
