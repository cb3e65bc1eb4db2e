from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import FakeClock
from neuroroute import (
    BackingOff,
    BreakerPolicy,
    CircuitOpenError,
    Event,
    LMStudioAdapter,
    LMStudioError,
    MalformedResponseError,
    ModelBusyError,
    ModelEmptyResponseError,
    ModelInvalidRequestError,
    ModelRateLimitedError,
    ModelUnavailableError,
    NetworkError,
    RetryPolicy,
    StreamInterruptedError,
)
from neuroroute.details import ModelDetails
from neuroroute.hostlist import HostSettings
from neuroroute.options import DEFAULTS
from neuroroute.pipe.background import Background
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.policies import HostPolicy
from neuroroute.pipe.reply import Reply, Send, pipe
from neuroroute.pipe.retry import delay_after, retry
from neuroroute.pipe.transport import WholeReply
from neuroroute.requests import ChatRequest
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault
from neuroroute.wire.endpoints import CHAT

CRASHED = Fail(400, {"error": "The model has crashed without additional information. (Exit code: null)"})


LOADING = Fail(503, {"error": {"message": "Loading model"}})
BUSY = Fail(429, {"error": "slow down"})
ANSWER = b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}'


class Ends(Random):
    """A source of jitter that gives the end of each range."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


def loading() -> LMStudioError:
    return ModelUnavailableError("loading model", details={"reason": "loading"})


HERE = "http://localhost:1234/v1"


def request(streaming: bool = False, **options: Any) -> ChatRequest:
    return ChatRequest(
        endpoint=CHAT,
        model="m",
        messages=[],
        body=b"",
        streaming=streaming,
        options={**DEFAULTS, **options},
        notes=[],
        url=HERE,
        host="here",
    )


def delay(*failures: LMStudioError, policy: RetryPolicy | None = None, **options: Any) -> float | None:
    return delay_after(failures, request(**options), policy or RetryPolicy(), Ends())


@given(st.integers(1, 200), st.floats(0, 1e6), st.floats(0, 1e6), st.integers())
def test_delays_lie_between_nothing_and_the_cap(attempt: int, initial: float, cap: float, seed: int) -> None:
    """A back-off doubles from attempt to attempt, with full jitter, and never passes the cap."""
    failures = [NetworkError("x")] * attempt
    found = delay_after(
        failures, request(max_retries=1000, initial_backoff=initial), RetryPolicy(max_backoff=cap), Random(seed)
    )
    assert found is not None
    assert 0 <= found <= min(cap, initial * 2 ** (attempt - 1)) / 1000


def test_jitter_is_spread_over_the_whole_back_off() -> None:
    """Full jitter: waits come from the whole range, so that callers who failed together do not come back together."""
    random = Random(7)
    waits = [delay_after([NetworkError("x")] * 3, request(), RetryPolicy(), random) for _ in range(400)]
    assert min(waits) < 0.4 < 3.6 < max(waits) <= 4  # type: ignore[type-var]


def test_back_offs_double_up_to_the_cap() -> None:
    """One second, two, four, ... up to thirty, however many attempts there were."""
    bounds = [delay(*[NetworkError("x")] * attempt, max_retries=9999) for attempt in (1, 2, 3, 5, 6, 7, 66, 5000)]
    assert bounds == [1, 2, 4, 16, 30, 30, 30, 30]
    assert delay(NetworkError("x"), policy=RetryPolicy(max_backoff=500)) == 0.5
    assert delay(NetworkError("x"), initial_backoff=0) == 0
    longest = RetryPolicy(max_backoff=1e300)
    assert delay(*[NetworkError("x")] * 5000, policy=longest, initial_backoff=1000, max_retries=9999) == 2.0**64


def test_jitter_is_the_seed_s() -> None:
    """The same seed gives the same waits."""

    def waits(seed: int) -> list[float | None]:
        random = Random(seed)
        return [delay_after([NetworkError("x")], request(), RetryPolicy(), random) for _ in range(5)]

    assert waits(1) == waits(1) != waits(2)


def test_a_model_that_loads_is_asked_again_until_the_deadline() -> None:
    """Loading is no failure: max_retries does not count it, and it looks at least every five seconds."""
    waits = [delay(*[loading()] * looks, max_retries=0) for looks in (1, 2, 3, 4, 5, 100)]
    assert waits == [1, 2, 4, 5, 5, 5]
    assert delay(loading(), policy=RetryPolicy(max_backoff=700)) == 0.7
    assert delay(loading(), *[NetworkError("x")] * 3, loading(), max_retries=3) == 2
    assert delay(*[loading()] * 9, NetworkError("x"), max_retries=1) == 1
    assert delay(NetworkError("x"), *[loading()] * 9, NetworkError("x"), max_retries=1) is None


def test_failures_that_something_else_mended_do_not_count() -> None:
    """What was not retryable, and was mended by another layer, takes nothing from max_retries."""
    mended = ModelInvalidRequestError("too long")
    assert delay(mended, NetworkError("x"), max_retries=1) == 1
    assert delay(mended, NetworkError("x"), NetworkError("x"), max_retries=1) is None


@pytest.mark.parametrize(("streaming", "retries"), [(False, 3), (True, 2)])
def test_default_number_of_retries(streaming: bool, retries: int) -> None:
    """Whole answers are retried three times, streams twice."""
    failures = [NetworkError("x")]
    while delay(*failures, streaming=streaming) is not None:
        failures.append(NetworkError("x"))
    assert len(failures) - 1 == retries


def test_what_is_not_retryable_is_not_retried() -> None:
    """A caller's mistake stays one however often it is sent."""
    assert delay(ModelInvalidRequestError("x")) is None
    assert delay(ModelUnavailableError("no models loaded", retryable=False)) is None
    assert delay(NetworkError("x"), max_retries=0) is None


