"""Streams of turns and of tools that are left, or fail, where another task is at work."""

from __future__ import annotations

import asyncio

import pytest

from conftest import chats
from neuroroute import LMStudioAdapter, ModelBusyError, StreamInterruptedError, SyncLMStudioAdapter, ToolCall, tool
from neuroroute.simulator import Answer, Simulator

started: list[asyncio.Event] = []


@tool
async def waits() -> str:
    """Waits for ever."""
    started[-1].set()
    await asyncio.Event().wait()
    return "never"


async def read(stream: object) -> str:
    return "".join([chunk.chunk async for chunk in stream])  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["turn", "tools", "turn with tools"])
async def test_a_stream_can_be_left_by_another_task(adapter: LMStudioAdapter, lmstudio: Simulator, kind: str) -> None:
    """Who reads is told that the stream was left; the tool that ran is cancelled, the conversation goes on."""
    chat = adapter.conversation()
    started.append(asyncio.Event())
    if kind == "turn":
        lmstudio.answer(Answer(chunks=["x"] * 500, delay_between=0.02))
        stream = chat.stream("go")
        await anext(stream)
    else:
        lmstudio.answer(Answer("", tool_calls=[("waits", {})]))
        made = chat.stream_tools if "turn" in kind else adapter.stream_tools
        stream = made("go", tools=[waits], max_rounds=1)  # type: ignore[assignment]
    reading = asyncio.create_task(read(stream))
    if kind == "turn":
        await asyncio.sleep(0.05)
    else:
        await started[-1].wait()
    await stream.aclose()
    with pytest.raises(StreamInterruptedError):
        await reading
    assert chat.messages == ()
    assert (await chat.ask("and now?")).text == "You said: and now?"


async def test_a_turn_left_while_it_waits_never_begins(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A turn that is left in line asks nothing."""
    lmstudio.answer(Answer(chunks=["x"] * 3, delay_between=0.02))
    chat = adapter.conversation(system_message=None)
    first = chat.stream("one")
    await anext(first)
    second = chat.stream("two")
    reading = asyncio.create_task(read(second))
    await asyncio.sleep(0.01)
    await second.aclose()
    await read(first)
    with pytest.raises(StreamInterruptedError, match="before it began"):
        await reading
    assert [message.text for message in chat.messages] == ["one", "xxx"]
    assert [request.method for request in lmstudio.requests] == ["GET", "POST"]


async def test_a_turn_that_never_ends_does_not_hold_the_next_for_ever(
    adapter: LMStudioAdapter, lmstudio: Simulator
) -> None:
    """A forgotten stream makes the next turn fail in the time a request may take, and say why."""
    lmstudio.answer(Answer(chunks=["x"] * 3, delay_between=0.01))
    chat = adapter.conversation()
    forgotten = chat.stream("one")
    await anext(forgotten)
    with pytest.raises(ModelBusyError, match="the turn before has not ended"):
        await chat.ask("two", timeout_ms=30)
    await forgotten.aclose()


async def test_a_typed_answer_grows_in_a_turn_too(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """partial_value is there in a conversation's stream, and None without a response_format."""
    lmstudio.answer('{"city": "Paris"}')
    chat = adapter.conversation()
    async with chat.stream("Where?", response_format=dict) as stream:
        async for _ in stream:
            pass
    assert stream.partial_value == {"city": "Paris"}
    lmstudio.answer('{"city": "Paris"}')
    async with chat.stream("Where?") as plain:
        async for _ in plain:
            pass
    assert plain.partial_value is None


async def test_a_hook_that_hangs_is_left_too(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Leaving a stream ends the wait for a hook, and the next turn is taken."""
    lmstudio.answer(Answer("", tool_calls=[("waits", {})]))
    asked = asyncio.Event()

    async def hangs(_: ToolCall) -> None:
        asked.set()
        await asyncio.Event().wait()

    chat = adapter.conversation()
    stream = chat.stream_tools("go", tools=[waits], max_rounds=1, on_tool_call=hangs)
    reading = asyncio.create_task(read(stream))
    await asked.wait()
    await stream.aclose()
    with pytest.raises(StreamInterruptedError):
        await reading
    assert (await chat.ask("and now?")).text == "You said: and now?"


async def test_after_leaving_nothing_is_asked(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A tool that does not heed its cancellation is waited for, but its result goes nowhere."""
    began = asyncio.Event()

    async def stubborn() -> str:
        """Stays."""
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "still here"
        return ""

    lmstudio.answer(Answer("", tool_calls=[("stubborn", {})]))
    stream = adapter.stream_tools("go", tools=[stubborn], max_rounds=1)
    reading = asyncio.create_task(read(stream))
    await began.wait()
    await stream.aclose()
    with pytest.raises(StreamInterruptedError):
        await reading
    assert len(chats(lmstudio)) == 1


async def test_with_its_last_chunk_a_turn_is_over(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Who takes the chunk that is done may go on, though the stream was never left."""
    chat = adapter.conversation()
    stream = chat.stream("one")
    async for chunk in stream:
        if chunk.done:
            break
    assert (await chat.ask("two")).text == "You said: two"


async def test_a_turn_that_did_not_begin_is_no_empty_answer(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Read again, it says that it did not begin."""
    stream = adapter.conversation().stream("one")
    await stream.aclose()
    with pytest.raises(StreamInterruptedError, match="before it began"):
        await read(stream)


def test_closing_the_adapter_leaves_the_turn(lmstudio: Simulator) -> None:
    """A blocking adapter that is closed under a stream leaves its conversation free for the next turn."""
    lmstudio.answer(Answer(chunks=["x"] * 50, delay_between=0.01))
    with SyncLMStudioAdapter("llama3", base_url=lmstudio.url) as sync:
        chat = sync.conversation()
        stream = chat.stream("one")
        next(stream)
        sync.close()
        assert chat.ask("two").text == "You said: two"
