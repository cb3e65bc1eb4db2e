from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from neuroroute import (
    LMStudioError,
    MalformedResponseError,
    ModelInvalidRequestError,
    ModelProgress,
    ModelUnavailableError,
    ServerCall,
    Stats,
    StreamingChunk,
    StreamInterruptedError,
    TokenUsage,
)
from neuroroute.responses import fold
from neuroroute.wire.nativedecode import NativeDecoder

HF = {"type": "ephemeral_mcp", "server_label": "hf"}
STATS = {
    "input_tokens": 9,
    "total_output_tokens": 4,
    "reasoning_output_tokens": 1,
    "tokens_per_second": 40.5,
    "time_to_first_token_seconds": 0.5,
    "model_load_time_seconds": 2.0,
}


def decoder(**more: Any) -> tuple[NativeDecoder, list[StreamingChunk]]:
    chunks: list[StreamingChunk] = []
    return NativeDecoder(chunks.append, model="m", **more), chunks


def event(type: str, **fields: Any) -> bytes:  # noqa: A002 - the field's name
    return json.dumps({"type": type, **fields}).encode()


def result(*output: Any, **more: Any) -> dict[str, Any]:
    return {"model_instance_id": "m:2", "output": list(output), "stats": STATS, "response_id": "resp_1", **more}


def message(text: str) -> dict[str, str]:
    return {"type": "message", "content": text}


def test_a_stream_in_the_documented_shape() -> None:
    """Reasoning, text, measures, the id and raw are each read from where LM Studio puts them."""
    answer, chunks = decoder()
    answer.events([event("chat.start", model_instance_id="m"), event("prompt_processing.start")])
    assert not answer.began
    answer.events([event("reasoning.start"), event("reasoning.delta", content="hm"), event("reasoning.end")])
    answer.events([event("message.start"), event("message.delta", content="Hel"), event("message.delta", content="lo")])
    assert not answer.complete
    whole = result({"type": "reasoning", "content": "hm"}, message("Hello"))
    answer.events([event("message.end"), event("chat.end", result=whole), event("message.delta", content="late")])
    answer.finish()
    folded = fold(chunks)
    assert (folded.text, folded.reasoning) == ("Hello", "hm")
    assert (answer.model, answer.response_id, answer.finish_reason, answer.ended) == ("m:2", "resp_1", "stop", True)
    assert answer.usage == TokenUsage(prompt=9, completion=4, total=13)
    assert answer.stats == Stats(tokens_per_second=40.5, time_to_first_token=0.5, load_time=2.0)
    assert msgspec.json.decode(answer.raw(folded)) == whole


@pytest.mark.parametrize("streamed", [False, True])
def test_calls_of_the_server_are_told_with_their_results(streamed: bool) -> None:
    """Calls that the server ran are no calls to run; the texts before and after them are parted."""
    ran = {"type": "tool_call", "tool": "search", "arguments": {"q": "x"}, "output": "found", "provider_info": HF}
    why = {"type": "invalid_name", "tool_name": "fly"}
    wrong = {"type": "invalid_tool_call", "reason": "no such tool", "metadata": why}
    whole = result(message("Let me look."), ran, wrong, message("Here."))
    answer, chunks = decoder()
    if streamed:
        answer.events([event("message.start"), event("message.delta", content="Let me look."), event("message.end")])
        answer.events([event("tool_call.start", tool="search", provider_info=HF)])
        answer.events([event("tool_call.arguments", tool="search", arguments={"q": "x"}, provider_info=HF)])
        answer.events([json.dumps({**ran, "type": "tool_call.success"}).encode()])
        answer.events([event("tool_call.failure", reason="no such tool", metadata=why)])
        assert [call.name for call in answer.server_calls] == ["search", "fly"]
        answer.events([event("message.start"), event("message.delta", content="Here.")])
        answer.events([event("chat.end", result=whole)])
        answer.finish()
    else:
        answer.whole(json.dumps(whole).encode())
    folded = fold(chunks)
    assert (folded.text, folded.tool_calls) == ("Let me look.\n\nHere.", ())
    assert [msgspec.json.decode(call.arguments) for call in answer.server_calls] == [{"q": "x"}, {}]
    ran_call, wrong_call = answer.server_calls
    assert (ran_call.name, ran_call.output, ran_call.error, ran_call.provider) == ("search", "found", None, "hf")
    assert wrong_call == ServerCall(name="fly", error="no such tool")


def test_a_tool_that_runs_is_a_beginning() -> None:
    """Once the server runs a tool the answer has begun, so that asking again cannot run it twice."""
    answer, _ = decoder()
    answer.events([event("tool_call.start", tool="search")])
    assert answer.began


