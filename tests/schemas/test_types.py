from __future__ import annotations

import dataclasses
import enum
from typing import Any, Literal, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from neuroroute.schemas.checks import check_of, finite
from neuroroute.schemas.plain import plain_schema
from neuroroute.schemas.types import from_json, schema_of, to_json


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Options(TypedDict):
    depth: int
    title: NotRequired[str]


class Item(pydantic.BaseModel):
    name: str
    count: int = pydantic.Field(ge=0)


class Order(pydantic.BaseModel):
    items: list[Item]


class Node(msgspec.Struct):
    value: int
    next: Node | None = None


class Branch(pydantic.BaseModel):
    left: Branch | None = None


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (int, {"type": "integer"}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (Color, {"enum": ["blue", "red"]}),
        (
            Point,
            {
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                "required": ["x"],
            },
        ),
        (
            Options,
            {
                "type": "object",
                "properties": {"depth": {"type": "integer"}, "title": {"type": "string"}},
                "required": ["depth"],
            },
        ),
        (list[Point] | None, None),
        (Order, None),
    ],
    ids=str,
)
def test_a_schema_reads_from_top_to_bottom(kind: Any, schema: dict[str, Any] | None) -> None:
    """Types of every kind become schemas without references and without titles, but for properties of that name."""
    found = schema_of(kind)
    if schema is not None:
        assert found == schema
    assert "$ref" not in str(found)
    assert "$defs" not in found


@pytest.mark.parametrize("kind", [Node, Branch, list[Node]])
def test_a_type_that_contains_itself_keeps_its_reference(kind: Any) -> None:
    """What cannot be written out once and for all is all that stays apart, and every reference leads to it."""
    found = schema_of(kind)
    (name,) = found["$defs"]
    assert f"#/$defs/{name}" in str(found)
    assert check_of(found)


def test_words_beside_a_reference_stay() -> None:
    """A description beside a reference belongs to the place, and wins over that of the type."""
    schema = {"properties": {"a": {"$ref": "#/$defs/A", "description": "here"}}, "$defs": {"A": {"type": "integer"}}}
    assert plain_schema(schema, closed=False) == {"properties": {"a": {"type": "integer", "description": "here"}}}


def converted(value: Any, kind: Any) -> Any:
    return msgspec.convert(value, kind, dec_hook=from_json)


def test_models_are_written_too() -> None:
    """What msgspec cannot write but pydantic can becomes plain values; all else stays an error."""
    written = msgspec.json.encode([Item(name="a", count=1)], enc_hook=to_json)
    assert written == b'[{"name":"a","count":1}]'
    with pytest.raises(NotImplementedError):
        to_json(object())


@pytest.mark.parametrize(
    ("value", "kind", "right"),
    [
        ({"x": 1}, Point, Point(1)),
        ("red", Color, Color.RED),
        ({"items": [{"name": "a", "count": 1}]}, Order, Order(items=[Item(name="a", count=1)])),
        ([{"name": "a", "count": 1}], list[Item], [Item(name="a", count=1)]),
        (None, Order | None, None),
    ],
    ids=str,
)
def test_values_become_what_their_type_says(value: Any, kind: Any, right: Any) -> None:
    """A function gets the dataclass, the Enum's member, the model: not the dict that came."""
    assert converted(value, kind) == right


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        ({"x": "1"}, Point, r"Expected `int`, got `str` - at `\$.x`"),
        (1, str, "Expected `str`, got `int`"),
        ({"items": [{"name": "s3cret", "count": -1}]}, Order, "items.0.count: Input should be greater than or equal"),
        ({"items": [{"name": "s3cret", "count": "1"}]}, Order, "items.0.count: Input should be a valid integer"),
    ],
    ids=str,
)
def test_nothing_is_coerced(value: Any, kind: Any, says: str) -> None:
    """A wrong value is told by its place and the rule, never by what it is."""
    with pytest.raises(msgspec.ValidationError, match=says) as caught:
        converted(value, kind)
    assert "s3cret" not in str(caught.value)


def test_a_schema_that_somebody_wrote_is_checked_by() -> None:
    """A problem names its place and its rule, and does not repeat the value."""
    check = check_of({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}})
    assert check({"a": [1, 2]}) == []
    assert check({"a": [1, "s3cret"]}) == ['at $.a[1]: the value is not of type "integer"']


@pytest.mark.parametrize(
    "schema", [{"type": 5}, {"$ref": "http://127.0.0.1:9/s"}, {"$ref": "file:///etc/passwd"}, {"$ref": "#/$defs/no"}]
)
def test_nothing_is_fetched_for_a_schema(schema: dict[str, Any]) -> None:
    """What is no schema, or leads out of itself, is refused when it is given."""
    with pytest.raises(ValueError, match="at "):
        check_of(schema)


def test_what_json_cannot_say() -> None:
    """NaN and infinity are found at any depth."""
    assert finite({"a": [1.5, None, "x", {"b": True}]})
    assert not finite({"a": [1, {"b": float("nan")}]})
