from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.wire.salvage import CallSalvager, SalvagedCall

TOOLS: dict[str, dict[str, Any]] = {
    "f": {
        "type": "object",
        "$defs": {"Place": {"type": "object"}, "Unit": {"enum": ["1", "2"]}},
        "properties": {
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "share": {"type": "number"},
            "sure": {"type": "boolean"},
            "list": {"type": "array"},
            "place": {"$ref": "#/$defs/Place"},
            "unit": {"$ref": "#/$defs/Unit"},
            "maybe_text": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "maybe_count": {"type": ["integer", "null"]},
            "anything": {},
        },
    },
    "g": {},
}
F = SalvagedCall("f", "{}")
G = SalvagedCall("g", "{}")

LITERAL = '{"name": "f", "arguments": {"text": "[END_TOOL_REQUEST] </tool_call> \\" {"}}'
CALLS = [
    '[TOOL_REQUEST]{"name": "f", "arguments": {}}[END_TOOL_REQUEST]',
    '<tool_call>\n{"name": "g", "arguments": {"a": [1, {"b": "}"}]}}\n</tool_call>',
    "<tool_call>\n<function=f>\n<parameter=text>\na <b> c\n</parameter>\n</function>\n</tool_call>",
    "<function=g></function>",
    f"[TOOL_REQUEST]{LITERAL}[END_TOOL_REQUEST]",
    '<tool_call>{"name": "f"}\n{"name": "g"}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"text": "x"}</tool_call>',
]
NO_CALLS = [
    '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>',
    "[TOOL_REQUEST] is how to ask [END_TOOL_REQUEST]",
    "<function=h></function>",
    '```\n<tool_call>{"name": "f"}</tool_call>\n```',
    "`<function=g></function>`",
    '<tool_call>{"name": "f", "arguments": "x"}</tool_call>',
    "a < b, c[1], <tool>, `",
]
SCRAPS = st.sampled_from(
    [
        *("[TOOL_REQUEST]", "[END_TOOL_REQUEST]", "<tool_call>", "</tool_call>"),
        *("<function=", "<function=f>", "</function>", "<parameter=a>", "</parameter>"),
        *('{"name": "f"', '{"name": "g"}', ', "arguments": ', "{}", "}", "{", '"', "'", "\\", ":", ","),
        *("`", "```", "\n", " ", "a", "ü", "<", "[", ">"),
        *CALLS,
        *NO_CALLS,
    ]
)
CONTENTS = st.lists(SCRAPS, max_size=10).map("".join)


def salvaged(pieces: Iterable[str]) -> list[str | SalvagedCall]:
    """What comes out, texts joined."""
    salvager = CallSalvager(TOOLS)
    out = [item for piece in pieces for item in salvager.feed(piece)] + salvager.finish()
    joined: list[str | SalvagedCall] = []
    for kind, group in groupby(out, type):
        items = list(group)
        joined.extend(["".join(map(str, items))] if kind is str else items)
    return joined


def calls_in(content: str) -> list[SalvagedCall]:
    return [item for item in salvaged([content]) if isinstance(item, SalvagedCall)]


def text_in(content: str) -> str:
    return "".join(item for item in salvaged([content]) if isinstance(item, str))


# --- any content ---


@given(CONTENTS, st.lists(st.integers(1, 20)))
def test_any_cut_gives_the_same(content: str, lengths: list[int]) -> None:
    """Text, calls and their order do not depend on how the content was cut."""
    pieces, at = [], 0
    for length in lengths:
        pieces.append(content[at : at + length])
        at += length
    assert salvaged([content]) == salvaged(content) == salvaged([*pieces, content[at:]])


@given(CONTENTS | st.text())
def test_content_without_a_call_is_unchanged(content: str) -> None:
    """What holds no call is given out byte for byte; what holds one gives no text that was not there."""
    out = salvaged(content)
    if any(isinstance(item, SalvagedCall) for item in out):
        left = iter(content)
        assert all(character in left for item in out if isinstance(item, str) for character in item)
    else:
        assert "".join(map(str, out)) == content


