from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from conftest import FakeClock, chats, only
from neuroroute import (
    Event,
    LMStudioAdapter,
    ModelInvalidRequestError,
    ModelUnavailableError,
    RetryPolicy,
    StreamContinued,
    StreamInterruptedError,
)
from neuroroute.pipe.continuing import GO_ON
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BROKEN = Answer(chunks=["one ", "two ", "three"], stream_fault=StreamFault("cut", after=2))


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def going_on(lmstudio: Simulator, clock: FakeClock, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    async with LMStudioAdapter(
        "llama3",
        base_url=lmstudio.url,
        clock=clock,
        random=Random(1),
        continue_stream=True,
        observers=[only(events, StreamContinued)],
    ) as made:
        yield made


def sent(lmstudio: Simulator, index: int) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = lmstudio.requests[index].json["messages"]
    return messages


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("fault", ["cut", "reset", "end", "error"])
async def test_a_broken_stream_goes_on(
    lmstudio: Simulator, going_on: LMStudioAdapter, events: list[Event], fault: Any, whole: bool
) -> None:
    """The model is asked to go on from the text that came; who reads sees one answer, and a note."""
    lmstudio.answer(Answer(chunks=["one ", "two ", "three"], stream_fault=StreamFault(fault, after=2)))
    lmstudio.answer(Answer(chunks=["three ", "four"]))
    stream = going_on.stream("Count.")
    if not whole:
        assert [chunk.chunk async for chunk in stream] == ["one ", "two ", "three ", "four", ""]
    response = await stream.whole()
    assert response.text == "one two three four"
    assert response.messages[-1].text == "one two three four"
    assert [note.code for note in response.notes] == ["STREAM_CONTINUED"]
    assert (response.finish_reason, response.tokens.estimated, response.attempts) == ("stop", True, 2)
    assert response.raw["choices"][0]["message"]["content"] == "one two three four"
    assert [message["content"] for message in sent(lmstudio, 1)[-3:]] == ["Count.", "one two ", GO_ON]
    assert isinstance(events[-1], StreamContinued)
    assert going_on._core.hosts.all[0].model("llama3").gate.is_idle


async def test_without_the_option_it_is_an_error(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Nothing is gone on with unasked: the error has what came."""
    lmstudio.answer(BROKEN)
    with pytest.raises(StreamInterruptedError) as caught:
        await adapter.stream("Count.").whole()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one two "
    assert len(lmstudio.requests) == 1


async def test_it_may_break_again(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """A continuation that breaks off is continued, too, from all the text so far; max_retries times at most."""
    lmstudio.answer(BROKEN, times=2)
    lmstudio.answer("end")
    assert (await going_on.stream("Count.").whole()).text == "one two one two end"
    assert sent(lmstudio, 2)[-2]["content"] == "one two one two "
    lmstudio.answer(BROKEN, times=3)
    with pytest.raises(StreamInterruptedError) as caught:
        await going_on.stream("Count.", max_retries=1).whole()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one two one two "


async def test_a_continuation_that_cannot_begin(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """The error is that of the stream, with its text; why it could not be continued is its cause."""
    lmstudio.answer(BROKEN)
    lmstudio.script(lambda request: Fail(400, {"error": "Invalid 'messages' in payload."}))
    with pytest.raises(StreamInterruptedError) as caught:
        await going_on.stream("Count.").whole()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one two "
    assert isinstance(caught.value.__cause__, ModelInvalidRequestError)


async def test_the_answer_stays_within_max_tokens(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """A continuation may take what is left of max_tokens; where nothing is left, there is none."""
    lmstudio.answer(BROKEN)
    lmstudio.answer("end")
    await going_on.stream("Count.", max_tokens=50).whole()
    assert lmstudio.requests[1].json["max_tokens"] == 48
    lmstudio.answer(BROKEN)
    with pytest.raises(StreamInterruptedError):
        await going_on.stream("Count.", max_tokens=2).whole()
    lmstudio.answer(BROKEN)
    lmstudio.answer("end")
    await going_on.stream("Count.", max_tokens=-1).whole()
    assert lmstudio.requests[-1].json["max_tokens"] == -1


async def test_calls_are_not_gone_on_with(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """Once a call has begun the stream fails: half a call is no text to go on from."""
    fault = StreamFault("cut", after=4)
    lmstudio.answer(Answer("Let me see", tool_calls=[("look", {"where": "there"})], stream_fault=fault))
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    with pytest.raises(StreamInterruptedError):
        await going_on.stream("Look.", tools=tools).whole()
    assert len(chats(lmstudio)) == 1


async def test_only_thoughts_are_not_gone_on_with(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """A stream that broke off before any text has nothing to go on from."""
    lmstudio.answer(Answer("so", reasoning="hm hm hm", stream_fault=StreamFault("cut", after=2)))
    with pytest.raises(StreamInterruptedError) as caught:
        await going_on.stream("Think.").whole()
    assert caught.value.partial is not None
    assert caught.value.partial.reasoning


async def test_the_server_breaking_off_for_a_reason_of_ours(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """What is no failure of the server (here: no room left) is not asked for again."""
    lmstudio.answer(Answer(chunks=["a", "b"], stream_fault=StreamFault("error", 1, "Context size has been exceeded.")))
    with pytest.raises(Exception, match="Context size"):
        await going_on.stream("Go.").whole()
    assert len(lmstudio.requests) == 1


async def test_it_is_paid_from_the_budget(lmstudio: Simulator) -> None:
    """Without a token in the retry budget there is no continuation."""
    lmstudio.answer(BROKEN)
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, continue_stream=True, retry=RetryPolicy(budget=0)
    ) as adapter:
        with pytest.raises(StreamInterruptedError):
            await adapter.stream("Count.").whole()
    assert len(lmstudio.requests) == 1


async def test_an_untyped_answer_only(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """JSON cannot be gone on with in another answer: both options together are refused before anything is sent."""
    with pytest.raises(ModelInvalidRequestError, match="continue_stream and response_format"):
        going_on.stream("Count.", response_format={"type": "object"})
    assert lmstudio.requests == []


async def test_leaving_closes_what_answers_now(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """A continued stream that is left closes its connection at once, as any other does."""
    lmstudio.answer(BROKEN)
    lmstudio.answer(Answer(chunks=["a"] * 100, delay_between=0.05))
    async with going_on.stream("Count.") as stream:
        async for chunk in stream:
            if chunk.chunk == "a":
                break
    await lmstudio.requests[1].wait_ended(1)
    assert lmstudio.requests[1].closed_early


async def test_a_crash_in_midstream_is_retried_then(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """The continuation goes down the whole pipe: its failures before the first chunk are retried."""
    lmstudio.answer(BROKEN)
    lmstudio.script(lambda request: Fail(400, {"error": "Model unloaded."}) if len(lmstudio.requests) < 4 else "end")
    response = await going_on.stream("Count.").whole()
    assert (response.text, response.attempts) == ("one two end", 4)


async def test_whole_answers_are_as_ever(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """A whole answer is retried as a whole; the option concerns streams."""
    lmstudio.fail("crash_null")
    response = await going_on.generate_completion("hi")
    assert (response.text, response.notes) == ("You said: hi", ())
    with pytest.raises(ModelUnavailableError):
        lmstudio.fail("crash_null")
        await going_on.generate_completion("hi", max_retries=0)


@pytest.mark.parametrize("strict", [False, True])
async def test_another_model_that_goes_on(lmstudio: Simulator, going_on: LMStudioAdapter, strict: bool) -> None:
    """Who goes on is compared as who began: a note, or with strict_model the error of the stream."""
    lmstudio.answer(BROKEN)
    lmstudio.answer(Answer("rest", model="another"))
    stream = going_on.stream("Count.", strict_model=strict)
    if strict:
        with pytest.raises(StreamInterruptedError) as caught:
            await stream.whole()
        assert caught.value.partial is not None
        assert caught.value.partial.text == "one two "
    else:
        assert {note.code for note in (await stream.whole()).notes} == {"DIFFERENT_MODEL", "STREAM_CONTINUED"}
    assert going_on._core.hosts.all[0].model("llama3").gate.is_idle


async def test_a_reader_who_was_cancelled_is_not_continued(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """That its reader leaves is no breaking off: nothing more is asked, and the error says what happened."""
    lmstudio.answer(Answer(chunks=["one ", "two"], delay_between=5))
    stream = going_on.stream("Count.")
    await anext(stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.02)
    with pytest.raises(StreamInterruptedError, match="the stream was left before its end"):
        await anext(stream)
    assert len(lmstudio.requests) == 1


async def test_a_reader_who_is_cancelled_while_it_goes_on(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """A continuation whose reader left before it began is not asked for again."""
    lmstudio.answer(BROKEN)
    lmstudio.answer(Answer("late", delay=5))
    stream = going_on.stream("Count.")
    assert [(await anext(stream)).chunk for _ in range(2)] == ["one ", "two "]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.03)
    with pytest.raises(StreamInterruptedError):
        await anext(stream)
    assert len(lmstudio.requests) == 2
    assert going_on._core.hosts.all[0].model("llama3").gate.is_idle


async def test_a_closed_adapter_is_not_continued(lmstudio: Simulator, going_on: LMStudioAdapter) -> None:
    """After aclose() a stream does not go on over a connection of its own."""
    lmstudio.answer(Answer(chunks=["one ", "two"], delay_between=5))
    stream = going_on.stream("Count.")
    await anext(stream)
    await going_on.aclose()
    with pytest.raises(StreamInterruptedError, match="the adapter was closed"):
        await anext(stream)
    assert len(lmstudio.requests) == 1
    assert going_on._core.transport.pools._pools == {}


async def test_what_is_noted_on_the_way_of_a_continuation_is_told(
    lmstudio: Simulator, going_on: LMStudioAdapter
) -> None:
    """A history that has no room for the continuation is trimmed, and the note reaches the caller."""
    lmstudio.answer(BROKEN)
    lmstudio.fail(Fail(400, {"error": "Cannot truncate prompt with n_keep (400) >= n_ctx (200)"}))
    lmstudio.answer("end")
    history = [{"role": role, "content": f"{role} " * 30} for role in ("user", "assistant") * 3]
    response = await going_on.stream("Count.", messages=history, on_overflow="trim").whole()
    assert {note.code for note in response.notes} == {"HISTORY_TRIMMED", "STREAM_CONTINUED"}


async def test_the_deadline_moves_once_for_a_stream_and_its_continuations(
    lmstudio: Simulator, going_on: LMStudioAdapter
) -> None:
    """A load that was waited for before the stream began is not waited for again when it goes on."""
    loading = Fail(503, {"error": {"message": "Loading model"}}, headers={"retry-after-ms": "1"})
    lmstudio.fail(loading)
    lmstudio.answer(BROKEN)
    lmstudio.fail(loading, times=9999)
    began = going_on._core.hosts.all[0].policy.clock.monotonic()
    with pytest.raises(StreamInterruptedError) as caught:
        await going_on.stream("Count.", timeout_ms=2000, model_loading_timeout_ms=60_000).whole()
    assert isinstance(caught.value.__cause__, ModelUnavailableError)
    assert going_on._core.hosts.all[0].policy.clock.monotonic() - began < 3
