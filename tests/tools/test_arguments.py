"""What a model sends as arguments, and what it is told of it."""

from __future__ import annotations

import inspect
import keyword
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Literal, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.errors import ToolArgumentsError
from neuroroute.tools import Tool, Toolbox, tool


class Unit(Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


@dataclass
class Place:
    city: str
    zip: int = 0

    def __post_init__(self) -> None:
        if self.city == "Atlantis":
            raise RuntimeError(self.city)


class Person(pydantic.BaseModel):
    name: str
    born: date | None = None
    friends: list[Person] = []


@tool
def weather(
    place: Place,
    days: int = 1,
    unit: Unit = Unit.CELSIUS,
    person: Person | None = None,
    people: list[Person] = [],  # noqa: B006
    mode: Literal["short", "long"] | None = None,
) -> str:
    return ""


def test_values_arrive_as_their_types() -> None:
    """The function gets instances of the types it names, and its own defaults for what was not given."""
    text = """{"place": {"city": "Rome"}, "unit": "F", "person": {"name": "Ann", "born": "2000-01-02"},
        "people": [{"name": "Bob", "friends": [{"name": "Cy"}]}]}"""
    assert weather.check(text) == {
        "place": Place("Rome"),
        "unit": Unit.FAHRENHEIT,
        "person": Person(name="Ann", born=date(2000, 1, 2)),
        "people": [Person(name="Bob", friends=[Person(name="Cy")])],
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", '"place" is missing'),
        ('{"plac": 1}', '"plac" is unknown; "place" is missing'),
        ('{"place": {"zip": 1}}', '"place.city" is missing'),
        ('{"place": {"city": 5}}', '"place.city" must be a string, not an integer'),
        ('{"place": {"city": "s"}, "days": "3"}', '"days" must be an integer, not a string'),
        ('{"place": {"city": "s"}, "days": true}', '"days" must be an integer, not true or false'),
        ('{"place": {"city": "s"}, "days": null}', '"days" must be an integer, not null'),
        ('{"place": {"city": "s"}, "days": 1.0}', '"days": Expected `int`, got `float`'),
        ('{"place": {"city": "s"}, "unit": "K"}', '"unit" must be one of "C", "F"'),
        ('{"place": {"city": "s"}, "mode": 5}', '"mode" must be one of "long", "short" or null'),
        ('{"place": {"city": "s"}, "person": []}', '"person" must be an object or null, not an array'),
        ('{"place": {"city": "s"}, "person": {}}', '"person.name" is missing'),
        ('{"place": {"city": "s"}, "people": [{"name": "a"}, {"name": 5}]}', '"people[1].name" must be a string'),
        ('{"place": {"city": "s"}, "person": {"name": "a", "born": "s"}}', '"person": born: Input should be'),
        ('{"place": {"city": "Atlantis"}}', "they were refused (RuntimeError)"),
    ],
)
def test_a_fault_is_told_with_what_would_be_right(text: str, says: str) -> None:
    """A wrong argument is named by its place, with what it must be, and all arguments are listed."""
    with pytest.raises(ToolArgumentsError) as caught:
        weather.check(text)
    assert caught.value.message.startswith("the arguments of weather are wrong, so it did not run: ")
    assert says in caught.value.message
    assert "its arguments are: place (required), days, unit" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "are not valid JSON"),
        ("place='Rome'", "are not valid JSON"),
        ('{"place": NaN}', "are not valid JSON"),
        ('{"days": Infinity}', "are not valid JSON"),
        ('{"days": 1e999}', "are not valid JSON"),
        ('{"a": "\ud800"}', "are not valid JSON"),
        ('{"place": ' + "[" * 100_000, "nested too deeply"),
        ("[]", "must be one JSON object, not an array"),
        ("null", "must be one JSON object, not null"),
        ('"{}"', "must be one JSON object, not a string"),
        ("1.5", "must be one JSON object, not a number"),
    ],
)
@pytest.mark.parametrize("made", [weather, Tool(weather, parameters={})], ids=["types", "schema"])
def test_arguments_are_one_json_object(made: Tool[..., Any], text: str, says: str) -> None:
    """Anything but a JSON object is refused in the same words, whatever checks it."""
    with pytest.raises(ToolArgumentsError, match=says):
        made.check(text)