@pytest.mark.parametrize("kind", [ModelEmptyResponseError, MalformedResponseError])
def test_some_are_retried_once(kind: type[LMStudioError]) -> None:
    """An empty or malformed answer is retried once; a failure of another kind before it does not count."""
    assert delay(kind("x")) is not None
    assert delay(kind("x"), kind("x")) is None
    assert delay(NetworkError("x"), kind("x")) is not None


def test_retry_after_wins() -> None:
    """The server's own word on when to come back wins over the back-off and its cap."""
    error = ModelRateLimitedError("x", retry_after_ms=45_000)
    assert delay(error, initial_backoff=1) == 45
    assert delay(ModelRateLimitedError("x", retry_after_ms=0)) == 0
    assert delay(error, error, max_retries=1) is None


async def test_a_transient_400_is_retried(adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock) -> None:
    """A crash that LM Studio reports as a 400 is waited out, and the answer tells how many attempts it took."""
    lmstudio.fail(CRASHED, times=2)
    lmstudio.answer("back again")
    response = await adapter.generate_completion("hi")
    assert (response.text, response.attempts) == ("back again", 3)
    assert len(lmstudio.requests) == 3
    assert len(clock.slept) == 2
    assert clock.slept[0] <= 1
    assert clock.slept[1] <= 2


