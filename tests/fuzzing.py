"""What a server may send, for the fuzz tests: bytes, recorded streams with mutations, JSON with wrong types."""

from __future__ import annotations

import json
import pickle
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from neuroroute import LMStudioError, ModelContextLengthError
from neuroroute.simulator.answers import Answer, StreamFault
from neuroroute.simulator.catalogue import CATALOGUE
from neuroroute.simulator.chat import Completion, body, events
from neuroroute.simulator.delivery import streamed, whole
from neuroroute.simulator.models import SimulatedModel
from neuroroute.simulator.profiles import PROFILES
from neuroroute.simulator.style import style_of
from neuroroute.simulator.unknowns import Unknowns

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from neuroroute.wire.decoder import Decoder

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
ASKED = {"stream_options": {"include_usage": True}}
MODEL = SimulatedModel("llama3")
STYLE = style_of(MODEL, ASKED, 0, PROFILES["0.4.25"], Unknowns())
COMPLETIONS = [Completion(answer, ASKED, "c1", 1764000000, "llama3", STYLE, MODEL, 4096) for answer in ANSWERS]
STREAMS = [b"".join(piece.data for piece in streamed(it.answer, STYLE, events(it)).pieces) for it in COMPLETIONS]
BODIES = [b"".join(piece.data for piece in whole(it.answer, STYLE, body(it), deltas=0).pieces) for it in COMPLETIONS]
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

# --- events ---

EVENT = st.one_of(PAYLOAD, PAYLOAD, with_fields(choices=listed(CHOICE)), mutated(EVENTS), st.binary(max_size=12))


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


def read(answer: Decoder, batches: list[list[bytes]], *, is_whole: bool) -> tuple[Any, ...]:
    """Has an answer read as its reply reads it; the error that ended it, if one did."""
    try:
        for events in batches:
            if is_whole:
                answer.whole(events[0])
            else:
                answer.events(events)
    except LMStudioError as error:
        check(error)
        answer.finish()
        return type(error), error.message
    if not is_whole:
        answer.finish()
    return ()
