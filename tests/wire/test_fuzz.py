"""Whatever a server may send: arbitrary bytes, recorded streams with mutations, JSON with wrong types.

``make fuzz`` tries many more examples of the same.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from itertools import accumulate
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fuzzing import BODIES, BYTES, CUTS, EVENT, FAILED, HEADERS, PAYLOAD, STREAMS, TOOLS, check, cut, mutated, read
from neuroroute import MalformedResponseError, StreamingChunk
from neuroroute.responses import fold
from neuroroute.wire.decode import AnswerDecoder
from neuroroute.wire.failures import failure, failure_in_success, retry_after_ms
from neuroroute.wire.sse import SSEParser

# --- bytes to events ---


def standard(body: bytes) -> list[bytes]:
    """The data of the events of a body, as the standard says it: line by line."""
    events: list[bytes] = []
    data: list[bytes] = []
    *lines, _ = re.split(rb"\r\n|\n|\r", body.removeprefix(b"\xef\xbb\xbf"))
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        if not line and data:
            events.append(b"\n".join(data))
            data = []
    return events


@settings(deadline=None)
@given(BYTES, CUTS)
@example(b"data: a\r\n\n", [8, 9])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
@example(b"data: a\r\r\ndata: b\n\n", [7, 7, 8, 9])
def test_events_are_those_of_the_standard_however_cut(body: bytes, cuts: list[int]) -> None:
    """The parser finds what the standard's own line-by-line reading finds, whatever the bytes and the cuts."""
    for pieces in ([body], cut(body, cuts), [body[at : at + 1] for at in range(min(len(body), 300))]):
        parser = SSEParser()
        assert [event for piece in pieces for event in parser.feed(piece)] == standard(b"".join(pieces))


@settings(deadline=None)
@given(BYTES, CUTS, st.integers(1, 120))
def test_the_parser_remembers_no_more_than_its_limit(body: bytes, cuts: list[int], limit: int) -> None:
    """Held bytes stay within the limit; what was given before an event grew over it is what the standard finds."""
    parser = SSEParser(limit)
    found: list[bytes] = []
    try:
        for piece in cut(body, cuts):
            found += parser.feed(piece)
            assert sum(map(len, parser._parts)) + len(parser._mark or b"") <= max(limit, 3)
    except MalformedResponseError:
        assert len(body) > limit
        assert sum(map(len, parser._parts)) <= limit
    assert found == standard(body)[: len(found)]
    left = parser.rest()
    assert sum(map(len, left)) <= limit
    assert parser.rest() == []


# --- failures ---


@settings(deadline=None)
@given(st.integers(300, 999), FAILED, HEADERS, st.floats(0, 1e11))
@example(301, b"", {"Location": "http://\udc80/"}, 0.0)
@example(400, b'{"error":{"message":"n_keep: 7 >= n_ctx: 5","n_ctx":true,"n_prompt_tokens":-1}}', {}, 0.0)
def test_every_failure_is_typed(status: int, body: bytes, headers: dict[str, str], now: float) -> None:
    """Any status, body and headers are one of our errors, which can be shown, and whose wait is a number or none."""
    error = failure(status, body, headers, now)
    check(error)
    assert error.status == status
    wait = error.retry_after_ms
    assert wait is None or (type(wait) is float and math.isfinite(wait) and wait >= 0)
    assert retry_after_ms(headers, now) == wait


@settings(deadline=None)
@given(FAILED, st.booleans())
def test_every_success_that_is_none_is_typed(body: bytes, began: bool) -> None:
    """Any body of a 200 is one of our errors when it is no answer."""
    error = failure_in_success(body, began=began)
    check(error)
    assert error.status == 200


# --- events to chunks ---


