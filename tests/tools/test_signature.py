from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal, Optional, TypedDict

import msgspec
import pydantic
import pytest

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.tools import Tool, tool


class Unit(Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


@dataclass
class Place:
    city: str
    zip: int = 0
    tags: list[str] = field(default_factory=list)


class Range(TypedDict, total=False):
    low: int


class Node(msgspec.Struct):
    name: str
    children: list[Node] = []


class Address(pydantic.BaseModel):
    street: str = pydantic.Field(description="With its number.")


class Person(pydantic.BaseModel):
    title: str
    address: Address | None = None


class Tree(pydantic.BaseModel):
    branches: list[Tree] = []


def properties(function: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = Tool(function).definition.function.parameters["properties"]
    return found


def test_types_become_json_schema() -> None:
    """Each type has the schema that msgspec gives it, with nothing referred to."""

    def f(
        text: str,
        count: int,
        share: float,
        yes: bool,
        texts: list[str],
        by_name: dict[str, int],
        maybe: Optional[int],  # noqa: UP045 - both forms are in use
        one_of: Literal["a", "b"],
        unit: Unit,
        place: Place,
        limits: Range,
        free: Any,
        bare,  # type: ignore[no-untyped-def]
    ) -> None: ...

    place = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "zip": {"type": "integer", "default": 0},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["city"],
    }
    assert properties(f) == {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "yes": {"type": "boolean"},
        "texts": {"type": "array", "items": {"type": "string"}},
        "by_name": {"type": "object", "additionalProperties": {"type": "integer"}},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "one_of": {"enum": ["a", "b"]},
        "unit": {"enum": ["C", "F"]},
        "place": place,
        "limits": {"type": "object", "properties": {"low": {"type": "integer"}}},
        "free": {},
        "bare": {},
    }
    assert Tool(f).definition.function.parameters["required"] == list(properties(f))


def test_pydantic_models_are_inlined_wherever_they_stand() -> None:
    """A pydantic model's schema is put in place, in lists and optionals too; a field named title is no title."""

    def f(person: Person, people: list[Person], maybe: Person | None = None) -> None: ...

    street = {"type": "string", "description": "With its number."}
    address = {"type": "object", "properties": {"street": street}, "required": ["street"]}
    person = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "address": {"anyOf": [address, {"type": "null"}], "default": None},
        },
        "required": ["title"],
    }
    assert properties(f) == {
        "person": person,
        "people": {"type": "array", "items": person},
        "maybe": {"anyOf": [person, {"type": "null"}], "default": None},
    }


def test_only_types_that_hold_themselves_are_referred_to() -> None:
    """A recursive type stays in $defs, once, and nothing else does."""

    def f(node: Node, again: list[Node], tree: Tree, trees: list[Tree], place: Place) -> None: ...

    parameters = Tool(f).definition.function.parameters
    assert parameters["properties"]["node"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert parameters["properties"]["trees"] == {"type": "array", "items": {"$ref": "#/$defs/Tree"}}
    assert parameters["$defs"] == {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}, "default": []},
            },
            "required": ["name"],
        },
        "Tree": {
            "type": "object",
            "properties": {"branches": {"type": "array", "items": {"$ref": "#/$defs/Tree"}, "default": []}},
        },
    }


def test_two_recursive_types_of_one_name_are_two() -> None:
    """Types that only share a name do not share a definition."""

    def f(node: Node, other: other_node()) -> None: ...  # type: ignore[valid-type]

    parameters = Tool(f).definition.function.parameters
    assert len(parameters["$defs"]) == 2
    assert parameters["properties"]["node"] != parameters["properties"]["other"]


def other_node() -> type[pydantic.BaseModel]:
    made: type[pydantic.BaseModel] = pydantic.create_model("Node", rest=(list["Node"], []), __module__=__name__)
    namespace = {"Node": made}
    made.model_rebuild(_types_namespace=namespace)
    return made


def test_defaults_make_parameters_optional() -> None:
    """A default is in the schema as JSON; one that JSON cannot say only makes its parameter optional."""
    nothing = object()

    def f(
        a: int,
        b: int = 3,
        unit: Unit = Unit.CELSIUS,
        place: Place = Place("x"),  # noqa: B008
        most: float = float("inf"),
        sentinel: Any = nothing,
        late: int = None,  # type: ignore[assignment]  # noqa: RUF013
    ) -> None: ...

    parameters = Tool(f).definition.function.parameters
    assert parameters["required"] == ["a"]
    defaults = {name: each["default"] for name, each in parameters["properties"].items() if "default" in each}
    assert defaults == {"b": 3, "unit": "C", "place": {"city": "x", "zip": 0, "tags": []}, "late": None}
    assert parameters["properties"]["late"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]


GOOGLE = """Tells the weather.

    Asks a satellite.

    Args:
        city: The city: its name,
            in English.
        days (int): How many days.

    Returns:
        Words.
    """
NUMPY = """Tells the weather.

    Asks a satellite.

    Parameters
    ----------
    city : str
        The city: its name,
        in English.
    days : int
        How many days.

    Returns
    -------
    str
        Words.
    """
