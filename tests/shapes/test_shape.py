from __future__ import annotations

import dataclasses
import datetime
import enum
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Annotated, Any, Literal, NewType, Required, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute import ModelInvalidRequestError, Note, StructuredOutputError
from neuroroute.schemas.checks import check_of
from neuroroute.shapes import AnswerShape, Parsed


class Address(msgspec.Struct):
    street: str
    lines: tuple[int, str] = (1, "a")


class Person(msgspec.Struct):
    name: str
    home: Address
    age: int | None = None
    country: str = "DE"
    likes: list[str] = []


class Even(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("number must be even")


class Node(msgspec.Struct):
    name: str
    children: list[Node] = []


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


class Pet(msgspec.Struct):
    it: Cat | Dog


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Movie(TypedDict, total=False):
    title: Required[str]
    year: int


class Item(pydantic.BaseModel):
    sku: str = pydantic.Field(pattern=r"[A-Z]+")
    count: int = 1


class Order(pydantic.BaseModel):
    items: list[Item]
    when: datetime.date | None = None

    @pydantic.field_validator("items")
    @classmethod
    def some(cls, items: list[Item]) -> list[Item]:
        if not items:
            raise ValueError("an order has an item")
        return items


class Card(pydantic.BaseModel):
    kind: Literal["card"]


class Cash(pydantic.BaseModel):
    kind: Literal["cash"]


class Payment(pydantic.BaseModel):
    by: Card | Cash = pydantic.Field(discriminator="kind")


class Unreadable(pydantic.BaseModel):
    call: Callable[[], None]


class Lost(msgspec.Struct):
    it: Nowhere  # type: ignore[name-defined]  # noqa: F821


UserId = NewType("UserId", int)
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def schema_of(response_format: Any) -> Any:
    wire = AnswerShape.of(response_format).wire
    assert wire is not None
    return msgspec.json.decode(msgspec.json.encode(wire["json_schema"]["schema"]))


def refusal(response_format: Any, text: str) -> str:
    with pytest.raises(StructuredOutputError) as caught:
        AnswerShape.of(response_format).parse(text)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value.message


# What is sent


def test_the_form_on_the_wire() -> None:
    """A type is sent as a strict json_schema under its name, its parts inlined, closed, and optional as they were."""
    wire = AnswerShape.of(Person).wire
    assert wire is not None
    assert wire["type"] == "json_schema"
    assert wire["json_schema"].keys() == {"name", "strict", "schema"}
    assert (wire["json_schema"]["name"], wire["json_schema"]["strict"]) == ("Person", True)
    assert schema_of(Person) == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "home": {
                "type": "object",
                "properties": {
                    "street": {"type": "string"},
                    "lines": {
                        "type": "array",
                        "minItems": 2,
                        "maxItems": 2,
                        "prefixItems": [{"type": "integer"}, {"type": "string"}],
                        "default": [1, "a"],
                    },
                },
                "required": ["street"],
                "additionalProperties": False,
            },
            "age": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            "country": {"type": "string", "default": "DE"},
            "likes": {"type": "array", "items": {"type": "string"}, "default": []},
        },
        "required": ["name", "home"],
        "additionalProperties": False,
    }


def test_names_are_such_as_openai_takes() -> None:
    """A schema's title is its name, in characters that may stand there."""
    for given_format, name in (
        (SCHEMA, "answer"),
        ({**SCHEMA, "title": "A person!"}, "A_person_"),
        (list[int], "answer"),
    ):
        wire = AnswerShape.of(given_format).wire
        assert wire is not None
        assert wire["json_schema"]["name"] == name


def test_json_object_is_rewritten() -> None:
    """What LM Studio refuses is sent as a schema of any object, and told."""
    shape = AnswerShape.of({"type": "json_object"})
    assert shape.wire == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
    }
    assert [note.code for note in shape.notes] == ["RESPONSE_FORMAT_REWRITTEN"]
    assert isinstance(shape.notes[0], Note)
    assert shape.parse('{"a": [1]}') == {"a": [1]}
    assert "at $" in refusal({"type": "json_object"}, "[1]")


def test_text_asks_for_nothing() -> None:
    """With the type text nothing is sent and nothing is read."""
    shape = AnswerShape.of({"type": "text"})
    assert (shape.wire, shape.notes, shape.parsed("hi")) == (None, (), Parsed(None, in_reasoning=False))
    assert repr(shape) == "<AnswerShape text>"


def test_openais_form_keeps_what_it_says() -> None:
    """Name, description and strict of OpenAI's dict are sent as they are."""
    about = {"name": "who", "strict": False, "description": "somebody", "schema": SCHEMA}
    shape = AnswerShape.of({"type": "json_schema", "json_schema": about})
    assert shape.wire == {"type": "json_schema", "json_schema": about}
    assert shape.parse('{"age": 4}') == {"age": 4}


