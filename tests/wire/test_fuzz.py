"""Whatever a server may send: arbitrary bytes, recorded streams with mutations, JSON with wrong types.

``make fuzz`` tries many more examples of the same.
"""

from __future__ import annotations

import json
import math
import pickle
import re
from bisect import bisect_left
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neuroroute import LMStudioError, MalformedResponseError, ModelContextLengthError, StreamingChunk
from neuroroute.responses import fold
from neuroroute.simulator.answers import Answer, StreamFault
from neuroroute.simulator.catalogue import CATALOGUE
from neuroroute.simulator.chat import Completion, streamed, whole
from neuroroute.wire.decode import AnswerDecoder
from neuroroute.wire.failures import failure, failure_in_success, retry_after_ms
from neuroroute.wire.sse import SSEParser

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

TOOLS = {"weather": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}
CALLS_AS_TEXT = (
    'Yes. <tool_call>\n{"name": "weather", "arguments": {"city": "Rom\\u00e9", "days": 3}}\n</tool_call>',
    "<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</parameter>\n</function>\n</tool_call>",
    '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Rome"}}]',
    "```\n<tool_call>{}</tool_call>\n```",
)
ANSWERS = (
    Answer("Hello there, \N{GRINNING FACE} \N{EURO SIGN}!", comment="ping"),
    Answer("42", reasoning="hard to say", newline="\r\n", role="alone"),
    Answer("42", reasoning="hard to say", reasoning_form="think", chunk_size=3),
    Answer(tool_calls=[("weather", {"city": "Rome"}), ("weather", '{"city": "Oslo"}', "7")], role="every"),
    Answer("a b c", stream_fault=StreamFault("error", after=2, done=True)),
    Answer("a b c", stats={"tokens_per_second": 3.5}, usage={"prompt_tokens": 1, "completion_tokens": 2}),
    *(Answer(text, chunk_size=7) for text in CALLS_AS_TEXT),
)
COMPLETIONS = [
    Completion(answer, {"stream_options": {"include_usage": True}}, "c1", 1764000000, "llama3") for answer in ANSWERS
]
STREAMS = [b"".join(piece.data for piece in streamed(completion).pieces) for completion in COMPLETIONS]
BODIES = [b"".join(piece.data for piece in whole(completion).pieces) for completion in COMPLETIONS]
EVENTS = [line[6:] for body in STREAMS for line in body.splitlines() if line.startswith(b"data: ")]


# --- what there is to try ---

NESTED = st.one_of(st.integers(1, 30), st.integers(600, 1100)).map(lambda depth: b"[" * depth + b"]" * depth)
ODD = st.one_of(
    st.sampled_from([b"null", b"true", b"false", b"0", b"-1", b"1e999", b"-1e308", b"NaN", b"Infinity", b"2.5", b"{}"]),
    st.sampled_from([b"1" * 400, b"1" * 5000, b'""', b'" "', b'"\xff"', b"[]", b"[[]]", b"[{}]", b"[null]"]),
    st.sampled_from(
        [b'"\\ud83d"', b'"\\ude00"', b'"\\ud83d\\ude00"', b'"\\ude00\\ud83d"', b'"\xed\xa0\xbd"', b'"\\u00"']
    ),
    st.text(max_size=12).map(lambda text: json.dumps(text).encode()),
    st.integers().map(lambda number: b"%d" % number),
    NESTED,
)
PIECES = st.one_of(
    ODD,
    st.binary(max_size=6),
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b"data: ", b"data", b":", b"\xef\xbb\xbf", b"[DONE]"]),
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b'"', b"\\", b",", b"<think>", b"</think>", b"<tool_call>", b"`", b"\x00"]
    ),
)


def mutated(bases: list[bytes]) -> SearchStrategy[bytes]:
    """One of these with pieces of it left out, said again, or put into the place of others."""
    edits = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 30), PIECES | st.none()), max_size=5)

    def edit(base: bytes, changes: list[tuple[int, int, bytes | None]]) -> bytes:
        for at, length, piece in changes:
            at %= len(base) + 1
            put = 2 * base[at : at + length] if piece is None else piece
            base = base[:at] + put + base[at + length :]
        return base

    return st.builds(edit, st.sampled_from(bases), edits)