def decode(batches: list[list[bytes]], *, with_tools: bool, is_whole: bool = False) -> tuple[Any, ...]:
    """What the caller sees of an answer: its text and calls, and the error that ended it."""
    chunks: list[StreamingChunk] = []
    answer = AnswerDecoder(chunks.append, TOOLS if with_tools else None)
    ending = read(answer, batches, is_whole=is_whole)
    folded = fold(chunks)
    message = msgspec.json.decode(answer.raw(folded))
    assert isinstance(message["choices"], list) or is_whole
    assert all(type(chunk.chunk) is str and type(chunk.reasoning) is str and not chunk.done for chunk in chunks)
    assert answer.began == any(chunk.chunk or chunk.reasoning or chunk.tool_calls for chunk in chunks)
    assert type(answer.model) is str
    msgspec.json.encode((folded, answer.usage, answer.stats, answer.model, answer.finish_reason))
    numbers = [part.index for chunk in chunks for part in chunk.tool_calls]
    assert all(number <= most + 1 for number, most in zip(numbers, [-1, *accumulate(numbers, max)], strict=False))
    return folded, answer.usage, answer.stats, answer.model, answer.finish_reason, answer.ended, ending


@settings(deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=6), st.booleans())
@example([b'{"model":"\xff","choices":[{"delta":{"content":"a"}}]}'], False)
@example([b'{"model":"\\ud83d","choices":[{"delta":{"content":"a"}}]}'], False)
@example([b'{"\xff":1,"choices":[{"delta":{"content":"a"}}]}'], False)
@example([b"[DONE]", b'{"choices":[{"delta":{"content":"a"}}]}'], False)
@example([b'{"choices":[]}', b'{"\xff":1,"choices":[],"usage":{}}'], False)
def test_every_event_is_an_answer_or_a_typed_error(events: list[bytes], with_tools: bool) -> None:
    """Events give chunks or our error, raw can be read afterwards, and batches of events make no difference."""
    one_by_one = decode([[event] for event in events], with_tools=with_tools)
    assert decode([events], with_tools=with_tools)[:-1] == one_by_one[:-1]


@settings(deadline=None)
@given(st.one_of(PAYLOAD, mutated(BODIES), st.binary(max_size=12)), st.booleans())
def test_every_body_is_an_answer_or_a_typed_error(body: bytes, with_tools: bool) -> None:
    """A whole answer gives a chunk or our error, and raw can be read afterwards."""
    decode([[body]], with_tools=with_tools, is_whole=True)


@settings(deadline=None)
@given(mutated(STREAMS), CUTS, st.booleans())
def test_a_stream_is_the_same_answer_however_cut(body: bytes, cuts: list[int], with_tools: bool) -> None:
    """From bytes to chunks, a recorded stream with mutations ends alike wherever the network cut it."""

    def answered(pieces: list[bytes]) -> tuple[Any, ...]:
        parser = SSEParser()
        return decode([parser.feed(piece) for piece in pieces], with_tools=with_tools)

    assert answered(cut(body, cuts)) == answered([body])


def decodes(depth: int) -> bool:
    try:
        msgspec.json.decode(b"[" * depth + b"]" * depth)
    except RecursionError:
        return False
    return True


@pytest.mark.parametrize(
    "shape",
    [
        '{"choices":[{"delta":{"content":"a"}}],"model":%s}',
        '{"choices":[{"delta":{"content":"a"}}],"usage":%s}',
        '{"choices":[{"delta":{"tool_calls":[{"index":%s,"function":{"name":"weather","arguments":"{"}}]}}]}',
        '{"choices":[{"delta":{"tool_calls":[{"id":%s,"function":{"name":"weather"}}]}}]}',
        '{"choices":[{"delta":{"tool_calls":[{"function":{"name":"weather","arguments":%s}}]}}]}',
        '{"choices":[{"delta":{"content":"<tool_call>{\\"name\\":\\"weather\\",\\"arguments\\":{\\"a\\":%s}}</tool_call>"}}]}',
        '{"error":{"message":"no","details":%s}}',
        '{"error":%s}',
        "%s",
    ],
)
def test_nesting_at_the_edge_of_the_stack(shape: str) -> None:
    """JSON that just decodes, and cannot be handled a few calls deeper, is an answer or a typed error all the same."""
    edge = bisect_left(range(1 << 17), True, key=lambda depth: not decodes(depth))
    for depth in range(edge - 16, edge + 2):
        body = (shape % ("[" * depth + "]" * depth)).encode()
        for with_tools in (False, True):
            decode([[body, body]], with_tools=with_tools)
            decode([[body]], with_tools=with_tools, is_whole=True)
        check(failure(400, body, {}))
        check(failure_in_success(body))