@given(CONTENTS)
def test_calls_are_to_offered_tools_with_objects(content: str) -> None:
    """Every call is to an offered tool, and its arguments are the JSON text of an object."""
    for call in calls_in(content):
        assert call.name in TOOLS
        assert isinstance(json.loads(call.arguments), dict)


@given(CONTENTS)
def test_nothing_is_salvaged_where_nothing_is_offered(content: str) -> None:
    """Without tools everything is text."""
    salvager = CallSalvager({})
    assert "".join(map(str, [*salvager.feed(content), *salvager.finish()])) == content


@pytest.mark.parametrize("no_call", NO_CALLS)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_call_hides_none(call: str, no_call: str) -> None:
    """A call is found after anything that proved to be none, and before it."""
    expected = calls_in(call)
    assert expected
    out = salvaged(f"{no_call}\n{call}\n{no_call}")
    assert [item for item in out if isinstance(item, SalvagedCall)] == expected
    assert (out[0], out[-1]) == (f"{no_call}\n", f"\n{no_call}")


# --- the three forms ---


@pytest.mark.parametrize(
    "content",
    [
        '[TOOL_REQUEST]{"name": "f", "arguments": {"count": 1}}[END_TOOL_REQUEST]',
        '[TOOL_REQUEST]\n{"name": "f", "parameters": {"count": 1}}\n[END_TOOL_REQUEST]\n',
        '<tool_call>{"arguments": {"count": 1}, "id": 7, "name": "f"}</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": "{\\"count\\": 1}"}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {"count": 1}}',
        '[TOOL_REQUEST]{"name": "f", "arguments": {"count": 1}}[END_TOOL',
        '<tool_call>{"name": "f", "arguments": {"count": 1}}}</tool_call>',
        "<tool_call>{'name': 'f', arguments: {'count': 1,},}</tool_call>",
        "<tool_call><function=f><parameter=count>1</parameter></function></tool_call>",
        "<tool_call>\n<function=f>\n<parameter=count>\n1\n</parameter>\n</function>\n</tool_call>",
        "<tool_call><function=f><parameter=count>1</parameter></tool_call>",
        "<tool_call><function=f><parameter=count>1</parameter></function>",
        "<function=f><parameter=count> 1 </parameter></function>\n</tool_call>",
        "<function=f><parameter=count>1</parameter></function></tool",
    ],
)
def test_forms(content: str) -> None:
    """Each form is read, with its usual irregularities: no text is left, the arguments are an object."""
    (call,) = salvaged(content)
    assert isinstance(call, SalvagedCall)
    assert (call.name, json.loads(call.arguments)) == ("f", {"count": 1})


@pytest.mark.parametrize("arguments", ["", ', "arguments": {}', ', "arguments": null', ', "arguments": " "'])
def test_no_arguments(arguments: str) -> None:
    """Arguments that are missing are an empty object."""
    assert salvaged(f'<tool_call>{{"name": "f"{arguments}}}</tool_call>') == [F]


@pytest.mark.parametrize(
    "content",
    [
        '<tool_call>{"name": "F"}</tool_call>',
        '<tool_call>{"name": 5}</tool_call>',
        '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": "f", "arguments": "count"}</tool_call>',
        '<tool_call>{"name": "f", "name": "g"}</tool_call>',
        '<tool_call>{"name": "f"} and so on',
        '<tool_call>{"name": "f"}</tool_call!',
        '<tool_call>{"name": "f"}[END_TOOL_REQUEST]',
        '<tool_call>{"name": "f"',
        '<tool_call>{"name": "f", "arguments": {"text": "Par',
        '<tool_call>{"name": "f", "arguments": {"count": 12</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"text": "a"}</tool',
        '<tool_call>{"name": "f" {"name": "g"}</tool_call>',
        "<tool_call></tool_call>",
        "<tool_call>",
        "<tool_",
        '<TOOL_CALL>{"name": "f"}</TOOL_CALL>',
        "<function=f><parameter=count>1</parameter>",
        "<function=f><parameter=count>1",
        "<function=f><parameter=count>1</parameter><parameter=count>2</parameter></function>",
        "<function=f></tool_call>",
        "<function=F></function>",
    ],
)
def test_no_call(content: str) -> None:
    """What calls no offered tool, is not ended or has no one reading is given out unchanged."""
    assert salvaged(content) == [content]


