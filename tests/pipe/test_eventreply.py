from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable

import pytest

from neuroroute import (
    LMStudioAdapter,
    LMStudioError,
    MalformedResponseError,
    ModelEmptyResponseError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    StreamInterruptedError,
)
from neuroroute.pipe import eventreply
from neuroroute.simulator import Answer, Simulator, StreamFault

SIX = ["a", "b", "c", "d", "e", "f"]


async def read(adapter: LMStudioAdapter) -> str:
    return (await adapter.stream("hi").whole()).text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (StreamFault("cut", after=3), StreamInterruptedError),
        (StreamFault("reset", after=3), StreamInterruptedError),
        (StreamFault("end", after=3), StreamInterruptedError),
        (StreamFault("error", after=3), ModelUnavailableError),
        (StreamFault("error", after=3, message="odd", done=True), StreamInterruptedError),
    ],
    ids=lambda value: value.kind if isinstance(value, StreamFault) else "",
)
async def test_a_stream_that_breaks_off(
    adapter: LMStudioAdapter, lmstudio: Simulator, fault: StreamFault, kind: type[LMStudioError]
) -> None:
    """A stream without an end is an error with the text that came, is final, and is never sent again."""
    lmstudio.answer(Answer(chunks=SIX, stream_fault=fault, delay_between=0.002))
    with pytest.raises(kind) as caught:
        await read(adapter)
    error = caught.value
    assert error.partial is not None
    assert (error.partial.text, error.partial.finish_reason) == ("abc", None)
    assert (error.retryable, error.attempts, error.model, len(lmstudio.requests)) == (False, 1, "llama3", 1)


@pytest.mark.parametrize("kind", ["cut", "reset", "end"])
async def test_a_stream_that_ends_before_its_first_chunk(
    adapter: LMStudioAdapter, lmstudio: Simulator, kind: str
) -> None:
    """Between its headers and its first chunk a stream that ends is a network error, and retried."""
    lmstudio.answer(Answer(chunks=SIX, stream_fault=StreamFault(kind, after=0)))  # type: ignore[arg-type]
    with pytest.raises(NetworkError):
        await adapter.stream("hi", max_retries=0).whole()
    lmstudio.answer(Answer(chunks=SIX, stream_fault=StreamFault(kind, after=0)))  # type: ignore[arg-type]
    assert await read(adapter) == "You said: hi"


@pytest.mark.parametrize("kind", ["no_finish", "no_done"])
async def test_either_sign_of_the_end_is_enough(adapter: LMStudioAdapter, lmstudio: Simulator, kind: str) -> None:
    """[DONE] alone, or a finish reason alone, ends a stream."""
    lmstudio.answer(Answer(chunks=SIX, stream_fault=StreamFault(kind)))  # type: ignore[arg-type]
    assert await read(adapter) == "abcdef"


