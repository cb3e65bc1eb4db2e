from __future__ import annotations

import asyncio
from typing import Any

import pytest

from neuroroute import LMStudioAdapter, LMStudioError, ModelBusyError
from neuroroute.pipe import eventreply, gate
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault


async def most_at_once(adapter: LMStudioAdapter, lmstudio: Simulator, calls: int) -> int:
    most = 0

    async def answer(_: Any) -> Answer:
        nonlocal most
        await asyncio.sleep(0.02)
        most = max(most, lmstudio.running("llama3") + lmstudio.queued("llama3"))
        return Answer("hello")

    lmstudio.script(answer)
    await asyncio.gather(*(adapter.generate_completion("hi") for _ in range(calls)))
    return most


@pytest.mark.parametrize(("slots", "expected"), [(None, 4), (2, 2), (9, 9)])
async def test_a_model_gets_as_many_requests_as_it_has_slots(
    lmstudio: Simulator, slots: int | None, expected: int
) -> None:
    """No more requests are sent at once than the host takes for a model; by default four, as LM Studio has it."""
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=slots) as adapter:
        assert await most_at_once(adapter, lmstudio, 12) == expected


async def test_a_full_queue_refuses_at_once(lmstudio: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the queue's end a call fails at once, is not sent, and is not retried."""
    monkeypatch.setattr(gate, "MAX_WAITING", 2)
    lmstudio.fail(Fail(silent="hang"))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1) as adapter:
        tasks = [asyncio.create_task(adapter.generate_completion("hi")) for _ in range(3)]
        await lmstudio.wait_for_requests(1)
        with pytest.raises(ModelBusyError, match="2 requests wait") as caught:
            await adapter.generate_completion("hi")
        assert (caught.value.attempts, caught.value.retryable) == (0, True)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert (await adapter.generate_completion("hi")).text == "You said: hi"


@pytest.mark.parametrize("how", ["read", "left", "failed"])
async def test_a_stream_holds_its_slot_until_it_is_over(lmstudio: Simulator, how: str) -> None:
    """A stream gives its slot back when it has ended, was left, or has failed; not before."""
    lmstudio.answer(Answer(chunks=["a", "b", "c", "d", "e"], delay_between=0.02))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1) as adapter:
        stream = adapter.stream("hi", idle_timeout_ms=1 if how == "failed" else None)
        await anext(stream)
        waiting = asyncio.create_task(adapter.generate_completion("hi"))
        await asyncio.sleep(0.005)
        assert len(lmstudio.requests) == 1
        if how == "left":
            await stream.aclose()
        elif how == "read":
            await stream.whole()
        else:
            with pytest.raises(TimeoutError):
                await stream.whole()
        assert (await asyncio.wait_for(waiting, 1)).text == "You said: hi"


async def test_models_do_not_wait_for_each_other(lmstudio: Simulator) -> None:
    """Slots are a model's: another model is answered while one is busy."""
    lmstudio.fail(Fail(silent="hang"))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1) as adapter:
        busy = asyncio.create_task(adapter.generate_completion("hi"))
        await lmstudio.wait_for_requests(1)
        assert (await adapter.with_model("qwen3-8b").generate_completion("hi")).text
        busy.cancel()
        await asyncio.wait([busy])


@pytest.mark.parametrize("ends", ["whole", "cut", "total"])
async def test_a_stream_that_nobody_reads_frees_its_slot(
    lmstudio: Simulator, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Once the server is done with an answer its slot is free, though its reader sleeps; what came is still there."""
    monkeypatch.setattr(eventreply, "UNREAD_LOOK_SECONDS", 0.02)
    fault = StreamFault("reset", after=3) if ends == "cut" else None
    chunks = ["a", "b", "c"] if ends != "total" else ["a", *["b"] * 1000]
    lmstudio.answer(Answer(chunks=chunks, stream_fault=fault, delay_between=0.01))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1) as adapter:
        stream = adapter.stream("hi", total_timeout_ms=150 if ends == "total" else 60_000)
        texts = [(await anext(stream)).chunk]
        assert (await adapter.generate_completion("again", timeout_ms=3000)).text == "You said: again"
        if ends == "whole":
            texts += [chunk.chunk async for chunk in stream]
            assert "".join(texts) == "abc"
        else:
            with pytest.raises(LMStudioError) as caught:
                texts += [chunk.chunk async for chunk in stream]
            assert caught.value.partial is not None
            assert caught.value.partial.text.startswith("a")
