from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from neuroroute import (
    LMStudioError,
    MalformedResponseError,
    ModelUnavailableError,
    StreamingChunk,
    StreamInterruptedError,
    TokenUsage,
)
from neuroroute.responses import fold
from neuroroute.wire.responsesdecode import ResponsesDecoder

USAGE = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
CALL = {"type": "function_call", "call_id": "7", "name": "add", "arguments": '{"a":1}'}


def decoder(tools: Any = None) -> tuple[ResponsesDecoder, list[StreamingChunk]]:
    chunks: list[StreamingChunk] = []
    return ResponsesDecoder(chunks.append, tools), chunks


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": f"response.{kind}", **fields}).encode()


def response(*output: Any, **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "model": "m", "status": "completed", "output": list(output), "usage": USAGE, **more}


def message(*texts: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text} for text in texts],
    }


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}


def test_a_stream_in_the_documented_shape() -> None:
    """Reasoning, text, a call in pieces, usage, the id and raw are each read from where the route puts them."""
    answer, chunks = decoder()
    answer.events([event("created", response=response()), event("in_progress", response=response())])
    answer.events([event("output_item.added", output_index=0, item={"type": "reasoning"})])
    answer.events([event("reasoning_text.delta", output_index=0, delta="h"), event("reasoning_text.delta", delta="m")])
    answer.events([event("output_item.added", output_index=1, item={"type": "message", "content": []})])
    answer.events([event("output_text.delta", output_index=1, delta="Hel"), event("output_text.delta", delta="lo")])
    answer.events([event("output_text.done", output_index=1, text="Hello")])
    answer.events([event("output_item.added", output_index=2, item={**CALL, "arguments": ""})])
    answer.events([event("function_call_arguments.delta", output_index=2, delta='{"a"')])
    answer.events([event("function_call_arguments.delta", output_index=2, delta=":1}")])
    answer.events([event("output_item.done", output_index=2, item=CALL)])
    assert not answer.complete
    whole = response(thought("hm"), message("Hello"), CALL)
    answer.events([event("completed", response=whole), b"[DONE]"])
    answer.finish()
    folded = fold(chunks)
    assert (folded.text, folded.reasoning) == ("Hello", "hm")
    assert [(c.id, c.function.name, c.function.arguments) for c in folded.tool_calls] == [("7", "add", '{"a":1}')]
    assert (answer.model, answer.response_id, answer.finish_reason) == ("m", "resp_1", "tool_calls")
    assert answer.usage == TokenUsage(prompt=9, completion=4, total=13)
    assert msgspec.json.decode(answer.raw(folded)) == whole


@pytest.mark.parametrize("streamed", [False, True])
def test_what_did_not_stream_is_taken_from_the_end(streamed: bool) -> None:
    """A server that tells only whole items, or only the end, is understood as one that tells every piece."""
    whole = response(thought("hm"), message("Hel", "lo"), CALL, {**CALL, "call_id": "8"})
    answer, chunks = decoder()
    if streamed:
        answer.events([event("completed", response=whole)])
    else:
        answer.whole(json.dumps(whole).encode())
    answer.finish()
    folded = fold(chunks)
    assert (folded.text, folded.reasoning, len(folded.tool_calls)) == ("Hello", "hm", 2)

    answer, chunks = decoder()
    answer.events([event("reasoning_text.done", output_index=0, text="hm")])
    answer.events([event("output_text.done", output_index=1, text="Hello")])
    answer.events([event("output_item.done", output_index=2, item=CALL)])
    answer.events([event("output_item.done", output_index=3, item={**CALL, "call_id": "8"})])
    answer.events([event("completed", response=whole)])
    answer.finish()
    assert fold(chunks) == folded


@pytest.mark.parametrize(
    ("details", "reason"),
    [({"reason": "max_output_tokens"}, "length"), ({"reason": "content_filter"}, "content_filter"), (None, "length")],
)
def test_an_incomplete_answer_says_why(details: Any, reason: str) -> None:
    """An answer that was cut off has the finish reason that a chat would have."""
    whole = response(message("Hel"), status="incomplete", incomplete_details=details)
    answer, chunks = decoder()
    answer.events([event("output_text.delta", delta="Hel"), event("incomplete", response=whole)])
    assert (fold(chunks).text, answer.finish_reason, answer.ended) == ("Hel", reason, True)


def test_calls_in_the_text_are_salvaged() -> None:
    """A call that the model left in its text is taken out of it here as in the chat."""
    answer, chunks = decoder({"add": {"type": "object"}})
    answer.whole(json.dumps(response(message('<tool_call>{"name": "add", "arguments": {}}</tool_call>'))).encode())
    assert [call.function.name for call in fold(chunks).tool_calls] == ["add"]
    assert (fold(chunks).text, answer.salvaged) == ("", 1)


@pytest.mark.parametrize(
    "failed",
    [
        event("failed", response={"error": {"code": "server_error", "message": "oops"}}),
        b'{"type":"error","code":"server_error","message":"oops","param":null}',
        b'{"type":"error","error":{"type":"internal_error","message":"oops"}}',
        b'{"error":{"message":"oops","code":"unknown"},"message":"oops"}',
    ],
)
def test_a_failure_is_typed_however_it_is_told(failed: bytes) -> None:
    """An error event of any known form is the server's failure, and after the first chunk a broken stream."""
    with pytest.raises(ModelUnavailableError, match="oops"):
        decoder()[0].events([failed])
    answer, chunks = decoder()
    with pytest.raises(StreamInterruptedError, match="oops"):
        answer.events([event("output_text.delta", delta="Hel"), failed])
    raw = msgspec.json.decode(answer.raw(fold(chunks)))
    assert (raw["status"], raw["output"][0]["content"][0]["text"]) == ("incomplete", "Hel")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"output":5}', b'{"output":[],"error":{"message":"no"}}'])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    """A body without output, or with an error, is one of our errors; so is a stream that ends so."""
    with pytest.raises(LMStudioError):
        decoder()[0].whole(body)
    with pytest.raises(LMStudioError):
        decoder()[0].events([body or b" "])
    with pytest.raises(MalformedResponseError):
        decoder()[0].events([event("completed")])


def test_several_messages_are_parted() -> None:
    """The texts of two messages of one answer are parted by a blank line, streamed or whole."""
    whole = response(message("one"), message("two"))
    streamed, chunks = decoder()
    for at, text in enumerate(("one", "two")):
        streamed.events([event("output_item.added", output_index=at, item={"type": "message"})])
        streamed.events([event("output_text.delta", output_index=at, delta=text)])
    streamed.events([event("completed", response=whole)])
    answer, others = decoder()
    answer.whole(json.dumps(whole).encode())
    assert fold(chunks).text == fold(others).text == "one\n\ntwo"
