from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conftest import FakeClock
from neuroroute import LMStudioAdapter, LMStudioError, ModelBusyError, ModelTimeoutError, ModelUnavailableError
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


def chats(lmstudio: Simulator) -> list[str]:
    """The prompts that reached the server, in order."""
    return [received.json["messages"][-1]["content"] for received in lmstudio.requests if received.method == "POST"]


async def asked(*calls: Any) -> list[asyncio.Task[Any]]:
    """Calls that have come to the queue, in this order."""
    tasks = [asyncio.create_task(call) for call in calls]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_a_call_that_would_wait_too_long_fails_at_once(lmstudio: Simulator, clock: FakeClock) -> None:
    """Where the slots are known to be held longer than there is time, MODEL_BUSY says so and nothing is sent."""

    def answer(_: Any) -> str:
        clock.now += 10
        return "at last"

    lmstudio.script(answer)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1, clock=clock) as adapter:
        for _ in range(4):
            await adapter.generate_completion("hi")
        lmstudio.fail(Fail(silent="hang"))
        ahead = await asked(*(adapter.generate_completion("ahead") for _ in range(2)))
        await lmstudio.wait_for_requests(5)
        with pytest.raises(ModelBusyError) as caught:
            await adapter.generate_completion("too late", timeout_ms=19_999)
        error = caught.value
        assert error.details == {"queue_length": 1, "expected_wait_ms": 20_000}
        assert error.message == "1 requests wait for this model's 1 slots, for about 20000 ms; 19999 ms are left"
        assert (error.attempts, error.retryable, clock.slept) == (0, True, [])
        ahead += await asked(
            adapter.generate_completion("in time", timeout_ms=20_000),
            adapter.generate_completion("low", timeout_ms=31_000, priority="low"),
            adapter.generate_completion("behind low", timeout_ms=31_000),
        )
        assert not any(task.done() for task in ahead)
        ahead[0].cancel()
        await asyncio.wait(ahead)
    assert chats(lmstudio)[5:] == ["ahead", "in time", "behind low", "low"]


async def test_priorities(lmstudio: Simulator) -> None:
    """Calls of low priority are sent after the others, each kind in the order it came."""
    lmstudio.answer(Answer("hello", delay=0.02))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1) as adapter:
        names = ["first", "low a", "a", "low b", "b"]
        calls = (
            adapter.generate_completion(name, priority="low" if name.startswith("low") else "normal") for name in names
        )
        await asyncio.gather(*await asked(*calls))
    assert chats(lmstudio) == ["first", "a", "b", "low a", "low b"]


async def test_nobody_is_lost_under_cancellation(lmstudio: Simulator) -> None:
    """However many leave the queue, those who stay are all answered, in order, and every slot is free again."""
    lmstudio.script(lambda _: Answer("hello", delay=0.002))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=2) as adapter:
        tasks = await asked(*(adapter.generate_completion(str(number)) for number in range(40)))
        for number in range(0, 40, 3):
            await asyncio.sleep(0.001)
            tasks[number].cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        stayed = [number for number in range(40) if number % 3]
        assert all(not isinstance(ends[number], BaseException) for number in stayed)
        gate = adapter._core.hosts.all[0].model("llama3").gate
        assert repr(gate) == "<Gate 0 of 2 slots taken, 0 waiting>"
    sent = [int(prompt) for prompt in chats(lmstudio)]
    order = [number for number in sent if number % 3]
    assert sorted(order) == stayed
    assert all(place - 2 <= stayed.index(number) <= place + 2 for place, number in enumerate(order))


async def test_a_failed_attempt_frees_its_slot(lmstudio: Simulator, clock: FakeClock) -> None:
    """While a call waits to be tried again it holds no slot; it queues anew."""
    lmstudio.fail(Fail(503, {"error": "down"}, delay=0.02))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1, clock=clock) as adapter:
        await asyncio.gather(*await asked(*(adapter.generate_completion(name) for name in ("fails", "waits"))))
        assert repr(adapter._core.hosts.all[0].model("llama3").gate) == "<Gate 0 of 1 slots taken, 0 waiting>"
    assert chats(lmstudio) == ["fails", "waits", "fails"]


async def test_the_number_of_slots_is_learnt(lmstudio: Simulator) -> None:
    """A second request at once has the server's own number asked, in the background, once a minute at most."""
    lmstudio.models[0].parallel = 7
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        await adapter.generate_completion("alone")
        assert {received.method for received in lmstudio.requests} == {"POST"}
        await asyncio.gather(*(adapter.generate_completion("two") for _ in range(2)))
        await asyncio.sleep(0.02)
        lmstudio.models[0].parallel = 3
        assert await most_at_once(adapter, lmstudio, 20) == 7
    assert [received.path for received in lmstudio.requests if received.method == "GET"] == ["/api/v1/models"]


async def test_slots_that_were_given_are_not_asked_for(lmstudio: Simulator) -> None:
    """With slots= no listing is asked, and what one says does not change their number."""
    lmstudio.models[0].parallel = 7
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=2) as adapter:
        assert await most_at_once(adapter, lmstudio, 6) == 2
        assert {received.method for received in lmstudio.requests} == {"POST"}
        await adapter._core.hosts.all[0].listings.details("llama3")
        assert await most_at_once(adapter, lmstudio, 6) == 2


async def test_a_listing_that_fails_leaves_the_slots(lmstudio: Simulator) -> None:
    """A server without listings is taken to have four slots, and nothing fails for it."""
    for path in ("/api/v1/models", "/api/v0/models", "/v1/models"):
        lmstudio.fail(Fail(500), times=9, path=path)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        assert await most_at_once(adapter, lmstudio, 12) == 4


async def test_a_queue_that_is_sent_away_leaves_those_inside(lmstudio: Simulator) -> None:
    """Sent away, those who wait fail; who was sent already has his answer."""
    lmstudio.answer(Answer("hello", delay=0.02))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1) as adapter:
        inside, *waiting = await asked(*(adapter.generate_completion("hi") for _ in range(3)))
        adapter._core.hosts.all[0].model("llama3").gate.send_away(
            lambda: ModelUnavailableError("gone", retryable=False)
        )
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [ModelUnavailableError] * 2
        assert (await inside).text == "hello"


async def test_a_wait_for_a_slot_and_one_for_an_answer_are_told_apart(lmstudio: Simulator) -> None:
    """Late in the queue a call is MODEL_BUSY, with how many were ahead; late with a slot it is MODEL_TIMEOUT."""
    lmstudio.fail(Fail(silent="hang"), times=2)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=1, max_retries=0) as adapter:
        calls = await asked(
            adapter.generate_completion("holds", timeout_ms=30),
            adapter.generate_completion("has its slot then", timeout_ms=60),
            adapter.generate_completion("has none", timeout_ms=40),
        )
        _, second, third = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(third, ModelBusyError)
    assert (third.details, third.attempts) == ({"queue_length": 1}, 0)
    assert isinstance(second, ModelTimeoutError)
    assert second.attempts == 1