SPHINX = """Tells the weather.

    Asks a satellite.

    :param city: The city: its name,
        in English.
    :param int days: How many days.
    :returns: Words.
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_descriptions_come_from_the_docstring(docstring: str) -> None:
    """The text above the arguments describes the tool, the arguments' own text each parameter."""

    def weather(city: str, days: int) -> str:
        return ""

    weather.__doc__ = docstring
    assert Tool(weather).description == "Tells the weather.\n\nAsks a satellite."
    assert [each["description"] for each in properties(weather).values()] == [
        "The city: its name, in English.",
        "How many days.",
    ]


def test_annotated_descriptions_win() -> None:
    """A description in Annotated, as text, msgspec's Meta or pydantic's Field, wins over the docstring's."""

    def f(
        a: Annotated[int, "of a"],
        b: Annotated[int, msgspec.Meta(description="of b", ge=1)],
        c: Annotated[int, pydantic.Field(description="of c")],
        d: Annotated[Place, "of d"],
        e: Annotated[int, "of e"] = None,  # type: ignore[assignment]  # noqa: RUF013
    ) -> None:
        """F.

        Args:
            a: not this
            b: nor this
            c: nor this
            d: nor this
            e: nor this
        """

    assert [each["description"] for each in properties(f).values()] == ["of a", "of b", "of c", "of d", "of e"]
    assert properties(f)["b"]["minimum"] == 1


def test_no_docstring_is_no_description() -> None:
    """A function that says nothing of itself is offered without description."""

    def f(a: int) -> None: ...

    assert Tool(f).description == ""
    assert properties(f) == {"a": {"type": "integer"}}


def test_local_types_are_resolved() -> None:
    """Annotations kept as text may name types of the function around, while it runs and afterwards."""

    class Local(msgspec.Struct):
        a: int

    @tool
    def f(local: Local, more: list[Local]) -> None: ...

    def with_closure() -> Callable[..., Any]:
        class Inner(msgspec.Struct):
            b: int

        def g(inner: Inner) -> Inner:
            return Inner(inner.b)

        return g

    assert f.check('{"local": {"a": 1}, "more": []}')["local"] == Local(1)
    assert properties(with_closure())["inner"]["properties"] == {"b": {"type": "integer"}}


def test_what_a_partial_has_given_is_not_the_models_to_change() -> None:
    """Arguments bound by functools.partial are neither offered nor accepted."""

    def search(query: str, key: str, limit: int = 3) -> str:
        """Searches."""
        return query + key

    made = Tool(functools.partial(search, key="s3cret"), name="search")
    assert made.description == "Searches."
    assert list(made.definition.function.parameters["properties"]) == ["query", "limit"]
    assert b"s3cret" not in made.definition.wire


def test_wrapped_functions_are_read_through() -> None:
    """A decorator that uses functools.wraps hides nothing."""

    def twice(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @tool
    @twice
    def f(place: Place) -> None:
        """Does it."""

    assert (f.name, f.description) == ("f", "Does it.")
    assert f.check('{"place": {"city": "x"}}') == {"place": Place("x")}


def positional(a: int, /) -> None: ...
def starred(*values: int) -> None: ...
def keywords(**values: int) -> None: ...
def number(a: complex) -> None: ...
def union(a: Place | Person) -> None: ...
def unknown(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def limited(a: Annotated[int, pydantic.Field(ge=0)]) -> None: ...
def callback(ok: int, a: Callable[[], int]) -> None: ...


def yielding(a: int) -> Iterator[int]:
    yield a


async def yielding_later(a: int) -> AsyncIterator[int]:
    yield a


class Yielding:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (positional, "tool positional: parameter .*: it must be taken by name"),
        (starred, r"tool starred: parameter 'values': .*take a list instead"),
        (keywords, r"tool keywords: parameter .*Tool\(function, parameters=...\)"),
        (number, "parameter 'a' is of type complex, which has no JSON form"),
        (union, "parameter 'a' is of type .*Place.*Person, which has no JSON form: Type unions"),
        (callback, "parameter 'a' is of type .*Callable.*, which has no JSON form"),
        (unknown, "tool unknown: an annotation cannot be resolved: name 'Nowhere' is not defined"),
        (limited, r"parameter 'a': the limits of FieldInfo would not be checked.*msgspec.Meta\(ge"),
        (lambda a: a, "'<lambda>' cannot be the name of a tool"),
        (functools.partial(positional), "tool positional: parameter .*: it must be taken by name"),
        (yielding, r"yielding is a generator; a tool returns its result\. Return a list"),
        (yielding_later, "yielding_later is a generator"),
        (functools.partial(yielding, a=1), "yielding is a generator"),
        (Yielding(), "Yielding is a generator"),
        (Yielding, "Yielding is a class; a tool is made of a function. Give a function"),
        ("name", r"@tool takes no text as it is, such as 'name'\. Write @tool\(name=\.\.\.\)"),
        (classmethod(positional), r"@tool stands below it"),
        (5, "not of a value of type int"),
    ],
)
def test_what_cannot_be_a_tool_is_said_at_once(function: Any, says: str) -> None:
    """A function that no model can call by name is refused when it is made a tool, with what would be right."""
    with pytest.raises(ModelInvalidRequestError, match=says):
        tool(function)
