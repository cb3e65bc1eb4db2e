"""What the routes beside the chat may send: recorded streams however cut, and JSON with wrong types.

Only typed errors come out of it, and raw can be read afterwards.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import CUTS, NESTED, NUMBER, ODD, SAID, TEXT, TOOLS, cut, listed, mutated, read, with_fields
from neuroroute import StreamingChunk
from neuroroute.responses import fold
from neuroroute.wire.completions import CompletionDecoder
from neuroroute.wire.embeddings import EmbeddingsDecoder
from neuroroute.wire.nativedecode import NativeDecoder
from neuroroute.wire.responsesdecode import ResponsesDecoder
from neuroroute.wire.sse import SSEParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hypothesis.strategies import SearchStrategy

    from neuroroute.wire.decoder import Decoder, Put

RAN = {"tool": "search", "arguments": {"q": "\N{EURO SIGN}"}, "output": "x", "provider_info": {"plugin_id": "mcp/a"}}
SPOKEN = {"type": "message", "content": "Hello there, \N{GRINNING FACE}!"}
NATIVE = [
    {"type": "chat.start", "model_instance_id": "m"},
    {"type": "model_load.start"},
    {"type": "model_load.progress", "progress": 0.5},
    {"type": "prompt_processing.end"},
    {"type": "reasoning.delta", "content": "h\N{EURO SIGN}m"},
    {"type": "message.start"},
    {"type": "message.delta", "content": "<think>so</think>Hello"},
    {"type": "tool_call.start", "tool": "search"},
    {"type": "tool_call.success", **RAN},
    {"type": "tool_call.failure", "reason": "no", "metadata": {"type": "invalid_name", "tool_name": "f"}},
    {"type": "message.start"},
    {"type": "message.delta", "content": " there, \N{GRINNING FACE}!"},
    {
        "type": "chat.end",
        "result": {
            "model_instance_id": "m",
            "output": [{"type": "reasoning", "content": "hm"}, SPOKEN, {"type": "tool_call", **RAN}],
            "stats": {"input_tokens": 3, "total_output_tokens": 2, "tokens_per_second": 2.5},
            "response_id": "resp_1",
        },
    },
]
CALL = {"type": "function_call", "call_id": "7", "name": "weather", "arguments": '{"city":"Rome"}'}
WHOLE = {
    "id": "resp_1",
    "model": "m",
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello \N{EURO SIGN}"}]}, CALL],
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
RESPONSES = [
    {"type": "response.created", "response": {"id": "resp_1", "model": "m", "output": []}},
    {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "hm"},
    {"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "content": []}},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "Hello \N{EURO SIGN}"},
    {"type": "response.output_text.done", "output_index": 1, "text": "Hello \N{EURO SIGN}"},
    {"type": "response.output_item.added", "output_index": 2, "item": {**CALL, "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"city":'},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '"Rome"}'},
    {"type": "response.output_item.done", "output_index": 2, "item": CALL},
    {"type": "response.completed", "response": WHOLE},
]
COMPLETIONS: list[dict[str, Any]] = [
    {"model": "m", "choices": [{"index": 0, "text": "<think>once \N{EURO SIGN}", "finish_reason": None}]},
    {"model": "m", "choices": [{"index": 0, "text": " upon", "finish_reason": None}]},
    {"model": "m", "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
    {"model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}, "stats": {}},
]
VECTORS = (
    b'{"object":"list","data":[{"embedding":[0.5,-1,2e-3],"index":1},{"embedding":[1,2,3],"index":0}],"model":"e"}'
)


def native(put: Put) -> Decoder:
    return NativeDecoder(put, model="m", most=2, progressed=lambda progress: None)


def responses(put: Put) -> Decoder:
    return ResponsesDecoder(put, TOOLS)


def embeddings(put: Put) -> Decoder:
    return EmbeddingsDecoder(put, 2)


def events(told: Iterable[Any]) -> list[bytes]:
    return [json.dumps(one, ensure_ascii=at % 2 == 0).encode() for at, one in enumerate(told)]


def stream(told: Iterable[Any]) -> bytes:
    framed = [b"event: x\ndata: " + data + b"\n\n" for data in events(told)]
    return b"".join(framed)


STREAMS: list[tuple[Callable[[Put], Decoder], bytes]] = [
    (native, stream(NATIVE)),
    (responses, stream(RESPONSES) + b"data: [DONE]\n\n"),
    (CompletionDecoder, stream(COMPLETIONS) + b"data: [DONE]\n\n"),
]
BODIES: list[tuple[Callable[[Put], Decoder], bytes]] = [
    (native, json.dumps(NATIVE[-1]["result"]).encode()),
    (responses, json.dumps(WHOLE).encode()),
    (CompletionDecoder, json.dumps(COMPLETIONS[0]).encode()),
    (embeddings, VECTORS),
]
MADE = [native, responses, CompletionDecoder, embeddings]
KINDS = sorted({one["type"] for one in [*NATIVE, *RESPONSES]} | {"error", "response.failed", "response.incomplete"})

PARTS = listed(with_fields(type=TEXT, text=TEXT))
OBJECT = with_fields(plugin_id=TEXT, tool_name=TEXT, arguments=NESTED, reason=TEXT, input_tokens=NUMBER)
ITEM = with_fields(
    type=st.sampled_from([b'"message"', b'"reasoning"', b'"tool_call"', b'"function_call"']),
    content=TEXT | PARTS, summary=PARTS, tool=TEXT, arguments=TEXT | NESTED, output=TEXT, name=TEXT, call_id=TEXT,
    metadata=OBJECT, provider_info=OBJECT,
)  # fmt: skip
RESULT = with_fields(
    output=listed(ITEM), stats=OBJECT, usage=OBJECT, id=TEXT, response_id=TEXT, model=TEXT, model_instance_id=TEXT,
    status=st.sampled_from([b'"completed"', b'"incomplete"']), incomplete_details=OBJECT, error=SAID,
)  # fmt: skip
EVENT = with_fields(
    type=st.sampled_from([json.dumps(kind).encode() for kind in KINDS]), content=TEXT, delta=TEXT, text=TEXT,
    output_index=NUMBER, item=ITEM, response=RESULT, result=RESULT, error=SAID | TEXT, progress=NUMBER, tool=TEXT,
    arguments=NESTED, provider_info=OBJECT, metadata=OBJECT, reason=TEXT, output=TEXT, model_instance_id=TEXT,
    choices=listed(with_fields(text=TEXT, finish_reason=TEXT)), usage=OBJECT,
    data=listed(with_fields(embedding=listed(NUMBER), index=NUMBER)),
)  # fmt: skip


def decode(make: Callable[[Put], Decoder], batches: list[list[bytes]], *, is_whole: bool = False) -> tuple[Any, ...]:
    """What the caller sees of an answer, and the error that ended it."""
    chunks: list[StreamingChunk] = []
    answer = make(chunks.append)
    ending = read(answer, batches, is_whole=is_whole)
    folded = fold(chunks)
    raw = answer.raw(folded)
    if not isinstance(answer, EmbeddingsDecoder):
        assert isinstance(msgspec.json.decode(raw), dict)
    assert all(chunk.chunk or chunk.reasoning or chunk.tool_calls for chunk in chunks)
    assert answer.began or not chunks
    told = (folded, answer.usage, answer.stats, answer.model, answer.finish_reason, answer.response_id)
    msgspec.json.encode((told, answer.server_calls))
    return *told, answer.server_calls, answer.ended, ending


def cut_streams() -> SearchStrategy[tuple[Callable[[Put], Decoder], bytes]]:
    return st.sampled_from(STREAMS).flatmap(lambda pair: st.tuples(st.just(pair[0]), mutated([pair[1]])))


@settings(deadline=None)
@given(cut_streams(), CUTS)
def test_a_stream_is_the_same_answer_however_cut(told: tuple[Callable[[Put], Decoder], bytes], cuts: list[int]) -> None:
    """From bytes to chunks, a recorded stream with mutations ends alike wherever the network cut it."""
    make, body = told

    def answered(pieces: list[bytes]) -> tuple[Any, ...]:
        parser = SSEParser()
        return decode(make, [parser.feed(piece) for piece in pieces])

    assert answered(cut(body, cuts)) == answered([body])


@settings(deadline=None)
@given(st.sampled_from(MADE), st.lists(EVENT | ODD, min_size=1, max_size=6))
def test_every_event_is_an_answer_or_a_typed_error(make: Callable[[Put], Decoder], told: list[bytes]) -> None:
    """Events of any kind and type give chunks or our error, and batches of events make no difference."""
    assert decode(make, [told]) == decode(make, [[event] for event in told])


@settings(deadline=None)
@given(
    st.sampled_from(BODIES).flatmap(lambda pair: st.tuples(st.just(pair[0]), mutated([pair[1]])))
    | st.tuples(st.sampled_from(MADE), RESULT | EVENT | st.binary(max_size=12))
)
def test_every_body_is_an_answer_or_a_typed_error(told: tuple[Callable[[Put], Decoder], bytes]) -> None:
    """A whole answer gives chunks or our error, whatever its bytes."""
    decode(told[0], [[told[1]]], is_whole=True)


@pytest.mark.parametrize("make", [native, responses])
@pytest.mark.parametrize("depth", [1000, 10_000, 100_000])
def test_deep_nesting(make: Callable[[Put], Decoder], depth: int) -> None:
    """JSON that is nested deeper than the stack is an answer or a typed error all the same."""
    deep = "[" * depth + "]" * depth
    for shape in (
        '{"output":[{"type":"tool_call","arguments":%s}],"stats":%s}',
        '{"output":[{"type":"message","content":%s}],"usage":%s}',
        '{"type":"tool_call.failure","metadata":{"arguments":%s},"reason":%s}',
        '{"type":"response.output_item.done","output_index":%s,"item":{"arguments":%s}}',
        '{"type":"response.output_item.done","output_index":[1],"item":{"type":"function_call","name":%s,"id":%s}}',
    ):
        body = (shape % (deep, deep)).encode()
        decode(make, [[body, body]])
        decode(make, [[body]], is_whole=True)