async def test_attempts_end(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """After max_retries the server's own error comes out, and says how often it was tried."""
    lmstudio.fail(CRASHED, times=10)
    with pytest.raises(ModelUnavailableError, match=r"Tried 3 times") as caught:
        await adapter.generate_completion("hi", max_retries=2)
    assert (caught.value.attempts, len(lmstudio.requests)) == (3, 3)


async def test_the_body_is_the_same_at_every_attempt(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A retry sends what was sent before, byte for byte."""
    lmstudio.fail(CRASHED, times=2)
    await adapter.generate_completion("hi")
    assert len({received.body for received in lmstudio.requests}) == 1


async def test_a_wait_past_the_deadline_fails_at_once(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """A back-off that would pass the deadline is not begun: the server's error comes out at once."""
    lmstudio.fail(Fail(429, {"error": "slow down"}, headers={"Retry-After": "61"}))
    with pytest.raises(ModelRateLimitedError) as caught:
        await adapter.generate_completion("hi")
    assert (clock.slept, caught.value.retry_after_ms) == ([], 61_000)


async def test_the_deadline_covers_all_attempts(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """Waits add up against one deadline, whatever max_retries would allow."""
    lmstudio.fail(Fail(429, {"error": "slow down"}, headers={"Retry-After": "25"}), times=10)
    with pytest.raises(ModelRateLimitedError):
        await adapter.generate_completion("hi", max_retries=10)
    assert clock.slept == [25, 25]


async def test_streams_are_retried_before_their_first_chunk(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A failure before the first meaningful chunk is invisible to whoever reads the stream."""
    lmstudio.fail(CRASHED)
    lmstudio.answer("fine")
    async with adapter.stream("hi") as stream:
        assert [chunk.chunk async for chunk in stream] == ["fine", ""]
    assert stream.response.attempts == 2


async def test_a_stream_that_has_begun_is_never_retried(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """After the first meaningful chunk there is no second output."""
    lmstudio.answer(Answer(chunks=["a", "b"], stream_fault=StreamFault("cut", after=1)))
    with pytest.raises(StreamInterruptedError):
        await adapter.stream("hi").whole()
    assert len(lmstudio.requests) == 1


@pytest.mark.parametrize(
    ("headers", "at_least", "at_most"),
    [
        ({"Retry-After": "2"}, 2, 2),
        ({"retry-after": "0.5"}, 0.5, 0.5),
        ({"Retry-After": "0"}, 0, 0),
        ({"Retry-After": "-3"}, 0, 0),
        ({"Retry-After": formatdate(time.time() + 3600, usegmt=True)}, 3000, 3600),
        ({"Retry-After": formatdate(time.time() - 3600, usegmt=True)}, 0, 0),
        ({"retry-after-ms": "1500"}, 1.5, 1.5),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5, 1.5),
        ({"retry-after-ms": "soon", "Retry-After": "9"}, 9, 9),
        ({"Retry-After": "soon"}, 0.001, 0.999),
        ({"Retry-After": "inf"}, 0.001, 0.999),
        ({"Retry-After": ""}, 0.001, 0.999),
    ],
    ids=lambda value: ",".join(f"{name}={text:.9}" for name, text in value.items()) if isinstance(value, dict) else "",
)
async def test_the_server_says_when(
    adapter: LMStudioAdapter,
    lmstudio: Simulator,
    clock: FakeClock,
    headers: dict[str, str],
    at_least: float,
    at_most: float,
) -> None:
    """Retry-After in seconds or as a date, or retry-after-ms, is how long is waited; all else is ignored."""
    lmstudio.fail(Fail(429, {"error": "slow down"}, headers=headers))
    response = await adapter.generate_completion("hi", timeout_ms=4_000_000)
    (slept,) = clock.slept
    assert at_least <= slept <= at_most
    assert response.attempts == 2


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_server_says_whether(adapter: LMStudioAdapter, lmstudio: Simulator, streaming: bool) -> None:
    """x-should-retry wins over what the status and the words mean; other values than true and false say nothing."""

    async def ask() -> int:
        before = len(lmstudio.requests)
        try:
            await (adapter.stream("hi").whole() if streaming else adapter.generate_completion("hi"))
        except LMStudioError:
            return before - len(lmstudio.requests)
        return len(lmstudio.requests) - before

    for status, should, attempts in ((400, "true", 2), (503, "false", -1), (503, "maybe", 2), (400, "maybe", -1)):
        lmstudio.fail(Fail(status, {"error": "odd"}, headers={"x-should-retry": should}))
        assert await ask() == attempts


async def test_back_offs_are_told(lmstudio: Simulator, clock: FakeClock) -> None:
    """Each wait is an event, before it begins: for which error, after which attempt, and how long."""
    events: list[Event] = []
    lmstudio.fail(CRASHED, times=2)
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, clock=clock, random=Ends(), observers=[events.append]
    ) as adapter:
        await adapter.generate_completion("hi")
    waits = [event for event in events if isinstance(event, BackingOff)]
    assert [(wait.attempt, wait.delay_ms, wait.error.status) for wait in waits] == [(1, 1000, 400), (2, 2000, 400)]
    assert {(wait.host, wait.model) for wait in waits} == {(lmstudio.url[7:-3], "llama3")}
    assert clock.slept == [1, 2]


async def test_a_wait_up_to_the_deadline_is_too_long(lmstudio: Simulator, clock: FakeClock) -> None:
    """A back-off that would end at the deadline is not begun; one that ends just before it is."""
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock) as adapter:
        await adapter.generate_completion("hi")  # the first call takes a moment to find out where to go
        lmstudio.fail(Fail(429, {"error": "slow down"}, headers={"retry-after-ms": "5000"}))
        with pytest.raises(ModelRateLimitedError) as caught:
            await adapter.generate_completion("hi", timeout_ms=5000)
        assert (clock.slept, caught.value.hint) == ([], ModelRateLimitedError.default_hint)
        lmstudio.fail(Fail(429, {"error": "slow down"}, headers={"retry-after-ms": "4999"}))
        assert (await adapter.generate_completion("hi", timeout_ms=5000)).attempts == 2
        assert clock.slept == [4.999]


async def test_a_full_queue_is_not_retried(lmstudio: Simulator, clock: FakeClock) -> None:
    """MODEL_BUSY is for the caller to ask again later; an attempt that was not sent is none."""
    send, hosts = layered(clock, fails_with(NetworkError("x"), ModelBusyError("full")))
    with pytest.raises(ModelBusyError) as caught:
        await send(request())
    assert (caught.value.attempts, len(clock.slept)) == (1, 1)
    send, hosts = layered(clock, fails_with(NetworkError("x"), CircuitOpenError("open")))
    with pytest.raises(CircuitOpenError) as refused:
        await send(request())
    assert refused.value.attempts == 1
    assert repr(hosts.of(request()).budget) == "<RetryBudget 9.0 retries left>"


# ── The budget ───────────────────────────────────────────────────────────────────────────────────────────────────────


def layered(
    clock: FakeClock,
    transport: Send,
    seed: int = 1,
    retry_policy: RetryPolicy | None = None,
    minimum_calls: int = 10**9,
) -> tuple[Send, Hosts]:
    """The retry layer alone, over a transport; and what it knows of hosts."""
    policy = retry_policy or RetryPolicy()

    async def list_models(_: str) -> list[ModelDetails]:
        return []

    hosts = Hosts(
        HostPolicy(
            breaker=BreakerPolicy(minimum_calls=minimum_calls),
            retry_budget=policy.budget,
            slots=None,
            clock=clock,
            random=Random(seed),
            tell=lambda _: None,
            background=Background(),
            list_models=list_models,
        )
    )
    hosts.use([HostSettings(url=HERE, name="here")])
    return pipe(retry(policy, clock, Random(seed), hosts, lambda _: None), transport=transport), hosts


def fails_with(*failures: LMStudioError) -> Send:
    left = list(failures)

    async def send(request: ChatRequest) -> Reply:
        await asyncio.sleep(0)
        if left:
            raise left.pop(0)
        return WholeReply(ANSWER, request)

    return send


async def test_a_spent_budget_ends_retries(lmstudio: Simulator, clock: FakeClock) -> None:
    """Without a token the server's own error comes out at once, and its hint says why there was no other attempt."""
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, clock=clock, initial_backoff=0, retry=RetryPolicy(budget=1.5)
    ) as adapter:
        lmstudio.fail(BUSY, times=2)
        with pytest.raises(ModelRateLimitedError) as caught:
            await adapter.generate_completion("hi")
        assert caught.value.attempts == 2
        assert caught.value.hint == (
            ModelRateLimitedError.default_hint + " It was not tried again: the retry budget of this host is spent."
        )
        lmstudio.fail(Fail(400, {"error": "odd"}, headers={"x-should-retry": "true"}))
        with pytest.raises(ModelInvalidRequestError) as odd:
            await adapter.generate_completion("hi")
        assert odd.value.hint == "It was not tried again: the retry budget of this host is spent."
        for _ in range(3):  # 0.5 are left, and each success earns 0.2
            await adapter.generate_completion("hi")
        lmstudio.fail(BUSY)
        assert (await adapter.generate_completion("hi")).attempts == 2


async def test_waiting_for_a_model_to_load_costs_nothing(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Asking whether a model is loaded by now spends none of the budget."""
    lmstudio.fail(LOADING, times=20)
    assert (await adapter.generate_completion("hi")).attempts == 21
    assert repr(adapter._core.hosts.all[0].budget) == "<RetryBudget 10.2 retries left>"  # one call succeeded


async def test_a_model_that_loads_moves_the_deadline(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """Once the server says that it loads the model, model_loading_timeout_ms come on top; once."""
    lmstudio.fail(Fail(503, {"error": {"message": "Loading model"}}, headers={"Retry-After": "4"}), times=20)
    with pytest.raises(ModelUnavailableError, match="Loading") as caught:
        await adapter.generate_completion("hi", timeout_ms=2000, model_loading_timeout_ms=20_000)
    assert (clock.slept, caught.value.attempts) == ([4] * 5, 6)


async def test_a_retry_that_is_not_made_is_not_paid_for(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A breaker that refuses, a deadline too near, an attempt too many: none takes a token."""
    lmstudio.fail(Fail(503, {"error": "down"}, headers={"Retry-After": "90"}))
    lmstudio.fail(Fail(503, {"error": "down"}), times=4)
    for _ in range(5):
        with pytest.raises(ModelUnavailableError) as caught:
            await adapter.generate_completion("hi", max_retries=3 if len(lmstudio.requests) in (0, 4) else 0)
    assert caught.value.hint.endswith(" It was not tried again: too many of the last requests failed.")
    assert adapter.breaker.refuses
    assert repr(adapter._core.hosts.all[0].budget) == "<RetryBudget 10.0 retries left>"


@pytest.mark.parametrize(("retries", "calls"), [(10, 1), (3, 3), (2, 5), (1, 10)])
async def test_a_lone_caller_has_all_its_retries(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock, retries: int, calls: int
) -> None:
    """On a fresh adapter the first ten retries are free, in one call or in several in a row."""
    lmstudio.fail(BUSY, times=100)
    for _ in range(calls):
        with pytest.raises(ModelRateLimitedError) as caught:
            await adapter.generate_completion("hi", max_retries=retries, initial_backoff=0)
        assert caught.value.attempts == retries + 1


async def test_the_reserve_is_back_after_a_minute(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock
) -> None:
    """Whoever calls once a minute always has his ten retries."""
    lmstudio.fail(BUSY, times=100)
    for _ in range(3):
        with pytest.raises(ModelRateLimitedError) as caught:
            await adapter.generate_completion("hi", max_retries=10, initial_backoff=0)
        assert caught.value.attempts == 11
        clock.now += 60


async def test_a_thousand_callers_do_not_bury_a_dead_host(clock: FakeClock) -> None:
    """A host that is down sees each caller once, and the reserve; nobody's retries multiply that."""
    sent = 0

    async def dead(_: ChatRequest) -> Reply:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0)
        raise NetworkError("refused")

    send, _ = layered(clock, dead)
    ends = await asyncio.gather(*(send(request(initial_backoff=0)) for _ in range(1000)), return_exceptions=True)
    assert {type(end) for end in ends} == {NetworkError}
    assert sent == 1010


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**9),
    calls=st.integers(1, 120),
    up=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    retries=st.integers(0, 5),
    backoff=st.sampled_from([0, 10, 1000]),
    reserve=st.integers(0, 30),
)
def test_amplification_has_a_bound(
    seed: int, calls: int, up: float, retries: int, backoff: float, reserve: int
) -> None:
    """Whatever share of attempts fails: at most a fifth more are sent than there are calls, beside the reserve."""
    clock, random, sent = FakeClock(), Random(seed), 0

    async def transport(made: ChatRequest) -> Reply:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0)
        if random.random() >= up:
            raise NetworkError("refused")
        return WholeReply(ANSWER, made)

    async def all_call() -> None:
        send, _ = layered(clock, transport, seed, RetryPolicy(budget=reserve))
        made = (request(max_retries=retries, initial_backoff=backoff) for _ in range(calls))
        await asyncio.gather(*map(send, made), return_exceptions=True)

    asyncio.run(all_call())
    assert calls <= sent <= min(calls * (1 + retries), 1.2 * calls + reserve + reserve * clock.now / 60 + 1e-6)


