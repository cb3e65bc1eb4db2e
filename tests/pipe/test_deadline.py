from __future__ import annotations

import asyncio
import time

import pytest

from neuroroute import LMStudioAdapter, ModelBusyError, ModelTimeoutError, ModelUnavailableError
from neuroroute.simulator import Answer, Fail, Simulator


@pytest.mark.parametrize(("streaming", "awaited"), [(False, "the answer"), (True, "the first chunk")])
async def test_every_wait_ends(adapter: LMStudioAdapter, lmstudio: Simulator, streaming: bool, awaited: str) -> None:
    """timeout_ms bounds a whole answer, and a stream's wait for its first chunk; the error says which."""
    lmstudio.fail(Fail(silent="hang"))
    begun = time.monotonic()
    with pytest.raises(ModelTimeoutError, match=f"{awaited} did not come within timeout_ms=80"):
        if streaming:
            await adapter.stream("hi", timeout_ms=80).whole()
        else:
            await adapter.generate_completion("hi", timeout_ms=80)
    assert time.monotonic() - begun < 1
    assert await asyncio.to_thread(lmstudio.requests[0].ended.wait, 1)


async def test_a_stream_that_has_begun_is_not_bound_by_timeout_ms(
    adapter: LMStudioAdapter, lmstudio: Simulator
) -> None:
    """Once the first chunk is here, an answer may take longer than timeout_ms."""
    lmstudio.answer(Answer(chunks=["a", "b", "c", "d"], delay_between=0.06))
    async with adapter.stream("hi", timeout_ms=150) as stream:
        assert (await stream.whole()).text == "abcd"


async def test_a_role_alone_does_not_stop_the_clock(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A delta that says only who speaks is no first chunk: a server that stalls after it is given up in time."""
    role = b'data: {"model":"llama3","choices":[{"delta":{"role":"assistant"}}]}\n\n'
    lmstudio.answer(Answer(raw_chunks=[role, b": x\n\n"], content_type="text/event-stream", delay_between=5))
    with pytest.raises(ModelTimeoutError, match="the first chunk"):
        await adapter.stream("hi", timeout_ms=100).whole()


async def test_the_deadline_tells_what_failed_before(lmstudio: Simulator) -> None:
    """When the time is up in a later attempt, the error counts the attempts and is caused by the last failure."""
    lmstudio.fail(Fail(400, {"error": "Model reloaded."}))
    lmstudio.fail(Fail(silent="hang"))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, initial_backoff=0) as adapter:
        with pytest.raises(ModelTimeoutError) as caught:
            await adapter.generate_completion("hi", timeout_ms=150)
    assert caught.value.attempts == 2
    assert isinstance(caught.value.__cause__, ModelUnavailableError)


async def test_one_attempts_wait_for_the_first_chunk(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """first_token_timeout_ms ends an attempt, not the call: the next attempt may answer."""
    lmstudio.fail(Fail(silent="hang"))
    lmstudio.answer("quick")
    async with adapter.stream("hi", first_token_timeout_ms=60) as stream:
        assert (await stream.whole()).text == "quick"
    assert stream.response.attempts == 2


async def test_a_caller_s_own_timeout_stays_the_callers(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """asyncio.timeout around a call raises TimeoutError, not an error of ours."""
    lmstudio.fail(Fail(silent="hang"))
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05):
            await adapter.generate_completion("hi")
    assert not isinstance(caught.value, ModelTimeoutError)


async def test_a_stream_s_whole_length_bounds_its_beginning(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """total_timeout_ms counts from the call, so a first chunk that comes later comes too late."""
    lmstudio.answer(Answer("late", delay=5))
    with pytest.raises(ModelTimeoutError, match="first chunk did not come within total_timeout_ms=100"):
        await adapter.stream("hi", total_timeout_ms=100).whole()


async def test_waiting_for_a_slot_is_not_the_server_s_fault(lmstudio: Simulator) -> None:
    """A request that got no slot in time was never sent: it is MODEL_BUSY, with no attempt."""
    lmstudio.fail(Fail(silent="hang"))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1) as adapter:
        first = asyncio.create_task(adapter.generate_completion("hi"))
        await lmstudio.wait_for_requests(1)
        with pytest.raises(ModelBusyError, match="no slot for this model came free within timeout_ms=50") as caught:
            await adapter.generate_completion("hi", timeout_ms=50)
        first.cancel()
    chats = [received for received in lmstudio.requests if received.method == "POST"]
    assert (caught.value.attempts, len(chats), caught.value.details["queue_length"]) == (0, 1, 0)