def test_arguments_are_as_the_model_wrote_them() -> None:
    """Valid JSON keeps its spaces, digits and escapes."""
    arguments = '{ "share" :1.50,\n"text":"\\u00fc" }'
    assert calls_in(f'<tool_call>{{"name":"f","arguments":{arguments}}}</tool_call>') == [SalvagedCall("f", arguments)]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("text", "\n5\n", "5"),
        ("text", "\n\n a\n b\n\n", "\n a\n b\n"),
        ("text", "null", "null"),
        ("text", '{"a": "</function></tool_call>"}', '{"a": "</function></tool_call>"}'),
        ("count", "\n5\n", 5),
        ("count", "five", "five"),
        ("share", "0.5", 0.5),
        ("sure", "True", True),
        ("list", "[1, 2,]", [1, 2]),
        ("list", "[1, 2", "[1, 2"),
        ("place", "{'city': 'Paris'}", {"city": "Paris"}),
        ("unit", "1", "1"),
        ("maybe_text", "null", None),
        ("maybe_text", "5", "5"),
        ("maybe_count", "null", None),
        ("maybe_count", "5", 5),
        ("anything", "5", "5"),
        ("undeclared", "5", "5"),
    ],
)
def test_parameters_are_typed_by_the_schema(key: str, text: str, value: Any) -> None:
    """A parameter stays a text where the schema allows one, else it is the JSON that it holds, if it holds any."""
    (call,) = calls_in(f"<tool_call><function=f><parameter={key}>{text}</parameter></function></tool_call>")
    assert json.loads(call.arguments) == {key: value}


def test_a_schema_that_refers_to_itself() -> None:
    """References that go round in a circle come to an end."""
    schema = {
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "integer"}]}},
    }
    salvager = CallSalvager({"f": schema})
    content = "<function=f><parameter=a>1</parameter></function>"
    assert [*salvager.feed(content), *salvager.finish()] == [SalvagedCall("f", '{"a":1}')]


# --- several, and what is around them ---


@pytest.mark.parametrize(
    ("content", "out"),
    [
        ('\n\n<tool_call>{"name": "f"}</tool_call>\n<tool_call>{"name": "g"}</tool_call>\n', [F, G]),
        ('[TOOL_REQUEST]{"name": "f"}{"name": "g"}[END_TOOL_REQUEST]', [F, G]),
        ('[TOOL_REQUEST]{"name": "f"}\n[TOOL_REQUEST]{"name": "g"}', [F, G]),
        ("<tool_call><function=f></function>\n<function=g></function></tool_call>", [F, G]),
        ('<tool_call>{"name": "h"}\n{"name": "f"}</tool_call>', ['{"name": "h"}', F]),
        ('I look.\n<tool_call>{"name": "f"}</tool_call>\n\nDone.\n', ["I look.\n", F, "\n\nDone.\n"]),
        ("<function=f></function> and <function=g></function>", [F, " and ", G]),
        ('<tool_call>{"name": "f"}<', [F]),
        ('<tool_call>{"name": "f"}\n<t', [F, "\n<t"]),
        ("\n \n", ["\n \n"]),
    ],
)
def test_several_calls_and_text_around(content: str, out: list[str | SalvagedCall]) -> None:
    """Calls come in order, text between them stays; white space alone is not left over."""
    assert salvaged(content) == out