@settings(max_examples=100, deadline=None)
@given(
    failures=st.lists(
        st.builds(
            ModelRateLimitedError,
            st.just("x"),
            retry_after_ms=st.one_of(st.none(), st.floats(0, 40_000)),
        ),
        max_size=20,
    ),
    takes=st.floats(0, 5),
    limit=st.floats(0.001, 60),
    seed=st.integers(0, 10**9),
)
def test_all_attempts_begin_before_the_deadline(
    failures: list[LMStudioError], takes: float, limit: float, seed: int
) -> None:
    """However long attempts and waits take, none begins at the deadline or after it."""
    clock, begun = FakeClock(), list[float]()
    answer = fails_with(*failures)

    async def transport(made: ChatRequest) -> Reply:
        begun.append(clock.now)
        clock.now += takes
        return await answer(made)

    async def attempts() -> int:
        send, _ = layered(clock, transport, seed, RetryPolicy(budget=100))
        made = request(max_retries=50)
        made.deadline = limit
        try:
            return (await send(made)).attempts
        except ModelRateLimitedError as error:
            return error.attempts

    assert asyncio.run(attempts()) == len(begun)
    assert all(began < limit for began in begun)
    assert clock.now < limit + takes
    assert sum(clock.slept) + takes * len(begun) == pytest.approx(clock.now)