def as_object(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"{" + b",".join(b'"' + name + b'":' + value for name, value in pairs) + b"}"


def with_fields(**fields: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """An object with some of these, a few of them of another type, twice, or of another name."""
    known = [st.tuples(st.just(name.encode()), value | ODD) for name, value in fields.items()]
    unknown = st.tuples(st.sampled_from([b"x", b"\xff", b"\\ud83d", b"", b"role"]), ODD)
    return st.lists(st.one_of(*known, *known, unknown), max_size=5).map(as_object)


def listed(items: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    return st.lists(items, max_size=3).map(lambda values: b"[" + b",".join(values) + b"]")


TEXT = st.sampled_from([piece.encode() for piece in re.findall(r"\w+|\W", "".join(CALLS_AS_TEXT))]).map(
    lambda piece: json.dumps(piece.decode()).encode()
) | st.sampled_from([json.dumps(text).encode() for text in CALLS_AS_TEXT])
NESTED_CALL = NESTED.map(
    lambda deep: json.dumps(f'<tool_call>{{"name":"weather","arguments":{deep.decode()}}}').encode()
)
NUMBER = st.sampled_from([b"0", b"1", b"2"])
CALL = with_fields(
    index=NUMBER,
    id=NUMBER | TEXT,
    function=with_fields(
        name=st.just(b'"weather"'), arguments=st.sampled_from([b'"{"', b'"}"', b'"{}"', b'{"city":"Oslo"}'])
    ),
)
DELTA = with_fields(
    content=TEXT | NESTED_CALL,
    reasoning_content=TEXT,
    reasoning=TEXT,
    tool_calls=listed(CALL),
    role=st.just(b'"assistant"'),
)
CHOICE = with_fields(delta=DELTA, message=DELTA, finish_reason=st.just(b'"stop"'))
MEASURES = with_fields(prompt_tokens=NUMBER, total_tokens=NUMBER, prompt_ms=NUMBER, tokens_per_second=NUMBER)
SAID = with_fields(message=TEXT, code=st.just(b'"model_not_found"'), type=TEXT, n_ctx=NUMBER, n_prompt_tokens=NUMBER)
PAYLOAD = with_fields(
    model=st.just(b'"llama3"'),
    choices=listed(CHOICE),
    usage=MEASURES,
    timings=MEASURES,
    stats=MEASURES,
    error=SAID | TEXT,
    message=TEXT,
    detail=SAID | TEXT,
)
LINES = st.lists(
    st.sampled_from(
        [
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b"data",
            b":",
            b" ",
            b"a",
            b"data: b",
            b"event: c",
            b"\xef\xbb\xbf",
            b"\xef",
            b"",
        ]
    ),
    max_size=20,
).map(b"".join)
BYTES = st.one_of(LINES, st.binary(max_size=200), mutated(STREAMS))
CUTS = st.lists(st.integers(0, 1 << 16), max_size=8)


def cut(body: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(at % (len(body) + 1) for at in cuts), len(body)]
    return [body[a:b] for a, b in pairwise(places)]


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

WORDS = st.sampled_from([case.body for case in CATALOGUE])
FAILED = st.one_of(
    st.binary(max_size=60),
    mutated([case.body for case in CATALOGUE]),
    PAYLOAD,
    SAID,
    ODD,
    WORDS.map(lambda body: body * 3),
)
DATES = ["Wed, 01 Apr 2026 12:00:00 GMT", "Wed, 01 Apr 2026 12:00:00 -0000", "1 Jan 0001 00:00 +9999", "Feb 30 2026"]
VALUES = st.one_of(
    st.text(st.characters(), max_size=30),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(
        ["9" * 400, "9" * 5000, "1e308", "-1e308", "nan", "-inf", "1_0", " 7 ", "\u0661", "\udc80", "true"]
    ),
    mutated([date.encode() for date in DATES]).map(lambda date: date.decode("ascii", "surrogateescape")),
)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after-ms", "Location", "x-should-retry"]), VALUES, max_size=4
)


def check(error: LMStudioError) -> None:
    """A failure can be told, written, sent to another process, and waited for."""
    assert type(error) is not LMStudioError
    assert error.message.strip()
    assert isinstance(error, LMStudioError)
    assert str(error).encode()
    assert repr(error).encode()
    assert type(error.retryable) is bool
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    if isinstance(error, ModelContextLengthError):
        for number in (error.prompt_tokens, error.context_length):
            assert number is None or (type(number) is int and number > 0)


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
    ending: tuple[Any, ...] = ()
    try:
        for events in batches:
            if is_whole:
                answer.whole(events[0])
            else:
                answer.events(events)
    except LMStudioError as error:
        check(error)
        ending = type(error), error.message
    if not is_whole or ending:
        answer.finish()
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


EVENT = st.one_of(PAYLOAD, PAYLOAD, with_fields(choices=listed(CHOICE)), mutated(EVENTS), st.binary(max_size=12))


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
