from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.wire.repair import repaired_json

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "it's", 'say "hi"', "a\nb\t", "\\", "{", "[1,", "}", "a, b: c", "```", "True", "\\n", "//", "\x00"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
NAMED = st.dictionaries(st.sampled_from(["a", "city", "n_2", "_x", "länge"]), VALUES, min_size=1)
IN_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')


def value_of(text: str) -> Any:
    repaired = repaired_json(text)
    assert repaired is not None
    return json.loads(repaired)


def with_trailing_commas(text: str, comma: str) -> str:
    """The JSON text with a comma before every closing bracket that follows something, but not in its strings."""
    return re.sub(rf"({IN_STRINGS.pattern})|(?<=[^\[{{])([}}\]])", lambda m: m[1] or comma + m[2], text)


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_valid_json_is_unchanged(value: Any, indent: int | None, ascii_only: bool) -> None:
    """Valid JSON comes back byte for byte, unless it is a string that holds an object."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert repaired_json(text) == text
    assert repaired_json(f" {text}\n") == f" {text}\n"


@given(
    st.text() | st.text("{}[]:,\"'\\`ntrue1.- \n") | st.lists(st.sampled_from(["{", '"a"', ":", "1", ",", "}", "'"]))
)
def test_whatever_comes_back_is_json(text: str | list[str]) -> None:
    """No text raises, and what comes back is JSON for both readers and stays as it is."""
    repaired = repaired_json("".join(text))
    if repaired is not None:
        json.loads(repaired)
        msgspec.json.decode(repaired)
        assert repaired_json(repaired) == repaired


@given(OBJECTS, st.sampled_from(["```json\n%s\n```", "```\n%s```", "\n ```JSON\r\n%s\r\n``` \n", "```json %s```"]))
def test_a_code_fence(value: Any, fence: str) -> None:
    """The fence around an object falls away; what looks like one in its strings stays."""
    assert value_of(fence % json.dumps(value)) == value


@given(OBJECTS, st.sampled_from([",", " , ", ",\n"]))
def test_trailing_commas(value: Any, comma: str) -> None:
    """A comma before a closing bracket means nothing, but for one in an empty list or object."""
    assert value_of(with_trailing_commas(json.dumps(value), comma)) == value


@given(OBJECTS)
def test_python_literals(value: Any) -> None:
    """What Python prints of an object is read as it was meant, its quotes and escapes included."""
    text = repr(value)
    if not re.search(r"\\(?![\\'\"nrt])", text):  # \x00 and the like have no JSON of the same letters
        assert value_of(text) == value


@given(OBJECTS)
def test_single_quotes(value: Any) -> None:
    """Strings in single quotes are read when every quote inside is escaped."""
    text = IN_STRINGS.sub(lambda m: "'" + m[0][1:-1].replace('\\"', '"').replace("'", "\\'") + "'", json.dumps(value))
    assert value_of(text) == value


@given(OBJECTS)
def test_raw_control_characters(value: Any) -> None:
    """Newlines, tabs and other control characters in strings are escaped."""
    text = json.dumps(value)
    for escaped, raw in (("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r"), ("\\u0000", "\0")):
        text = re.sub(rf"(?<!\\)((?:\\\\)*){re.escape(escaped)}", lambda m, raw=raw: m[1] + raw, text)
    assert value_of(text) == value


@given(OBJECTS, st.integers(1, 9))
def test_missing_closing_brackets(value: Any, missing: int) -> None:
    """Brackets missing at the very end are closed, after a closed string, a literal or a closed bracket only."""
    whole = json.dumps(value)
    text = whole[: -min(missing, len(whole) - len(whole.rstrip("]}")))]
    if text[-1:] in "{[" or text[-1].isdigit():
        assert repaired_json(text) is None
    else:
        assert value_of(text) == value


@given(OBJECTS)
def test_one_closing_brace_too_many(value: Any) -> None:
    """One more closing brace than the object needs is left out, two are not."""
    text = json.dumps(value)
    assert value_of(text + "}") == value
    assert repaired_json(text + "}}") is None


@given(NAMED)
def test_keys_without_quotes(value: Any) -> None:
    """Names as keys need no quotes."""
    text = json.dumps(value)
    for name in value:
        text = text.replace(f"{json.dumps(name)}:", f"{name}:", 1)
    assert value_of(text) == value


@given(OBJECTS)
def test_an_object_encoded_twice(value: Any) -> None:
    """A string that holds an object is the object."""
    assert value_of(json.dumps(json.dumps(value))) == value


@given(OBJECTS, st.data())
def test_what_was_cut_off_is_never_guessed(value: Any, data: st.DataObject) -> None:
    """An object that was cut anywhere has no reading, unless nothing but closing brackets is missing."""
    text = json.dumps(value, separators=(",", ":"))
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    if (repaired := repaired_json(cut)) is not None:
        assert repaired.startswith(cut)
        assert set(repaired[len(cut) :]) <= set("]}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "```",
        "hello",
        '{"city": "Par',
        '{"n": 12',
        '{"n": [12',
        '{"n": -',
        '{"ok": tru',
        '{"a": "b",',
        '{"a":',
        '{"a"',
        "{",
        '{"a": [',
        '{"a": [1, 2}',
        "{'a': 'it's'}",
        '{"a": "say "hi""}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": undefined}',
        '{"a": hello}',
        '{"a": 01}',
        '{"a": 1.}',
        '{"a": "\\x41"}',
        '{"path": "C:\\Users"}',
        "{'a': '\\/'}",
        '{"a": "\\ud800"}',
        '{"a": "\ud800"}',
        '{"a": 1, "a": 2}',
        "{'a': 1, \"\\u0061\": 2}",
        '{True: "x"}',
        '{1: "x"}',
        "{,}",
        "[,1]",
        "[1,,2]",
        '{"a" "b"}',
        '{"a": "b" "c": "d"}',
        '{"a": 1} {"b": 2}',
        '{"a": 1},',
        '{"a": 1}]',
        "[1]}",
        "[1]]",
        '{"a": 1} // done',
        '"{\\"a\\": }"}',
    ],
)
def test_no_reading_or_several(text: str) -> None:
    """What has no reading, or more than one, is not repaired."""
    assert repaired_json(text) is None


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ('{"city": "Paris"', '{"city":"Paris"}'),
        ('{"a": {"b": [true', '{"a":{"b":[true]}}'),
        ("{'say': 'it\\'s \"x\"', n: None,}", '{"say":"it\'s \\"x\\"","n":null}'),
        ('{"a": "it\\\'s"}', '{"a":"it\'s"}'),
        ("'{\"a\": 1}'", '{"a": 1}'),
        ('```json\n{"a": [1,],}}\n```', '{"a":[1]}'),
        ('```json\n{"a": 1}', '{"a": 1}'),
        ("True", "true"),
        ('"text"', '"text"'),
        ('"[1]"', '"[1]"'),
        ('{"a": 1.50, "b": 1E+2,}', '{"a":1.50,"b":1E+2}'),
    ],
)
def test_readings(text: str, repaired: str) -> None:
    """Several breakages are repaired together, and numbers keep the digits that they were written with."""
    assert repaired_json(text) == repaired


@pytest.mark.parametrize("opens", ["[", '{"a":'])
def test_nesting_is_bounded(opens: str) -> None:
    """A hundred levels are read, more are refused, however many; broken or not."""
    closes = "]" if opens == "[" else "}"
    inner = "[]" if opens == "[" else "{}"
    for depth, is_read in ((100, True), (101, False), (990, False), (100_000, False)):
        text = opens * (depth - 1) + inner + closes * (depth - 1)
        assert (repaired_json(text) == text) is is_read
        assert (repaired_json(text[:-1] + "," + closes) is not None) is is_read


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        "[",
        '"',
        "'",
        '"\\',
        "'\\",
        '"a',
        '{"a":',
        "[1,",
        "`",
        "```",
        " ",
        "1",
        "-",
        "a",
        '{"a":"',
        '[{"a":1},',
        "\\",
    ],
)
@pytest.mark.parametrize("before", ["", '"', "'", '["', '{"a": '])
def test_hostile_text_takes_linear_time(before: str, piece: str) -> None:
    """A megabyte of anything is looked through, not searched: this test would not end otherwise."""
    repaired_json(before + piece * (10**6 // len(piece)))