@pytest.mark.parametrize(
    ("content", "is_found"),
    [
        ("```\n{call}\n```", False),
        ("```json\n{call}", False),
        ("````\n```\n{call}\n```\n````", False),
        ("Write `{call}` to call.", False),
        ("Write ``{call} ` `` to call.", False),
        ("```\ncode\n```\n{call}", True),
        ("`code` {call}", True),
        ("it`s a stray one\n{call}", True),
    ],
)
@pytest.mark.parametrize("call", [call.replace("\n", " ") for call in CALLS])
def test_code_is_text(content: str, call: str, is_found: bool) -> None:
    """In a fence or between backticks of one line nothing is a call; after them it is."""
    content = content.replace("{call}", call)
    assert bool(calls_in(content)) is is_found
    assert salvaged(content) == salvaged([content])


def test_a_second_try_is_found() -> None:
    """A broken call does not swallow the one after it, although its string was never closed."""
    broken = '<tool_call>{"name": "f", "arguments": {"text": "a}}</tool_call>\n'
    assert salvaged(f'{broken}<tool_call>{{"name": "f"}}</tool_call>') == [broken, F]


# --- streams ---


def test_text_is_held_back_no_longer_than_needed() -> None:
    """Text flows at once, unless it may be a tag or the beginning of a call; calls come when they are closed."""
    salvager = CallSalvager(TOOLS)
    steps: list[tuple[str, list[str | SalvagedCall]]] = [
        ("Hi", ["Hi"]),
        (" there\n", [" there\n"]),
        ("a <", ["a "]),
        ("b, x[", ["<b, x"]),
        ("1] ```", ["[1] ```"]),
        ("<tool_call>", ["<tool_call>"]),
        ("```", ["```"]),
        ("<tool_", []),
        ("box>", ["<tool_box>"]),
        ("<tool_call>", []),
        (" hm", ["<tool_call> hm"]),
        ('<tool_call>{"name": "f" o', []),
        ("r", []),
        (" ", ['<tool_call>{"name": "f" or ']),
        ("<function=fo", ["<function=fo"]),
        ('[TOOL_REQUEST]{"name": "f"}', []),
        ("[END_TOOL_REQUEST]", [F]),
        ("\n", []),
        ("so", ["\nso"]),
    ]
    for piece, out in steps:
        assert salvager.feed(piece) == out, piece
    assert salvager.finish() == []


def test_what_is_held_back_is_bounded() -> None:
    """A call that does not end is given out after 256 KiB, wherever the content is cut; a shorter one is a call."""
    begin, end = '<tool_call>{"name": "f", "arguments": {"text": "', '"}}</tool_call>'
    room = 256 * 1024 - len(begin) - len(end) + len("<tool_call>")
    assert len(calls_in(begin + "a" * room + end)) == 1
    content = begin + "a" * (room + 1) + end
    assert salvaged([content]) == [content]
    assert salvaged([content[at : at + 1000] for at in range(0, len(content), 1000)]) == [content]
    salvager = CallSalvager(TOOLS)
    assert salvager.feed(begin) == []
    assert salvager.feed("a" * (room + len(end) - 1)) == []
    assert salvager.feed("a") == [begin + "a" * (room + len(end))]


HOSTILE = [
    "<tool_call>",
    "[TOOL_REQUEST]{",
    '<tool_call>{"',
    '<tool_call>{"a":"',
    "<function=f><parameter=a>",
    "<",
    "[",
]
HOSTILE += [
    '<tool_call>{"a":"\'',
    "<tool_call>{\"'\":['",
    "`",
    "\n",
    '[TOOL_REQUEST]{"a":[',
    '<tool_call>{"name":"h"}',
    "{",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_content_takes_linear_time(piece: str) -> None:
    """A megabyte of beginnings is given out unchanged: this test would not end otherwise."""
    content = piece * (10**6 // len(piece))
    assert salvaged([content]) == [content]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("before", ['<tool_call>{"a":"', "<function=f><parameter=text>"])
def test_hostile_streams_take_linear_time(before: str, piece: str) -> None:
    """More beginnings than are held back, in something that does not end, are given out unchanged however they come."""
    content = before + piece * (300_000 // len(piece))
    assert salvaged([content[at : at + 10] for at in range(0, len(content), 10)]) == [content]
