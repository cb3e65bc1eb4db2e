from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from neuroroute import LMStudioError, Stats, StreamingChunk, TokenUsage
from neuroroute.responses import fold
from neuroroute.wire.completions import CompletionDecoder


def decoder() -> tuple[CompletionDecoder, list[StreamingChunk]]:
    chunks: list[StreamingChunk] = []
    return CompletionDecoder(chunks.append), chunks


def event(text: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if text is None else [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]
    return json.dumps({"id": "c", "object": "text_completion", "model": "m", "choices": choices, **more}).encode()


def test_a_stream_in_the_documented_shape() -> None:
    """Text, finish reason, usage and speed are read, a think block is text, and raw has the shape of a whole one."""
    answer, chunks = decoder()
    answer.events([event("<think>"), event("so</think>"), event("", "stop")])
    assert answer.complete
    answer.events([event(usage={"prompt_tokens": 3, "completion_tokens": 2}, stats={"tokens_per_second": 5.0})])
    answer.events([b"[DONE]", event("late")])
    answer.finish()
    folded = fold(chunks)
    assert (folded.text, folded.reasoning) == ("<think>so</think>", "")
    assert (answer.model, answer.finish_reason, answer.stats) == ("m", "stop", Stats(tokens_per_second=5.0))
    assert answer.usage == TokenUsage(prompt=3, completion=2, total=5)
    raw = msgspec.json.decode(answer.raw(folded))
    assert raw["choices"] == [{"index": 0, "text": "<think>so</think>", "logprobs": None, "finish_reason": "stop"}]
    assert (raw["object"], raw["id"], raw["usage"]["prompt_tokens"]) == ("text_completion", "c", 3)


def test_a_whole_answer() -> None:
    """The body is raw byte for byte, llama.cpp's timings are read, too."""
    answer, chunks = decoder()
    body = event("upon a time", "length", timings={"predicted_per_second": 9.0})
    answer.whole(body)
    assert (fold(chunks).text, answer.finish_reason, answer.stats.tokens_per_second) == ("upon a time", "length", 9.0)
    assert bytes(answer.raw(fold(chunks))) == body


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"error":"no"}', b'{"choices":5}', b'{"choices":[],"error":"x"}']
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    """A body without choices, or with an error, is one of our errors, whole or as an event."""
    with pytest.raises(LMStudioError):
        decoder()[0].whole(body)
    with pytest.raises(LMStudioError):
        decoder()[0].events([body or b" "])
