from __future__ import annotations

import asyncio

import msgspec
import pytest

from neuroroute import (
    LMStudioAdapter,
    ModelContentFilteredError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelResponse,
    ModelUnavailableError,
    StreamInterruptedError,
    TokenUsage,
)
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault

PINNED = {"id": "chatcmpl-1", "created": 1_775_000_000}
ANSWERS = {
    "text": Answer("Hello there, friend.", **PINNED),
    "reasoning_content": Answer("42", reasoning="let me think", **PINNED),
    "reasoning": Answer("42", reasoning="let me think", reasoning_form="reasoning", **PINNED),
    "think": Answer("42", reasoning="let me think", reasoning_form="think", chunk_size=3, **PINNED),
    "a call": Answer(tool_calls=[("get_weather", {"city": "Paris"})], **PINNED),
    "text and calls": Answer("Let me look.", tool_calls=[("a", {"x": 1}), ("b", {"y": [1, 2]})], **PINNED),
    "cut by max_tokens": Answer("Once upon", finish_reason="length", **PINNED),
    "not ASCII": Answer('naïve 日本語 🙂 \n\t"quoted"', chunk_size=1, **PINNED),
    "stats": Answer("quick", stats={"tokens_per_second": 51.4, "time_to_first_token": 0.1}, **PINNED),
    "another model": Answer("hm", model="llama3.1", **PINNED),
    "no usage": Answer("uncounted", usage={}, **PINNED),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_folded_stream_equals_the_whole_answer(
    adapter: LMStudioAdapter, lmstudio: Simulator, answer: Answer
) -> None:
    """A stream, folded, is the whole answer in every field but timing."""
    lmstudio.answer(answer, times=2)
    whole = await adapter.generate_completion("hi")
    async with adapter.stream("hi") as stream:
        async for _ in stream:
            pass
    folded = stream.response
    for name in ModelResponse.__struct_fields__:
        if name not in ("processing_time", "stats", "raw_json"):
            assert getattr(folded, name) == getattr(whole, name), name
    # stats are timing, and LM Studio's streams have none
    assert {**folded.raw, "stats": None} == {**whole.raw, "stats": None}


async def test_a_whole_answer(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Every field of the answer is filled from where the server puts it."""
    lmstudio.answer(
        Answer("Hello", reasoning="hm", usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13})
    )
    response = await adapter.generate_completion("hi")
    assert (response.text, response.reasoning, response.finish_reason, response.model) == (
        "Hello",
        "hm",
        "stop",
        "llama3",
    )
    assert response.tokens == TokenUsage(prompt=9, completion=4, total=13)
    assert (response.attempts, response.cached, response.host) == (1, False, f"127.0.0.1:{lmstudio.port}")
    assert (response.tool_calls, response.function_call, response.notes) == ((), None, ())
    assert 0 < response.processing_time < 5
    assert [message.content for message in response.messages[1:]] == ["hi", "Hello"]
    assert response.raw["object"] == "chat.completion"
    assert response.raw["choices"][0]["message"]["content"] == "Hello"


async def test_a_response_goes_to_json_and_back(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A response survives JSON, raw and history included."""
    lmstudio.answer(ANSWERS["text and calls"])
    response = await adapter.generate_completion("hi")
    again = msgspec.json.decode(msgspec.json.encode(response), type=ModelResponse)
    assert again.raw == response.raw
    assert msgspec.structs.replace(again, raw_json=response.raw_json) == response


async def test_only_the_last_chunk_is_done(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The last chunk, and only that, is done, and has the finish reason and the usage."""
    lmstudio.answer("one two three")
    chunks = [chunk async for chunk in adapter.stream("hi")]
    assert [chunk.done for chunk in chunks] == [False, False, False, True]
    last = chunks[-1]
    assert (last.chunk, last.finish_reason, last.error, last.exception) == ("", "stop", False, None)
    assert last.usage is not None
    assert last.usage.total > 0
    assert {chunk.model for chunk in chunks} == {"llama3"}


async def test_reasoning_is_streamed_apart(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What the model thinks is never part of what it says."""
    lmstudio.answer(ANSWERS["think"])
    chunks = [chunk async for chunk in adapter.stream("hi")]
    assert "".join(chunk.chunk for chunk in chunks) == "42"
    assert "".join(chunk.reasoning for chunk in chunks) == "let me think"


async def test_the_response_of_a_stream_that_was_left(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What was taken before leaving is there, and it does not claim to be whole."""
    lmstudio.answer(Answer(chunks=["a", "b", "c"], delay_between=0.01))
    async with adapter.stream("hi") as stream:
        assert stream.response.text == ""
        async for _ in stream:
            break
    assert (stream.response.text, stream.response.finish_reason) == ("a", None)
    assert [chunk async for chunk in stream] == []


async def test_a_failed_stream_raises_and_then_ends(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """After its error a stream gives nothing more."""
    lmstudio.answer(Answer("a b c", stream_fault=StreamFault("error", after=1)))
    stream = adapter.stream("hi")
    with pytest.raises(ModelUnavailableError):
        await stream.whole()
    assert [chunk async for chunk in stream] == []


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_filtered_answer(adapter: LMStudioAdapter, lmstudio: Simulator, streaming: bool) -> None:
    """Finish reason content_filter is an error, with what came before it."""
    lmstudio.answer(Answer("well", finish_reason="content_filter"))
    with pytest.raises(ModelContentFilteredError) as caught:
        await (adapter.stream("hi").whole() if streaming else adapter.generate_completion("hi"))
    assert caught.value.partial is not None
    assert caught.value.partial.text == "well"


async def test_the_specification_s_stream_never_raises(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A failure is the last chunk: error, its details and the typed error with what came before."""
    lmstudio.answer(Answer("a b c", stream_fault=StreamFault("error", after=2)))
    chunks = [chunk async for chunk in adapter.generate_completion_stream("hi")]
    assert [chunk.done for chunk in chunks] == [False, False, True]
    last = chunks[-1]
    assert (last.error, last.chunk) == (True, "")
    assert last.error_details is not None
    assert last.error_details.startswith("MODEL_UNAVAILABLE")
    assert isinstance(last.exception, ModelUnavailableError)
    assert last.exception.partial is not None
    assert last.exception.partial.text == "a b"


async def test_the_specification_s_stream_when_nothing_comes(lmstudio: Simulator) -> None:
    """A server that is down is one chunk: done, with the error."""
    async with LMStudioAdapter("llama3", base_url="127.0.0.1:9", max_retries=0) as adapter:
        chunks = [chunk async for chunk in adapter.generate_completion_stream("hi")]
    assert [(chunk.done, chunk.error) for chunk in chunks] == [(True, True)]
    assert chunks[0].model == "llama3"


async def test_wrong_input_raises_in_the_specification_s_stream_too(adapter: LMStudioAdapter) -> None:
    """A mistake of the caller is raised at the call, before anything is sent."""
    with pytest.raises(ModelInvalidRequestError):
        adapter.generate_completion_stream("hi", temperature=-1)


async def test_when_the_last_chunk_comes_the_connection_is_back(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The connection is given back before the last chunk is handed out, so that break leaks nothing."""
    async for chunk in adapter.generate_completion_stream("hi"):
        if chunk.done:
            await adapter.generate_completion("while the stream is still held")
            break
    assert len({received.connection for received in lmstudio.requests}) == 1


async def test_another_model_answered(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """With one model loaded LM Studio answers for any id: the answer's notes say so."""
    response = await adapter.with_model("gpt-9").generate_completion("hi")
    assert [note.code for note in response.notes] == ["DIFFERENT_MODEL"]
    assert response.model == "llama3"


@pytest.mark.parametrize("streaming", [False, True])
async def test_strict_model(adapter: LMStudioAdapter, lmstudio: Simulator, streaming: bool) -> None:
    """With strict_model another model's answer is an error, before a word of it is handed out."""
    verb = adapter.stream("hi", model="gpt-9", strict_model=True) if streaming else None
    with pytest.raises(ModelNotFoundError, match="'llama3' answered although 'gpt-9' was asked for"):
        await (verb.whole() if verb else adapter.generate_completion("hi", model="gpt-9", strict_model=True))
    assert (await adapter.generate_completion("hi", strict_model=True)).text == "You said: hi"


async def test_reasoning_that_was_not_wanted(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A model that reasons although it was told not to is noted (LM Studio #2413)."""
    lmstudio.answer(ANSWERS["think"], times=2)
    off = await adapter.generate_completion("hi", reasoning="off")
    assert [note.code for note in off.notes] == ["REASONING_NOT_HONOURED"]
    assert (await adapter.generate_completion("hi")).notes == ()


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}])
async def test_tokens_are_estimated_where_nobody_counts(
    adapter: LMStudioAdapter, lmstudio: Simulator, usage: dict[str, int]
) -> None:
    """No usage, or zero for something (LM Studio #1602), is replaced by an estimate that says that it is one."""
    lmstudio.answer(Answer("four words are here", usage=usage))
    tokens = (await adapter.generate_completion("hi")).tokens
    assert tokens.estimated
    assert tokens.total == tokens.prompt + tokens.completion > 5


async def test_a_failed_turn_leaves_the_history_as_it_was(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The caller's list of messages is never touched, whether the call succeeds or fails."""
    history = [{"role": "user", "content": "hi"}]
    lmstudio.fail(Fail(400, {"error": "'url' field must be a base64 encoded image."}))
    with pytest.raises(ModelInvalidRequestError):
        await adapter.generate_completion("more", messages=history)
    await adapter.generate_completion("more", messages=history)
    assert history == [{"role": "user", "content": "hi"}]


async def test_a_conversation_by_hand(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The answer's messages are the next call's history, and turns that were sent before are not encoded again."""
    first = await adapter.generate_completion("one")
    second = await adapter.generate_completion(messages=[*first.messages, {"role": "user", "content": "two"}])
    assert [message.role for message in second.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert all(kept is sent for kept, sent in zip(first.messages, second.messages, strict=False))
    assert lmstudio.requests[1].json["messages"][:2] == lmstudio.requests[0].json["messages"]


async def test_a_failure_stays_one(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Who asks a stream that failed for the whole answer again gets the same error, never half an answer."""
    lmstudio.answer(Answer(chunks=["a", "b", "c"], stream_fault=StreamFault("cut", after=1), delay_between=0.01))
    stream = adapter.stream("hi")
    for _ in range(2):
        with pytest.raises(StreamInterruptedError):
            await stream.whole()


async def test_a_stream_that_was_left_is_no_whole_answer(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """After leaving a stream early there is no whole answer, and entering it again asks nothing."""
    lmstudio.answer(Answer(chunks=["a", "b", "c"], delay_between=0.01))
    async with adapter.stream("hi") as stream:
        await anext(stream)
    with pytest.raises(StreamInterruptedError, match="left before its end"):
        await stream.whole()
    async with stream:
        pass
    never = adapter.stream("hi")
    await never.aclose()
    with pytest.raises(StreamInterruptedError):
        await never.whole()
    assert len(lmstudio.requests) == 1


async def test_closed_while_its_first_chunk_is_waited_for(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A stream that somebody closes before it has begun is closed once it begins, and says so to who waits."""
    lmstudio.answer(Answer(chunks=["a", "b", "c"], delay=0.03, delay_between=5))
    stream = adapter.stream("hi")
    waiting = asyncio.create_task(stream.__anext__())
    await lmstudio.wait_for_requests(1)
    await stream.aclose()
    with pytest.raises(StreamInterruptedError, match="left before its end"):
        await waiting
    await lmstudio.requests[0].wait_ended(1)
    assert lmstudio.requests[0].closed_early