def test_what_engines_refuse_is_not_sent() -> None:
    """Patterns, long repetitions, lists of types and true as a schema are made plain; the schema itself stays whole."""
    text = {"type": "string"}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "loose": {**text, "pattern": "[A-Z]"},
            "digits": {**text, "pattern": r"^\d+$"},
            "ahead": {**text, "pattern": "^(?=A)[A-Z]$"},
            "two": {**text, "pattern": "^(a$|^b)$"},
            "fine": {**text, "pattern": "^[^a-z]{2}-[0-9]+$"},
            "long": {**text, "minLength": 1, "maxLength": 10_000},
            "maybe": {"type": ["integer", "null"], "description": "a number"},
            "choice": {"type": ["string", "null"], "enum": ["a", None]},
            "nothing": {"const": None},
            "any": True,
            "pattern": {"type": "integer"},
            "$ref": {"type": "integer"},
            "pair": {"type": "array", "prefixItems": [True, text], "items": False},
            "open": {"type": "object", "additionalProperties": True},
        },
        "default": {"pattern": "kept", "$ref": "kept"},
    }
    before = msgspec.json.encode(schema)
    sent = schema_of(schema)
    assert msgspec.json.encode(schema) == before
    assert sent["properties"] == {
        "loose": text,
        "digits": text,
        "ahead": text,
        "two": text,
        "fine": {**text, "pattern": "^[^a-z]{2}-[0-9]+$"},
        "long": {**text, "minLength": 1},
        "maybe": {
            "anyOf": [
                {"description": "a number", "type": "integer"},
                {"description": "a number", "type": "null"},
            ]
        },
        "choice": {"enum": ["a", None]},
        "nothing": {"const": None},
        "any": {},
        "pattern": {"type": "integer"},
        "$ref": {"type": "integer"},
        "pair": {"type": "array", "prefixItems": [{}, text]},
        "open": {"type": "object", "additionalProperties": True},
    }
    assert sent["default"] == {"pattern": "kept", "$ref": "kept"}
    assert "additionalProperties" not in sent
    assert "pattern" in refusal(schema, '{"pattern": "secret"}')
    assert refusal(schema, '{"digits": "secret"}').endswith(r'at $.digits: the value does not match "^\d+$"')


def test_references_are_inlined() -> None:
    """Definitions of pydantic models stand where they are used, and what is said beside a reference wins."""
    schema = schema_of(Order)
    assert "$defs" not in schema
    assert schema["properties"]["items"]["items"]["properties"]["count"] == {
        "default": 1,
        "type": "integer",
    }
    beside = {
        "$defs": {"a/b": {"type": "string", "description": "x"}},
        "items": {"$ref": "#/$defs/a~1b", "description": "y"},
    }
    assert schema_of(beside)["items"] == {"type": "string", "description": "y"}


def test_what_recurs_keeps_its_references() -> None:
    """A type that holds itself is sent with its definitions, and with a type at its root."""
    schema = schema_of(Node)
    assert schema["type"] == "object"
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["additionalProperties"] is False
    assert AnswerShape.of(Node).parse('{"name": "a", "children": [{"name": "b"}]}') == Node("a", [Node("b")])


def test_inlining_is_bounded() -> None:
    """Definitions that double with each level are not inlined: the schema would grow past all bounds."""
    defs: dict[str, Any] = {
        f"d{n}": {"type": "object", "properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "ab"}}
        for n in range(40)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**defs, "d40": {"type": "null"}}}
    assert len(msgspec.json.encode(schema_of(schema))) < 10_000