@pytest.mark.parametrize("text", ["", " ", "\n\t", "{}", " {} "])
def test_no_text_means_no_arguments(text: str) -> None:
    """A model that has nothing to say calls without arguments."""

    def now() -> str:
        return ""

    assert Tool(now).check(text) == Tool(now, parameters={}).check(text) == {}
    with pytest.raises(ToolArgumentsError, match=r"Call it again without arguments\.$"):
        Tool(now).check('{"a": 1}')


def test_errors_do_not_repeat_what_was_given() -> None:
    """An error names what is wrong with an argument, never the secret in it."""
    for text in (
        '{"place": "s3cret"}',
        '{"place": {"city": "x"}, "unit": "s3cret"}',
        '{"place": {"city": "x"}, "person": {"name": "x", "born": "s3cret"}}',
        '{"place": {"city": "x"}, "people": [{"name": "x", "friends": "s3cret"}]}',
        '{"place": {"city": "x"}, "mode": "s3cret"}',
        '["s3cret"]',
        '{"place": s3cret}',
    ):
        with pytest.raises(ToolArgumentsError) as caught:
            weather.check(text)
        assert "s3cret" not in str(caught.value)
        assert "s3cret" not in repr(caught.value)


class Corner(TypedDict, total=False):
    x: int


class Edge(msgspec.Struct):
    a: Corner
    b: Corner | None = None


class Open(pydantic.BaseModel, extra="allow"):
    x: int = 0


@tool
def draw(
    place: Place | None = None,
    edges: list[Edge] = [],  # noqa: B006
    named: dict[str, Corner] | None = None,
    person: Person | None = None,
    more: Open | None = None,
    anything: Any = None,
) -> str:
    return ""


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"place": {"city": "Rome", "force": true}}', "place.force"),
        ('{"edges": [{"a": {"x": 1}}, {"a": {"x": 1, "force": true}}]}', r"edges\[1\].a.force"),
        ('{"edges": [{"a": {}, "b": {"force": 1}}]}', r"edges\[0\].b.force"),
        ('{"named": {"any": {"force": true}}}', "named.any.force"),
        ('{"person": {"name": "Ann", "force": true}}', "person.force"),
        ('{"person": {"name": "Ann", "friends": [{"name": "Bob", "force": 1}]}}', r"person.friends\[0\].force"),
    ],
)
def test_what_is_unknown_within_an_argument_is_refused(text: str, where: str) -> None:
    """An object of a dataclass, TypedDict, Struct or pydantic model has nothing that its type does not list."""
    with pytest.raises(ToolArgumentsError, match=f'"{where}" is unknown'):
        draw.check(text)


def test_what_may_hold_anything_does() -> None:
    """A type that says that it takes other keys takes them."""
    given_ = draw.check('{"more": {"x": 1, "force": true}, "anything": {"force": true}, "named": {"force": {"x": 1}}}')
    assert (given_["more"].model_extra, given_["anything"]) == ({"force": True}, {"force": True})
    assert given_["named"] == {"force": {"x": 1}}


@pytest.mark.parametrize(
    "text", ['{"days": 1, "days": 2}', '{"days": 1, "da\\u0079s": 1}', '{"any": [{"days": 1, "days": 1}]}']
)
def test_a_name_that_is_given_twice_is_refused(text: str) -> None:
    """Which of two values was meant nobody knows, so the tool does not run; by types and by a schema alike."""

    def f(days: int = 0, any: Any = None) -> None:  # noqa: A002
        raise AssertionError

    for each in (Tool(f), Tool(f, parameters={"properties": {"days": {}, "any": {}}})):
        with pytest.raises(ToolArgumentsError, match='"days" is given twice'):
            each.check(text)


@pytest.mark.parametrize("depth", [100, 400, 100_000])
def test_arguments_that_are_deep_are_taken_or_refused(depth: int) -> None:
    """However deep arguments are nested, they are taken or refused as any others."""
    text = f'{{"anything": {"[" * depth}{"]" * depth}}}'
    for each in (draw, Tool(draw, parameters={"properties": {"anything": {}}})):
        with suppress(ToolArgumentsError):
            assert each.check(text)


def test_faults_are_bounded() -> None:
    """However much is wrong, what the model is told stays short."""
    with pytest.raises(ToolArgumentsError) as caught:
        weather.check(
            msgspec.json.encode({"place": {"city": 1}, **{"x" * 500 + str(i): i for i in range(99)}}).decode()
        )
    assert len(str(caught.value)) < 1000