async def test_an_event_that_does_not_decode(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Garbage after the first chunk is a malformed answer with the partial text."""
    chunk = b'data: {"model":"llama3","choices":[{"delta":{"content":"a"}}]}\n\n'
    lmstudio.answer(Answer(raw_chunks=[chunk + b"data: {oops\n\n"], content_type="text/event-stream"))
    with pytest.raises(MalformedResponseError) as caught:
        await read(adapter)
    assert caught.value.partial is not None
    assert (caught.value.partial.text, caught.value.retryable) == ("a", False)


async def test_an_empty_stream(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A stream that ends properly without anything in it is an empty response, retried once."""
    lmstudio.answer("", times=2)
    with pytest.raises(ModelEmptyResponseError):
        await read(adapter)
    assert len(lmstudio.requests) == 2


async def test_silence_has_a_limit(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A stream that falls silent is given up after idle_timeout_ms, with what came."""
    lmstudio.answer(Answer(chunks=SIX, stream_fault=StreamFault("hang", after=2)))
    with pytest.raises(ModelTimeoutError, match="silent for idle_timeout_ms=80") as caught:
        await adapter.stream("hi", idle_timeout_ms=80).whole()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "ab"


async def test_comments_are_signs_of_life(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A comment is no chunk, but it ends the silence."""
    head = b'data: {"model":"llama3","choices":[{"delta":{"content":"a"}}]}\n\n'
    tail = b'data: {"model":"llama3","choices":[{"delta":{"content":"b"},"finish_reason":"stop"}]}\n\n'
    chunks = [head, *[b": alive\n\n"] * 6, tail]
    lmstudio.answer(Answer(raw_chunks=chunks, content_type="text/event-stream", delay_between=0.05))
    assert (await adapter.stream("hi", idle_timeout_ms=200).whole()).text == "ab"


async def test_a_slow_reader_is_not_silence(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Silence is what the server keeps, not what the caller does between two chunks."""
    lmstudio.answer(Answer(chunks=SIX))
    texts = []
    async for chunk in adapter.stream("hi", idle_timeout_ms=60):
        texts.append(chunk.chunk)
        await asyncio.sleep(0.08 if len(texts) == 2 else 0)
    assert "".join(texts) == "abcdef"


async def test_a_stream_s_length_has_a_limit(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A stream that never ends is given up after total_timeout_ms."""
    lmstudio.answer(Answer(chunks=["x"] * 1000, delay_between=0.01))
    with pytest.raises(ModelTimeoutError, match="longer than total_timeout_ms=120"):
        await adapter.stream("hi", total_timeout_ms=120).whole()


async def test_after_the_finish_reason_nothing_is_waited_for_long(
    adapter: LMStudioAdapter, lmstudio: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that keeps the connection open after its finish reason does not hold the answer back."""
    monkeypatch.setattr(eventreply, "AFTER_FINISH_SECONDS", 0.05)
    end = b'data: {"model":"llama3","choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    lmstudio.answer(
        Answer(
            raw_chunks=[end, b": x\n\n"], content_type="text/event-stream", stream_fault=StreamFault("hang", after=1)
        )
    )
    response = await adapter.stream("hi").whole()
    assert (response.text, response.finish_reason) == ("a", "stop")


async def test_after_done_the_connection_is_closed_if_the_body_goes_on(
    adapter: LMStudioAdapter, lmstudio: Simulator
) -> None:
    """What follows [DONE] is not read for long: the answer is whole, the connection is given up."""
    chunk = b'data: {"model":"llama3","choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    lmstudio.answer(
        Answer(
            raw_chunks=[chunk, b": x\n\n"], content_type="text/event-stream", stream_fault=StreamFault("hang", after=1)
        )
    )
    begun = time.monotonic()
    assert (await adapter.stream("hi").whole()).text == "a"
    assert time.monotonic() - begun < 1
    assert await asyncio.to_thread(lmstudio.requests[0].ended.wait, 1)


async def leave_by_aclose(adapter: LMStudioAdapter) -> None:
    async with adapter.stream("hi") as stream:
        async for _ in stream:
            break


async def leave_by_break(adapter: LMStudioAdapter) -> None:
    async for _ in adapter.generate_completion_stream("hi"):
        break
    gc.collect()


async def leave_by_cancelling(adapter: LMStudioAdapter) -> None:
    task = asyncio.create_task(read(adapter))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def leave_by_raising(adapter: LMStudioAdapter) -> None:
    with pytest.raises(ZeroDivisionError):
        async with adapter.stream("hi") as stream:
            async for _ in stream:
                raise ZeroDivisionError


@pytest.mark.parametrize("leave", [leave_by_aclose, leave_by_break, leave_by_cancelling, leave_by_raising])
async def test_leaving_closes_the_socket(
    adapter: LMStudioAdapter, lmstudio: Simulator, leave: Callable[[LMStudioAdapter], object]
) -> None:
    """However a stream is left, the server sees it within 100 ms and can stop generating; the next call works."""
    lmstudio.answer(Answer(chunks=["x"] * 1000, delay_between=0.01))
    await leave(adapter)  # type: ignore[misc]
    left = time.monotonic()
    assert await asyncio.to_thread(lmstudio.requests[0].ended.wait, 1)
    assert time.monotonic() - left < 0.1
    assert lmstudio.requests[0].closed_early
    assert (await adapter.generate_completion("again")).text == "You said: again"


async def test_no_cancellation_is_swallowed(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Of 60 cancellations at random moments each ends its task as cancelled."""
    lmstudio.script(lambda _: Answer(chunks=["x"] * 60, delay_between=0.0005))
    chance = random.Random(1)
    for _ in range(60):
        task = asyncio.create_task(read(adapter))
        await asyncio.sleep(chance.uniform(0.001, 0.02))
        task.cancel()
        await asyncio.wait([task], timeout=3)
        assert task.cancelled()


async def test_what_had_come_before_a_break_is_not_lost(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A reader that was slow while the connection broke still gets every chunk that had arrived, then the error."""
    lmstudio.answer(Answer(chunks=SIX, stream_fault=StreamFault("reset", after=5), delay_between=0.01))
    texts: list[str] = []
    with pytest.raises(StreamInterruptedError) as caught:
        async for chunk in adapter.stream("hi"):
            texts.append(chunk.chunk)
            if len(texts) == 1:
                await asyncio.to_thread(lmstudio.requests[0].ended.wait, 1)
                await asyncio.sleep(0.02)
    assert "".join(texts) == "abcde"
    assert caught.value.partial is not None
    assert caught.value.partial.text == "abcde"


async def test_text_that_was_held_back_is_in_the_partial_answer(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What might have become a tag when the stream broke is text that came."""
    chunks = ["<think>why", "</thi", "x"]
    lmstudio.answer(Answer(chunks=chunks, stream_fault=StreamFault("cut", after=2), delay_between=0.01))
    with pytest.raises(StreamInterruptedError) as caught:
        await read(adapter)
    assert caught.value.partial is not None
    assert caught.value.partial.reasoning == "why</thi"


async def test_a_stream_that_is_closed_with_its_adapter_is_no_whole_answer(
    adapter: LMStudioAdapter, lmstudio: Simulator
) -> None:
    """aclose() ends open streams: they raise with what had come, their sockets are closed and their slots free."""
    lmstudio.answer(Answer(chunks=["x"] * 1000, delay_between=0.01))
    stream = adapter.stream("hi")
    first = await anext(stream)
    await adapter.aclose()
    assert await asyncio.to_thread(lmstudio.requests[0].ended.wait, 1)
    with pytest.raises(StreamInterruptedError, match="adapter was closed") as caught:
        await stream.whole()
    assert caught.value.partial is not None
    assert caught.value.partial.text.startswith(first.chunk)


async def test_a_finish_reason_without_content_is_not_waited_on(
    adapter: LMStudioAdapter, lmstudio: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that ended before it began is known to be empty at once, though the server keeps the connection."""
    monkeypatch.setattr(eventreply, "AFTER_FINISH_SECONDS", 0.05)
    end = b'data: {"model":"llama3","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    hangs = StreamFault("hang", after=1)
    lmstudio.answer(Answer(raw_chunks=[end, b": x\n\n"], content_type="text/event-stream", stream_fault=hangs))
    begun = time.monotonic()
    with pytest.raises(ModelEmptyResponseError):
        await adapter.stream("hi", max_retries=0).whole()
    assert time.monotonic() - begun < 2


async def test_an_end_that_was_cut_short_is_an_end(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A finish reason counts even when the blank line after it never came."""
    body = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n'
    lmstudio.answer(Answer(raw_chunks=[body], content_type="text/event-stream"))
    assert await read(adapter) == "a"


async def test_the_limit_that_passed_is_named(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A whole answer that is streamed is bound by timeout_ms, and says so."""
    event = b'data: {"model":"llama3","choices":[{"delta":{"content":"a"}}]}\n\n'
    lmstudio.answer(Answer(raw_chunks=[event] * 1000, content_type="text/event-stream", delay_between=0.01))
    with pytest.raises(ModelTimeoutError, match="longer than timeout_ms=200"):
        await adapter.generate_completion("hi", timeout_ms=200)