@pytest.mark.parametrize(
    ("response_format", "says"),
    [
        (None, "a value of type NoneType"),
        ("secret", "a value of type str"),
        (Person(name="secret", home=Address(street="secret")), "a value of type Person"),
        (lambda: "secret", "a value of type function"),
        (object, "<class 'object'> is not supported"),
        (complex, "is not supported"),
        (Callable, "is not supported"),
        (Unreadable, "Cannot generate a JsonSchema"),
        (tuple[Item, subprocess.Popen], "Unable to generate pydantic-core schema"),
        (Lost, "'Nowhere' is not defined"),
        ({}, "is no JSON schema: it has neither"),
        ({"name": "string"}, "is no JSON schema: it has neither"),
        ({"type": "objct"}, r"at \$.type"),
        ({"type": "object", "default": float("nan")}, "cannot be sent as JSON"),
        ({"type": "object", "default": {1, 2}}, "cannot be sent as JSON"),
        ({"$ref": "https://example.invalid/schema.json"}, "references out of the schema are not followed"),
        ({"$ref": "file:///etc/passwd"}, "references out of the schema are not followed"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}}, "missing"),
        (reduce(lambda inner, _: {"items": inner}, range(400), {"type": "null"}), "(?i)recursion"),
        ({"type": "json_schema"}, "json_schema.schema is not there"),
        ({"type": "json_schema", "json_schema": {"schema": "x"}}, "json_schema.schema is not there"),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, "json_schema.schema is no JSON schema"),
    ],
)
def test_what_is_no_type_is_refused(response_format: Any, says: str) -> None:
    """Anything else is refused before it is sent: the error names response_format and what would be right."""
    with pytest.raises(ModelInvalidRequestError, match=says) as caught:
        AnswerShape.of(response_format)
    assert "response_format" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_shapes_are_remembered() -> None:
    """A type or schema that comes again has the shape made before; a schema that was changed has a new one."""
    assert AnswerShape.of(Person) is AnswerShape.of(Person)
    assert AnswerShape.of(list[Person]) is AnswerShape.of(list[Person])
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    shape = AnswerShape.of(schema)
    assert AnswerShape.of(dict(schema)) is shape
    assert AnswerShape.of(shape) is shape
    schema["properties"]["a"]["type"] = "integer"
    assert AnswerShape.of(schema).parse('{"a": 1}') == {"a": 1}
    assert AnswerShape.of(Annotated[int, msgspec.Meta(ge=1, extra={"not": "hashable"})]).parse("1") == 1