# Signatures and values by chance. Each entry: a type, values of it as JSON has them, values that are not of it.
TYPES: list[tuple[Any, st.SearchStrategy[Any], st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**53), 2**53), st.text() | st.booleans() | st.just(1.5) | st.none()),
    (str, st.text(), st.integers() | st.booleans() | st.none() | st.lists(st.text())),
    (bool, st.booleans(), st.integers() | st.text() | st.none()),
    (float, st.floats(allow_nan=False, allow_infinity=False), st.text() | st.booleans() | st.none()),
    (list[int], st.lists(st.integers(-9, 9)), st.integers() | st.lists(st.text(), min_size=1)),
    (dict[str, bool], st.dictionaries(st.text(), st.booleans()), st.dictionaries(st.text(), st.text(), min_size=1)),
    (int | None, st.integers(-9, 9) | st.none(), st.text() | st.booleans()),
    (Literal["a", "b"], st.sampled_from(["a", "b"]), st.sampled_from(["c", "", "A", 1, None])),
]


@st.composite
def calls(draw: st.DrawFn) -> tuple[inspect.Signature, dict[str, Any], dict[str, st.SearchStrategy[Any]]]:
    """A signature, arguments that fit it, and what would not fit, by parameter."""
    names = draw(st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), max_size=5, unique=True))
    names = [name for name in names if not keyword.iskeyword(name) and name not in ("self", "cls")]
    kinds = {name: draw(st.sampled_from(TYPES)) for name in names}
    optional = {name: draw(st.booleans()) for name in names}
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=kind[0],
            default=draw(kind[1]) if optional[name] else inspect.Parameter.empty,
        )
        for name, kind in kinds.items()
    ]
    given = {name: draw(kind[1]) for name, kind in kinds.items() if not optional[name] or draw(st.booleans())}
    return inspect.Signature(parameters), given, {name: kind[2] for name, kind in kinds.items()}


def recorder(signature: inspect.Signature, seen: list[dict[str, Any]]) -> Tool[..., str]:
    def record(**arguments: Any) -> str:
        seen.append(arguments)
        return "done"

    record.__signature__ = signature  # type: ignore[attr-defined]
    return Tool(record)


async def run(made: Tool[..., str], arguments: dict[str, Any]) -> str:
    box = Toolbox([made])
    return await box.run(box.check(made.name, msgspec.json.encode(arguments).decode()))


@given(calls())
async def test_arguments_that_match_arrive_unchanged(
    call: tuple[inspect.Signature, dict[str, Any], dict[str, st.SearchStrategy[Any]]],
) -> None:
    """For any signature, arguments of its types are passed as they are, by types and by its schema alike."""
    signature, given_, _ = call
    seen: list[dict[str, Any]] = []
    made = recorder(signature, seen)
    assert await run(made, given_) == "done"
    by_schema = Tool(made, name="record", parameters=made.definition.function.parameters)
    assert await run(by_schema, given_) == "done"
    assert seen == [given_, given_]


@given(calls(), st.data())
async def test_a_tool_never_runs_on_bad_arguments(
    call: tuple[inspect.Signature, dict[str, Any], dict[str, st.SearchStrategy[Any]]], data: st.DataObject
) -> None:
    """For any signature, a wrong type, a missing or an unknown argument is refused, and the function never ran."""
    signature, given_, wrong = call
    faults = ["unknown"] + ["missing"] * any(p.default is p.empty for p in signature.parameters.values())
    fault = data.draw(st.sampled_from(faults + ["wrong"] * bool(wrong)))
    if fault == "unknown":
        given_ = {**given_, "Unknown": 1}
    elif fault == "missing":
        lost = next(name for name, p in signature.parameters.items() if p.default is p.empty)
        given_ = {name: value for name, value in given_.items() if name != lost}
    else:
        name = data.draw(st.sampled_from(sorted(wrong)))
        given_ = {**given_, name: data.draw(wrong[name])}
    seen: list[dict[str, Any]] = []
    made = recorder(signature, seen)
    for each in (made, Tool(made, name="record", parameters=made.definition.function.parameters)):
        with pytest.raises(ToolArgumentsError):
            await run(each, given_)
    assert seen == []