def test_a_whole_answer() -> None:
    """The one chunk of a whole answer has all its text, and raw is the body byte for byte."""
    answer, chunks = decoder()
    body = json.dumps(result({"type": "reasoning", "content": "hm"}, message("Hi")), indent=1).encode()
    answer.whole(body)
    assert (fold(chunks).text, fold(chunks).reasoning, answer.response_id) == ("Hi", "hm", "resp_1")
    assert bytes(answer.raw(fold(chunks))) == body


def test_thinking_left_in_the_text_is_taken_out() -> None:
    """A think block that a message begins with is reasoning here as in the chat."""
    answer, chunks = decoder()
    answer.events([event("message.delta", content="<think>h"), event("message.delta", content="m</think> Hi")])
    answer.events([event("chat.end", result=result(message("<think>hm</think> Hi")))])
    answer.finish()
    assert (fold(chunks).text, fold(chunks).reasoning) == ("Hi", "hm")


def test_an_answer_as_long_as_allowed_was_cut() -> None:
    """LM Studio tells no finish reason; an answer of max_tokens tokens has "length"."""
    for most, reason in ((4, "length"), (5, "stop"), (-1, "stop")):
        answer, _ = decoder(most=most)
        answer.whole(json.dumps(result(message("Hi"))).encode())
        assert answer.finish_reason == reason


def test_progress_is_told_once_each() -> None:
    """Loading and reading the prompt are told with their fraction; an end that comes twice is told once."""
    told: list[ModelProgress] = []
    answer, chunks = decoder(progressed=told.append)
    answer.events([event("chat.start"), event("model_load.start"), event("model_load.progress", progress=0.25)])
    answer.events([event("model_load.end", load_time_seconds=1), event("prompt_processing.start")])
    answer.events([event("prompt_processing.progress", progress=7), event("prompt_processing.progress", progress="x")])
    answer.events([event("prompt_processing.end"), event("prompt_processing.end")])
    assert [(one.phase, one.fraction) for one in told] == [
        ("loading", 0.0),
        ("loading", 0.25),
        ("loaded", 1.0),
        ("processing_prompt", 0.0),
        ("processing_prompt", 1.0),
        ("processing_prompt", None),
        ("processing_prompt", 1.0),
    ]
    assert {one.model for one in told} == {"m"}
    assert (chunks, answer.began) == ([], False)


@pytest.mark.parametrize(
    ("said", "before", "after"),
    [
        ({"type": "invalid_request", "message": "nope"}, ModelInvalidRequestError, StreamInterruptedError),
        ({"type": "internal_error", "message": "oops"}, ModelUnavailableError, StreamInterruptedError),
        ({"type": "mcp_connection_error", "message": "no route"}, ModelInvalidRequestError, StreamInterruptedError),
        ({"type": "odd", "message": "what"}, MalformedResponseError, StreamInterruptedError),
        ({"type": "internal_error", "message": "Model unloaded."}, ModelUnavailableError, ModelUnavailableError),
    ],
)
def test_an_error_event_is_typed(said: Any, before: type[LMStudioError], after: type[LMStudioError]) -> None:
    """Its words say what happened, else its type, since there is no status; after the first chunk it broke off."""
    answer, _ = decoder()
    with pytest.raises(before):
        answer.events([event("error", error=said)])
    answer, chunks = decoder()
    with pytest.raises(after):
        answer.events([event("message.delta", content="Hel"), event("error", error=said)])
    raw = msgspec.json.decode(answer.raw(fold(chunks)))
    assert raw["output"] == [{"type": "message", "content": "Hel"}]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"output":null}', b'{"output":5}', b'{"error":"Unexpected endpoint or method. (POST /x)"}'],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    """A body without output is one of our errors, the one for a wrong URL included; so is a stream that ends so."""
    with pytest.raises(LMStudioError):
        decoder()[0].whole(body)
    with pytest.raises(LMStudioError):
        decoder()[0].events([body or b" "])
    with pytest.raises(MalformedResponseError):
        decoder()[0].events([event("chat.end")])


def test_odd_measures_do_no_harm() -> None:
    """Stats of a wrong type count as not told; the answer is good."""
    answer, chunks = decoder()
    answer.whole(
        json.dumps({"output": [message("Hi")], "stats": [1], "response_id": 5, "model_instance_id": []}).encode()
    )
    assert (fold(chunks).text, answer.usage, answer.stats) == ("Hi", None, Stats())
    assert (answer.response_id, answer.model) == (None, "")