def test_heavy_libraries_are_left_alone() -> None:
    """Types of msgspec load neither pydantic nor the validator of schemas."""
    code = (
        "import sys, msgspec, neuroroute.structured as s\n"
        "A = msgspec.defstruct('A', [('x', int)])\n"
        "assert s.AnswerShape.of(A).parse('{\"x\": 1}').x == 1\n"
        "try: s.AnswerShape.of(object)\nexcept ValueError: pass\n"
        "print(*sorted({'pydantic', 'jsonschema_rs', 'aiohttp'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []


# What is read

POINTS = st.builds(Point, st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
ADDRESSES = st.builds(Address, st.text(), st.tuples(st.integers(0, 9), st.text()))
ANSWERS = st.one_of(
    st.tuples(st.just(Address), ADDRESSES),
    st.tuples(st.just(Person), st.builds(Person, st.text(), ADDRESSES, st.none() | st.integers(0, 99), st.text())),
    st.tuples(st.just(Point), POINTS),
    st.tuples(st.just(list[Point]), st.lists(POINTS)),
    st.tuples(st.just(Pet), st.builds(Pet, st.builds(Cat, st.integers(0, 9)) | st.builds(Dog, st.text()))),
    st.tuples(st.just(dict[str, int | None]), st.dictionaries(st.text(), st.none() | st.integers(0, 9))),
    st.tuples(st.just(Colour), st.sampled_from(Colour)),
    st.tuples(st.just(Literal["a", 1]), st.sampled_from(["a", 1])),
    st.tuples(st.just(int), st.integers(-(2**60), 2**60)),
    st.tuples(st.just(UserId), st.integers(0, 9)),
    st.tuples(st.just(datetime.date | None), st.none() | st.dates()),
    st.tuples(st.just(str), st.text()),
    st.tuples(
        st.just(Movie),
        st.fixed_dictionaries({"title": st.text()}, optional={"year": st.integers(0, 9999)}),
    ),
)


@given(ANSWERS, st.sampled_from(["{}", " \n{}\n", "```json\n{}\n```", "\n```\n{}```\n"]))
def test_what_was_written_is_read(answer: tuple[Any, Any], around: str) -> None:
    """A value of a type, written as JSON, is read as that value; space and a Markdown fence around it are tolerated."""
    kind, value = answer
    text = msgspec.json.encode(value).decode()
    assert AnswerShape.of(kind).parse(around.replace("{}", text)) == value


@given(ANSWERS)
def test_what_was_written_is_what_was_asked_for(answer: tuple[Any, Any]) -> None:
    """A value of a type, written as JSON, is valid by the schema that is sent."""
    kind, value = answer
    data = msgspec.json.encode(value)
    assert AnswerShape.of(schema_of(kind)).parse(data.decode()) == msgspec.json.decode(data)


@given(st.builds(Order, items=st.lists(st.builds(Item, sku=st.just("AB"), count=st.integers(0, 9)), min_size=1)))
def test_pydantic_reads_its_models(order: Order) -> None:
    """A pydantic model is read by pydantic, alone and within other types."""
    assert AnswerShape.of(Order).parse(order.model_dump_json()) == order
    assert AnswerShape.of(list[Order]).parse(f"[{order.model_dump_json()}]") == [order]
    assert AnswerShape.of(Order | None).parse("null") is None


def test_defaults_are_kept() -> None:
    """What the model leaves out has the type's default."""
    assert AnswerShape.of(Person).parse('{"name": "A", "home": {"street": "B"}}') == Person("A", Address("B"))
    assert AnswerShape.of(Item).parse('{"sku": "A"}') == Item(sku="A", count=1)
    assert AnswerShape.of(Point).parse('{"x": 1}') == Point(1, 0.5)


@pytest.mark.parametrize(
    ("response_format", "text", "says"),
    [
        (Person, '{"name": 1}', "at $.name: expected `str`, got `int`"),
        (Person, "{}", "at $: object missing required field `name`"),
        (list[Point], '[{"x": 1}, {"x": "secret"}]', "at $[1].x: expected `int`, got `str`"),
        (Colour, '"secret"', "at $: not one of the allowed values"),
        (Pet, '{"it": {"type": "secret"}}', "at $.it.type: not one of the allowed values"),
        (Even, '{"number": 3}', "at $: number must be even"),
        (Person, '{"name": "secret', "it is no valid JSON: Input data was truncated"),
        (Person, 'Sure! {"name": "secret"}', "it is no valid JSON: invalid character (byte 0)"),
        (Person, "", "it is no valid JSON"),
        (str, '"\ud800"', "it is no valid Unicode text"),
        (Order, '{"items": []}', "at $.items: value error, an order has an item"),
        (
            Order,
            '{"items": [{"sku": "secret"}, {"sku": "A", "count": "secret"}]}',
            "at $.items[0].sku: string should match pattern '[A-Z]+'; at $.items[1].count: input should be a valid int",
        ),
        (Order, '{"items": "secret', "invalid JSON: EOF while parsing"),
        (Order, '"\ud800"', "unable to parse raw data as a unicode string"),
        (Payment, '{"by": {"kind": "secret"}}', "at $.by: the tag must be one of 'card', 'cash'"),
        (SCHEMA, '{"age": "secret"}', 'at $.age: the value is not of type "integer"'),
        (SCHEMA, "{}", 'at $: "age" is a required property'),
        (SCHEMA, '{"age": secret}', "it is no valid JSON: invalid character (byte 8)"),
        ({"items": {"type": "null"}}, "[1, 2, 3, 4, 5, 6, 7]", "; and 2 more"),
        (list[Any], "[" * 100_000, "it is nested too deeply"),
        ({"type": "array"}, "[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_wrong_is_named(response_format: Any, text: str, says: str) -> None:
    """An answer of another kind is refused by place and rule, and its values are not repeated."""
    assert says in refusal(response_format, text)


def test_a_deep_value_is_told() -> None:
    """A value too deep for the validator of schemas is a problem like others."""
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    assert check_of({"type": "object"})(value) == ["it is nested too deeply"]


def test_a_shape_may_be_used_in_any_thread() -> None:
    """A shape that one thread made reads answers in another, as the blocking adapter does."""
    shape = AnswerShape.of({**SCHEMA, "title": "made here"})
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(shape.parse, '{"age": 1}').result() == {"age": 1}


# Content and reasoning


@pytest.mark.parametrize(
    ("text", "reasoning", "parsed"),
    [
        ('{"x": 1}', '{"x": 2}', Parsed(Point(1), in_reasoning=False)),
        ("", '{"x": 2}', Parsed(Point(2), in_reasoning=True)),
        (" \n", '```json\n{"x": 2}\n```', Parsed(Point(2), in_reasoning=True)),
        ("", 'Say {note: [1]} or {"x": 1}? No: {"x": 2, "y": 1} it is {', Parsed(Point(2, 1.0), in_reasoning=True)),
        ("", 'Is it {"x": 2}?', Parsed(Point(2), in_reasoning=True)),
    ],
)
def test_an_answer_in_the_reasoning_is_found(text: str, reasoning: str, parsed: Parsed) -> None:
    """The content comes first; if it is empty, the whole reasoning is read, else the last complete value in it."""
    assert AnswerShape.of(Point).parsed(text, reasoning) == parsed


@pytest.mark.parametrize(
    ("text", "reasoning", "says"),
    [
        ("no", '{"x": 2}', "no valid JSON"),
        ("", "", "no valid JSON"),
        ("", "hm, 7", "the answer is empty, and there is no JSON in the reasoning"),
        ("", "[" * 100_000, "the answer is empty"),
        ("", f"[{'9' * 5000}]", "the answer is empty"),
        ("", 'hm, {"x": 1} {"x": "secret"}', "at $.x"),
    ],
)
def test_reasoning_is_no_excuse(text: str, reasoning: str, says: str) -> None:
    """Content that is wrong is not made good by the reasoning, and reasoning without an answer is no answer."""
    with pytest.raises(StructuredOutputError, match=says.replace("$", r"\$")):
        AnswerShape.of(Point).parsed(text, reasoning)
