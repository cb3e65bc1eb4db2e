from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from conftest import FakeClock, only
from neuroroute import (
    BreakerChanged,
    BreakerPolicy,
    CircuitOpenError,
    Event,
    LMStudioAdapter,
    LMStudioError,
    ModelInvalidRequestError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    StreamInterruptedError,
)
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault

DOWN = Fail(503, {"error": "down"})


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def adapter(lmstudio: Simulator, clock: FakeClock, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    """An adapter whose attempts are what its calls are."""
    async with LMStudioAdapter(
        "llama3",
        base_url=lmstudio.url,
        clock=clock,
        random=Random(1),
        max_retries=0,
        slots=9,
        observers=[events.append],
    ) as made:
        yield made


async def fails(adapter: LMStudioAdapter, times: int = 1, **options: Any) -> LMStudioError:
    """The last of so many calls that fail."""
    for _ in range(times):
        with pytest.raises(LMStudioError) as caught:
            await adapter.generate_completion("hi", **options)
    return caught.value


async def opened(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    lmstudio.fail(DOWN, times=5)
    await fails(adapter, 5)
    assert adapter.breaker.state == "open"


async def test_each_attempt_counts(adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock) -> None:
    """The fifth attempt that fails opens it, raises its own error and is not retried; the next call sends nothing."""
    lmstudio.fail(DOWN, times=20)
    first = await fails(adapter, max_retries=3, initial_backoff=0)
    assert (first.attempts, adapter.breaker.state) == (4, "closed")
    opening = await fails(adapter, max_retries=3)
    assert type(opening) is ModelUnavailableError
    assert opening.attempts == 1
    assert opening.hint.endswith(" It was not tried again: too many of the last requests failed.")
    refused = await fails(adapter, max_retries=3)
    assert isinstance(refused, CircuitOpenError)
    assert refused.code == "MODEL_UNAVAILABLE"
    assert (refused.attempts, refused.retry_after_ms, refused.retryable) == (0, 30_000, False)
    assert isinstance(refused.__cause__, ModelUnavailableError)
    assert refused.__cause__.status == 503
    assert len(lmstudio.requests) == 5
    assert clock.slept == [0, 0, 0]


async def test_a_retry_never_waits_for_an_open_breaker(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """An attempt that comes back from its back-off to a breaker that has opened fails at once."""
    lmstudio.fail(Fail(503, {"error": "mine"}))

    async def meanwhile(seconds: float) -> None:
        clock.now += seconds
        adapter.breaker.force_open()

    clock.sleep = meanwhile  # type: ignore[method-assign]
    error = await fails(adapter, max_retries=3)
    assert isinstance(error, CircuitOpenError)
    assert (error.attempts, len(lmstudio.requests)) == (1, 1)


async def test_after_half_a_minute_a_probe_closes_it(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """30 s later the next call is the probe, and its success brings everything back."""
    await opened(adapter, lmstudio)
    clock.now = 29.99
    assert isinstance(await fails(adapter), CircuitOpenError)
    clock.now = 30
    assert (await adapter.generate_completion("hi")).text == "You said: hi"
    assert adapter.breaker.state == "closed"
    assert len(lmstudio.requests) == 6


async def test_a_probe_that_fails_opens_it_for_longer(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """A probe that fails raises its own error, and the wait doubles, with jitter, up to 120 s."""
    await opened(adapter, lmstudio)
    lmstudio.fail(Fail(503, {"error": "still down"}), times=9)
    for at_least, at_most in ((30_000, 60_000), (60_000, 120_000), (60_000, 120_000)):
        clock.now += 120
        assert (await fails(adapter)).message == "still down"
        refused = await fails(adapter)
        assert isinstance(refused, CircuitOpenError)
        assert refused.retry_after_ms is not None
        assert at_least <= refused.retry_after_ms <= at_most
        assert refused.retry_after_ms not in (at_least, at_most)
    assert len(lmstudio.requests) == 8


async def test_a_cancelled_probe_gives_its_permit_back(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """A caller who leaves during the probe does not keep the others waiting for its lease to end."""
    await opened(adapter, lmstudio)
    clock.now = 30
    lmstudio.fail(Fail(silent="hang"))
    probe = asyncio.create_task(adapter.generate_completion("hi"))
    await lmstudio.wait_for_requests(6)
    refused = await fails(adapter)
    assert (type(refused), refused.retry_after_ms) == (CircuitOpenError, 1000)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert repr(adapter.breaker) == "<Breaker half_open, no probe is out>"
    assert (await adapter.generate_completion("hi")).text
    assert adapter.breaker.state == "closed"


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (Fail(429, {"error": "slow down"}), ModelRateLimitedError),
        (Fail(400, {"error": "no"}), ModelInvalidRequestError),
        (Fail(503, {"error": {"message": "Loading model"}}, headers={"Retry-After": "900"}), ModelUnavailableError),
    ],
    ids=["429", "mistake", "loading"],
)
async def test_what_is_not_the_server_s_fault_does_not_count(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock, fail: Fail, kind: type[LMStudioError]
) -> None:
    """A 429, a mistake, a model that loads: closed it stays closed; half-open the permit comes back."""
    lmstudio.fail(fail, times=6)
    assert isinstance(await fails(adapter, 6), kind)
    assert repr(adapter.breaker) == "<Breaker closed, 0 of 0 failed>"
    await opened(adapter, lmstudio)
    clock.now += 30
    lmstudio.fail(fail)
    await fails(adapter)
    assert repr(adapter.breaker) == "<Breaker half_open, no probe is out>"


async def test_a_stream_that_breaks_counts(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A stream that breaks after its first chunk is a failure; whoever is refused sees nothing of its text."""
    lmstudio.answer(Answer(chunks=["my", "secret"], stream_fault=StreamFault("cut", after=2)), times=5)
    for _ in range(5):
        with pytest.raises(StreamInterruptedError) as caught:
            await adapter.stream("hi").whole()
        assert caught.value.partial is not None
    refused = await fails(adapter)
    assert isinstance(refused, CircuitOpenError)
    assert isinstance(refused.__cause__, StreamInterruptedError)
    assert refused.__cause__.partial is None
    assert "secret" not in repr(refused.__cause__.__dict__)


async def test_a_stream_that_is_left_early_does_not(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Whoever stops reading says nothing of the server, neither against it nor for it."""
    lmstudio.answer(Answer(chunks=["a", "b", "c"], delay_between=0.5), times=5)
    for _ in range(5):
        async with adapter.stream("hi") as stream:
            await anext(stream)
        assert await asyncio.to_thread(lmstudio.requests[-1].ended.wait, 1)
    assert repr(adapter.breaker) == "<Breaker closed, 0 of 0 failed>"


async def test_a_caller_who_leaves_before_the_first_chunk_is_forgotten(
    adapter: LMStudioAdapter, lmstudio: Simulator
) -> None:
    """A cancellation of the caller's, his own time limit too, is no failure of the server's."""
    lmstudio.fail(Fail(silent="hang"))
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.02):
            await adapter.generate_completion("hi")
    assert not isinstance(caught.value, LMStudioError)
    assert repr(adapter.breaker) == "<Breaker closed, 0 of 0 failed>"


@pytest.mark.parametrize("limit", ["timeout_ms", "first_token_timeout_ms", "total_timeout_ms"])
async def test_a_limit_that_passes_counts(adapter: LMStudioAdapter, lmstudio: Simulator, limit: str) -> None:
    """A server that does not answer within the time limits fails, and the next caller is told so."""
    lmstudio.fail(Fail(silent="hang"), times=5)
    calls = (adapter.stream("hi", **{limit: 20}).whole() for _ in range(5))  # type: ignore[arg-type]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(end) for end in ends} == {ModelTimeoutError}
    refused = await fails(adapter)
    assert isinstance(refused, CircuitOpenError)
    assert isinstance(refused.__cause__, ModelTimeoutError)
    assert refused.__cause__.message == (
        f"no first chunk within {limit}=20" if limit.startswith("first") else "no answer within the deadline"
    )


async def test_a_server_that_cannot_be_reached_counts(clock: FakeClock) -> None:
    """A refused connection is the server's failure."""
    async with LMStudioAdapter("llama3", base_url="http://127.0.0.1:9", clock=clock, max_retries=0) as adapter:
        assert isinstance(await fails(adapter, 5), NetworkError)
        assert isinstance((await fails(adapter)).__cause__, NetworkError)


async def test_a_queue_is_sent_away_when_it_opens(lmstudio: Simulator) -> None:
    """Whoever waits for a slot when the breaker opens fails at once, and nothing of his is sent."""
    lmstudio.fail(Fail(503, {"error": "down"}, delay=0.03))
    policy = BreakerPolicy(minimum_calls=1)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1, breaker=policy, max_retries=3) as adapter:
        ends = await asyncio.gather(*(adapter.generate_completion("hi") for _ in range(4)), return_exceptions=True)
        assert [type(end) for end in ends] == [ModelUnavailableError, *[CircuitOpenError] * 3]
        assert len({id(end) for end in ends}) == 4
        for refused in ends[1:]:
            assert isinstance(refused, CircuitOpenError)
            assert (refused.attempts, refused.message) == (
                0,
                "circuit breaker open: too many of its last answers failed (the last: MODEL_UNAVAILABLE, down)",
            )
            assert isinstance(refused.__cause__, ModelUnavailableError)
        adapter.breaker.reset()
        assert (await adapter.generate_completion("hi")).text
    assert sum(received.method == "POST" for received in lmstudio.requests) == 2


async def test_nobody_queues_before_an_open_breaker(lmstudio: Simulator) -> None:
    """With its slots taken, an open breaker refuses at once all the same; force sends the queue away, too."""
    lmstudio.fail(Fail(silent="hang"))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1) as adapter:
        busy = asyncio.create_task(adapter.generate_completion("hi"))
        await lmstudio.wait_for_requests(1)
        waiting = asyncio.create_task(adapter.generate_completion("hi"))
        await asyncio.sleep(0)
        adapter.breaker.force_open()
        for call in (waiting, adapter.generate_completion("hi")):
            with pytest.raises(CircuitOpenError, match="by force"):
                await call
        busy.cancel()
        await asyncio.wait([busy])


async def test_slow_first_chunks_open_it_where_it_is_wanted(lmstudio: Simulator, clock: FakeClock) -> None:
    """With slow_first_chunk, streams that begin late open the breaker; whole answers have no first chunk to judge."""
    takes = 3.0

    def slow(_: Any) -> str:
        clock.now += takes
        return "at last"

    lmstudio.script(slow)
    policy = BreakerPolicy(slow_first_chunk=3000, minimum_calls=2)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock, breaker=policy) as adapter:
        for _ in range(4):
            await adapter.generate_completion("hi")
            await adapter.stream("hi").whole()
        assert repr(adapter.breaker) == "<Breaker closed, 0 of 8 failed>"
        clock.now += 100
        takes = 3.01
        for _ in range(2):
            assert (await adapter.stream("hi").whole()).text == "at last"
        with pytest.raises(CircuitOpenError, match="too many of its last answers were slow") as caught:
            await adapter.stream("hi").whole()
        assert caught.value.__cause__ is None


async def test_by_default_nothing_is_slow(adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock) -> None:
    """A model may take its time."""

    def slow(_: Any) -> str:
        clock.now += 9
        return "at last"

    lmstudio.script(slow)
    for _ in range(6):
        await adapter.stream("hi").whole()
    assert adapter.breaker.state == "closed"


async def test_by_force(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """force_open() keeps everything from the server until reset()."""
    adapter.breaker.force_open()
    assert (await fails(adapter)).retry_after_ms is None
    assert lmstudio.requests == []
    assert await adapter.is_available()
    assert isinstance(await fails(adapter), CircuitOpenError)
    adapter.breaker.reset()
    assert (await adapter.generate_completion("hi")).text


async def test_a_listing_that_has_the_model_lets_it_probe(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """is_available() is never counted, but a yes lets the next call probe at once; a no does not."""
    await opened(adapter, lmstudio)
    lmstudio.models.clear()
    assert not await adapter.is_available()
    assert isinstance(await fails(adapter), CircuitOpenError)
    lmstudio.models[:] = Simulator().models
    assert await adapter.is_available()
    assert (adapter.breaker.state, repr(adapter.breaker)) == ("open", "<Breaker open, the next request probes>")
    assert (await adapter.generate_completion("hi")).text
    assert adapter.breaker.state == "closed"


async def test_listings_do_not_count(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Listings that fail say nothing of the model."""
    for path in ("/api/v1/models", "/api/v0/models", "/v1/models"):
        lmstudio.fail(Fail(503), times=6, path=path)
    for _ in range(6):
        assert not await adapter.is_available()
    assert repr(adapter.breaker) == "<Breaker closed, 0 of 0 failed>"


async def test_observers_see_each_change(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock, events: list[Event]
) -> None:
    """Every transition is an event, with the failure that opened the breaker, and the host and model that it is of."""
    await opened(adapter, lmstudio)
    clock.now = 30
    await adapter.generate_completion("hi")
    changes = [event for event in events if isinstance(event, BreakerChanged)]
    assert [(change.before, change.after) for change in changes] == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]
    assert {(change.host, change.model) for change in changes} == {(lmstudio.url[7:-3], "llama3")}
    assert isinstance(changes[0].cause, ModelUnavailableError)
    assert changes[2].cause is None


async def test_an_observer_that_raises_harms_nothing(
    lmstudio: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What an observer raises is logged; the others are told, and requests go on."""
    seen: list[Event] = []

    def broken(event: Event) -> None:
        if isinstance(event, BreakerChanged):
            raise ZeroDivisionError

    observers = [broken, only(seen, BreakerChanged)]
    lmstudio.fail(DOWN, times=5)
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, clock=clock, max_retries=0, observers=observers
    ) as adapter:
        assert type(await fails(adapter, 5)) is ModelUnavailableError
        assert isinstance(await fails(adapter), CircuitOpenError)
        clock.now = 30
        assert (await adapter.generate_completion("hi")).text
    assert len(seen) == 3
    (logged,) = caplog.records  # it failed three times, alike
    assert logged.levelno == logging.ERROR
    assert logged.message.startswith("an observer failed at BreakerChanged: ZeroDivisionError in ")


async def test_a_thousand_callers_and_one_probe(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """However many call a half-open breaker, one request at a time reaches the server, and the others fail at once."""
    await opened(adapter, lmstudio)
    clock.now = 30
    inside, most = 0, 0

    async def answer(_: Any) -> Fail:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.002)
        inside -= 1
        return Fail(429, {"error": "not yet"})

    ends: list[type[LMStudioError]] = []

    async def call() -> None:
        for _ in range(3):
            ends.append(type(await fails(adapter)))
            await asyncio.sleep(0.005)

    lmstudio.script(answer)
    await asyncio.gather(*(call() for _ in range(1000)))
    assert adapter.breaker.state == "half_open"
    assert most == 1
    probes = ends.count(ModelRateLimitedError)
    assert ends.count(CircuitOpenError) == 3000 - probes
    assert len(lmstudio.requests) == 5 + probes
    assert probes > 1  # each gave its permit back


async def test_a_thousand_callers_and_a_server_that_is_back(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """Of a thousand who call at once after half a minute one has its answer, and it opens the way for the next."""
    await opened(adapter, lmstudio)
    clock.now = 30
    ends = await asyncio.gather(*(adapter.generate_completion("hi") for _ in range(1000)), return_exceptions=True)
    assert sum(isinstance(end, CircuitOpenError) for end in ends) == 999
    assert len(lmstudio.requests) == 6
    assert (await adapter.generate_completion("hi")).text


async def test_what_began_before_is_ignored(adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock) -> None:
    """Answers of attempts that began before the breaker opened neither close it nor fail its probe."""
    lmstudio.answer(Answer("hi", delay=0.15))
    early = asyncio.create_task(adapter.generate_completion("hi"))
    await lmstudio.wait_for_requests(1)
    lmstudio.fail(DOWN, times=5)
    await fails(adapter, 5)
    assert (await early).text == "hi"
    assert adapter.breaker.state == "open"


async def test_breakers_are_a_model_s(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """One model's failures leave the others of the host alone; siblings and the option model= share each model's."""
    await opened(adapter, lmstudio)
    other = adapter.with_model("qwen3-8b")
    assert (await other.generate_completion("hi")).text
    assert (await adapter.generate_completion("hi", model="qwen3-8b")).text
    assert repr(other.breaker) == "<Breaker closed, 0 of 2 failed>"
    assert isinstance(await fails(other.with_model("llama3")), CircuitOpenError)
    assert isinstance(await fails(other, model="llama3"), CircuitOpenError)
    assert other.with_model("llama3").breaker is adapter.breaker
    assert other.breaker is not adapter.breaker


async def test_what_is_being_mended_tells_nothing_new(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """While the model is loaded again, what fails for want of it is not counted; a probe's permit comes back."""
    model = adapter._core.hosts.all[0].model("llama3")
    model.mending = 1
    lmstudio.fail("no_models_loaded", times=6)
    for _ in range(5):
        with pytest.raises(ModelUnavailableError):
            await adapter.generate_completion("hi")
    assert repr(adapter.breaker) == "<Breaker closed, 0 of 0 failed>"
    adapter.breaker._go("half_open", None)
    with pytest.raises(ModelUnavailableError, match="No models loaded"):
        await adapter.generate_completion("hi")
    assert repr(adapter.breaker) == "<Breaker half_open, no probe is out>"
