from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.responses import StreamingChunk, fold
from neuroroute.wire.toolcalls import CallTracker, WireCall


def folded(*deltas: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    tracker = CallTracker()
    chunks = [StreamingChunk(tool_calls=tracker.fragments(msgspec.convert(delta, list[WireCall]))) for delta in deltas]
    return [(call.id, call.function.name, call.function.arguments) for call in fold(chunks).tool_calls]


def fragment(arguments: Any = None, name: str | None = None, **fields: Any) -> dict[str, Any]:
    return {**fields, "function": {"name": name, "arguments": arguments}}


def test_fragments_of_side_by_side_calls() -> None:
    """Fragments go to the call of their index, in whatever order they come."""
    assert folded(
        [fragment("", "a", index=0, id="1"), fragment("", "b", index=1, id="2")],
        [fragment('{"x"', index=1)],
        [fragment('{"y"', index=0), fragment(":2}", index=1)],
        [fragment(":1}", index=0)],
    ) == [("1", "a", '{"y":1}'), ("2", "b", '{"x":2}')]


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        pytest.param(
            [[fragment("{", "a", index=0, id="1")], [fragment("}", index=0, id="1")]],
            [("1", "a", "{}")],
            id="the id repeated on every fragment",
        ),
        pytest.param(
            [[fragment("{}", "a", index=0, id="1")], [fragment("{}", "b", index=0, id="2")]],
            [("1", "a", "{}"), ("2", "b", "{}")],
            id="every index 0",
        ),
        pytest.param(
            [[fragment("{}", "a", index=0)], [fragment("{}", "b", index=0)]],
            [("000000000", "a", "{}"), ("000000001", "b", "{}")],
            id="every index 0 and no ids",
        ),
        pytest.param(
            [[fragment("{", "a", id="1")], [fragment("}")], [fragment("[]", "b", id="2")]],
            [("1", "a", "{}"), ("2", "b", "[]")],
            id="no index",
        ),
        pytest.param(
            [[fragment({"x": 1}, "a", index=0)]], [("000000000", "a", '{"x":1}')], id="arguments as an object"
        ),
        pytest.param(
            [[{"index": 0, "id": 7}], [fragment("{}", "a", index=0)]], [("7", "a", "{}")], id="a number as id"
        ),
        pytest.param([[fragment("{}", "a", index="0", id="")]], [("000000000", "a", "{}")], id="an empty id"),
    ],
)
def test_wrong_and_missing_ids_and_indices(deltas: list[list[dict[str, Any]]], calls: list[Any]) -> None:
    """Calls come out whole although ids or indices are missing or wrong."""
    assert folded(*deltas) == calls


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        pytest.param(
            [
                [fragment("", "a", index=0, id="1")],
                [fragment("{", index=0, id="1")],
                [fragment("", "a", index=1, id="1")],
                [fragment("[", index=1, id="1"), fragment("}", index=0, id="1")],
                [fragment("]", index=1)],
            ],
            [("1", "a", "{}"), ("000000001", "a", "[]")],
            id="one id for two calls",
        ),
        pytest.param(
            [[fragment(piece, "a", index=0)] for piece in ("", '{"x":', '"}"', "}", "")],
            [("000000000", "a", '{"x":"}"}')],
            id="the name repeated on every fragment",
        ),
        pytest.param(
            [[fragment(piece, "a", index=0, id="1")] for piece in ("{", "}", "")],
            [("1", "a", "{}")],
            id="the name and the id repeated on every fragment",
        ),
        pytest.param(
            [[fragment("{}", "a", index=0)], [fragment('{"x":1}', "a", index=0)]],
            [("000000000", "a", "{}"), ("000000001", "a", '{"x":1}')],
            id="the same tool twice under one index",
        ),
        pytest.param(
            [[fragment(piece, name, index=0)] for piece, name in [("", "a"), ("{}", None)] * 2],
            [("000000000", "a", "{}"), ("000000001", "a", "{}")],
            id="the same tool twice under one index, in fragments",
        ),
    ],
)
def test_repeated_ids_and_names(deltas: list[list[dict[str, Any]]], calls: list[Any]) -> None:
    """What a server repeats neither tears a call apart nor mixes two."""
    assert folded(*deltas) == calls


def test_calls_of_a_whole_answer() -> None:
    """In a whole answer each call is one of its own, whatever its id and index, and gets an id of its own."""
    calls = [fragment("{}", "a", index=0, id="1"), fragment('{"x":1}', "a", index=0, id="1"), fragment("", "a")]
    found = fold([StreamingChunk(tool_calls=CallTracker().complete(msgspec.convert(calls, list[WireCall])))])
    assert [(call.id, call.function.arguments) for call in found.tool_calls] == [
        ("1", "{}"),
        ("000000001", '{"x":1}'),
        ("000000002", ""),
    ]


@given(st.text(max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_arguments_are_joined_in_order(arguments: str, cuts: list[int]) -> None:
    """Any split of the arguments gives the same call."""
    places = sorted({0, len(arguments), *(cut % (len(arguments) + 1) for cut in cuts)})
    pieces = [arguments[a:b] for a, b in pairwise(places)]
    deltas = [[fragment("", "a", index=0, id="1")], *([fragment(piece, index=0)] for piece in pieces)]
    assert folded(*deltas) == [("1", "a", arguments)]
