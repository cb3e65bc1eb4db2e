from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import FakeClock
from neuroroute import (
    LMStudioAdapter,
    LMStudioError,
    MalformedResponseError,
    ModelEmptyResponseError,
    ModelInvalidRequestError,
    ModelRateLimitedError,
    ModelUnavailableError,
    NetworkError,
    RetryPolicy,
)
from neuroroute.options import DEFAULTS
from neuroroute.pipe.retry import delay_after
from neuroroute.requests import ChatRequest
from neuroroute.simulator import Fail, Simulator

CRASHED = Fail(400, {"error": "The model has crashed without additional information. (Exit code: null)"})


def request(streaming: bool = False, **options: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=[], body=b"", streaming=streaming, options={**DEFAULTS, **options}, notes=[])


def delay(*failures: LMStudioError, policy: RetryPolicy | None = None, **options: Any) -> float | None:
    return delay_after(failures, request(**options), policy or RetryPolicy(), Random(1))


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
