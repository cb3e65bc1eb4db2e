from __future__ import annotations

import copy
import itertools
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.shapes import PartialJSON

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


@st.composite
def texts(draw: st.DrawFn, values: st.SearchStrategy[Any] = VALUES) -> str:
    return json.dumps(draw(values), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(places)]


def is_prefix(early: Any, late: Any) -> bool:
    """A value that may grow into the other: its last text or container may be shorter, all before is the same."""
    if early is None:
        return True
    if type(early) is not type(late):
        return False
    if isinstance(early, str):
        return late.startswith(early)
    if not isinstance(early, (list, dict)):
        return early == late
    first = list(early.items()) if isinstance(early, dict) else list(enumerate(early))
    second = list(late.items()) if isinstance(late, dict) else list(enumerate(late))
    *whole, (key, last) = first or [(None, None)]
    return not first or (
        whole == second[: len(whole)]
        and len(second) > len(whole)
        and key == second[len(whole)][0]
        and is_prefix(last, second[len(whole)][1])
    )


def fed(*parts: str) -> PartialJSON:
    partial = PartialJSON()
    for part in parts:
        partial.feed(part)
    return partial


@given(texts(), st.lists(st.integers(0, 10_000)))
def test_any_cut_ends_with_the_whole_value(text: str, cuts: list[int]) -> None:
    """However a JSON text is cut, it ends with the value of the whole text, and before that holds prefixes of it."""
    whole = msgspec.json.decode(text)
    partial = PartialJSON()
    for piece in pieces(text, cuts):
        partial.feed(piece)
        assert is_prefix(partial.value, whole)
    assert partial.finish() == whole
    assert partial.complete
    assert not partial.broken


@given(texts(CONTAINERS))
def test_character_by_character(text: str) -> None:
    """Fed one character at a time, every value is a prefix of the next, and a container is complete at its last one."""
    partial, before = PartialJSON(), None
    for char in text:
        partial.feed(char)
        value = copy.deepcopy(partial.value)
        assert is_prefix(before, value)
        before = value
    assert partial.complete
    assert before == msgspec.json.decode(text)


@given(st.text(alphabet='{}[]",:\\u0dD8eE1-. \ntruefalsn`j') | st.text(), st.lists(st.integers(0, 100)))
def test_nothing_raises(text: str, cuts: list[int]) -> None:
    """Garbage never raises; what is said to be complete is what the whole text decodes to."""
    partial = fed(*pieces(text, cuts))
    partial.finish()
    if partial.complete and not partial.broken and "`" not in text:
        assert partial.value == msgspec.json.decode(text)


@given(texts(), st.lists(st.integers(0, 10_000)), st.text(max_size=3))
def test_the_cut_does_not_matter_for_garbage_either(text: str, cuts: list[int], garbage: str) -> None:
    """A text with an error in it ends with the same value however it was cut."""
    middle = len(text) // 2
    text = text[:middle] + garbage + text[middle:]
    one, many = fed(text), fed(*pieces(text, cuts))
    assert (one.broken, one.complete) == (many.broken, many.complete)
    if not one.broken:
        assert one.finish() == many.finish()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("  ", None),
        ("[", []),
        ('{"', {}),
        ('{"na', {}),
        ('{"name"', {}),
        ('{"name": ', {}),
        ('{"name": "A', {"name": "A"}),
        ('{"name": "A\\', {"name": "A"}),
        ('{"name": "A\\u00', {"name": "A"}),
        ('{"name": "A\\ud83d', {"name": "A"}),
        ('{"name": "A\\ud83d\\ude', {"name": "A"}),
        ('{"name": "A\\ud83d\\ude00', {"name": "A\U0001f600"}),
        ('{"name": "\\\\ud83d"', {"name": "\\ud83d"}),
        ('{"age": 4', {}),
        ('{"age": 41,', {"age": 41}),
        ('{"age": 41}', {"age": 41}),
        ("[tru", []),
        ("[true", [True]),
        ('[1, "a", {"b": [nul', [1, "a", {"b": []}]),
        ("12", None),
        ('```json\n{"a": "x', {"a": "x"}),
        ("```", None),
    ],
)
def test_what_is_there_so_far(text: str, value: Any) -> None:
    """Complete members and the growing text are there; a number or word that may still grow is not."""
    partial = fed(text)
    assert partial.value == value
    assert not partial.broken


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2 3, 4]", [1, 2]),
        ("[1, ]", [1]),
        ('{"a": "b" "c"}', {"a": "b"}),
        ('{"a": 1, b: 2}', {"a": 1}),
        ('["a\nb"]', ["a"]),
        ('["\\q"]', [""]),
        ('["\\uzzzz"]', [""]),
        ('["\\ud800x"]', [""]),
        ("[1}", [1]),
        ("[01, 2]", []),
        ("[1e999, 2]", []),
        ("Sure! {}", None),
        ("{} and so on", {}),
        ("```python\n{}", None),
        ("[" + "9" * 6000, []),
    ],
)
def test_a_broken_text_keeps_its_last_good_value(text: str, value: Any) -> None:
    """From the first character that JSON does not allow, nothing changes any more, and it is told."""
    partial = fed(*text, '"]}', "7")
    assert partial.broken
    assert partial.value == value


def test_a_fence_may_close() -> None:
    """The end of a Markdown fence is no error, and neither is space after the value."""
    partial = fed("```json\n{", '"a": 1}\n`', "``\n")
    assert partial.complete
    assert not partial.broken


def test_depth_is_bounded() -> None:
    """A text nested without end breaks at a depth of 200, far from Python's own limit."""
    partial = fed("[" * 100_000)
    assert partial.broken
    depth, value = 0, partial.value
    while value:
        depth, value = depth + 1, value[0]
    assert depth == 199


def test_the_last_of_equal_keys_counts() -> None:
    """A key that comes twice has its last value, as everywhere."""
    assert fed('{"a": 1, "a": "x"}').value == {"a": "x"}


def test_a_long_text_takes_time_in_proportion() -> None:
    """Ten times the text, in as small pieces, takes about ten times as long: nothing is read twice."""

    def seconds(items: int) -> float:
        text = json.dumps([{"n": n, "text": "some words here"} for n in range(items)])
        parts = [text[at : at + 4] for at in range(0, len(text), 4)]
        partial = PartialJSON()
        started = time.process_time()
        for part in parts:
            partial.feed(part)
            assert partial.value is not None or part is parts[0]
        taken = time.process_time() - started
        assert partial.complete
        return taken

    few = min(seconds(200) for _ in range(3))
    assert seconds(2000) < 40 * few
