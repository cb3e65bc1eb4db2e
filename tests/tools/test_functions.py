from __future__ import annotations

import functools
import gc
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from neuroroute.errors import ModelInvalidRequestError, ToolArgumentsError
from neuroroute.tools import Tool, Toolbox, tool


class Counter:
    def __init__(self) -> None:
        self.total = 0

    @tool
    def add(self, amount: int) -> int:
        """Adds."""
        self.total += amount
        return self.total

    @staticmethod
    @tool
    def double(amount: int) -> int:
        return amount * 2

    @classmethod
    @tool
    def kind(cls, upper: bool = False) -> str:
        return cls.__name__.upper() if upper else cls.__name__

    def plain(self, amount: int) -> int:
        return self.total + amount


def test_a_tool_is_called_as_its_function_was() -> None:
    """The decorator changes nothing for those who call the function themselves."""

    @tool
    def add(a: int, b: int = 2) -> int:
        """Adds."""
        return a + b

    assert add(1) == add(a=1, b=2) == 3
    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    assert list(inspect.signature(add).parameters) == ["a", "b"]
    assert repr(add) == "<Tool add(a, b)>"


def test_name_description_and_limit_may_be_given() -> None:
    """What the decorator is told wins over what the function says."""

    @tool(name="sum-of", description="Sums.", timeout_ms=5)
    def add(a: int) -> int:
        """Adds."""
        return a

    assert (add.name, add.description, add.timeout_ms) == ("sum-of", "Sums.", 5)
    again = Tool(add, name="other")
    assert (again.name, again.description, again(1)) == ("other", "Adds.", 1)


def test_an_option_that_is_none() -> None:
    """An option that the decorator does not know is told with those that it knows."""
    made: Any = tool
    with pytest.raises(ModelInvalidRequestError, match=r"@tool has no option 'timeout'\. It takes .*timeout_ms"):
        made(timeout=3)


def add_all(a: int, b: int, c: int) -> int:
    """Adds all."""
    return a + b + c


class Scaled:
    """Scales."""

    def __init__(self) -> None:
        self.run = "mine"

    def __call__(self, amount: int) -> int:
        return amount * 10


class Told(Scaled):
    def __call__(self, amount: int) -> int:
        """Tells."""
        return amount


async def test_objects_and_partials() -> None:
    """An object that can be called has its class's name, a partial that of its function; so with docstrings."""
    nested = functools.partial(functools.partial(add_all, b=1), c=2)
    tools = [Tool.of(each) for each in (Scaled(), Told(), nested)]
    assert [each.name for each in tools] == ["Scaled", "Told", "add_all"]
    assert [each.description for each in tools] == ["Scales.", "Tells.", "Adds all."]
    box = Toolbox([Scaled(), functools.partial(Counter().plain)])
    assert box.names == ("Scaled", "plain")
    assert await box.run(box.check("Scaled", '{"amount": 3}')) == "30"
    assert await box.run(box.check("plain", '{"amount": 3}')) == "3"


def test_a_decorated_generator_is_a_function() -> None:
    """Where a decorator makes a result of what a generator yields, it is a tool as any other."""

    def listed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def collect(**arguments: Any) -> list[Any]:
            return list(function(**arguments))

        return collect

    @tool
    @listed
    def count(to: int) -> Any:
        yield from range(to)

    assert (count.name, count(to=2)) == ("count", [0, 1])


async def test_methods() -> None:
    """A method is a tool of its object, decorated or not; class and static methods are tools too."""
    counter = Counter()
    assert (counter.add(2), Counter.double(2), Counter.kind()) == (2, 4, "Counter")
    box = Toolbox([counter.add, counter.double, counter.kind, counter.plain])
    assert box.names == ("add", "double", "kind", "plain")
    assert await box.run(box.check("add", '{"amount": 3}')) == "5"
    assert await box.run(box.check("double", '{"amount": 3}')) == "6"
    assert await box.run(box.check("kind", '{"upper": true}')) == "COUNTER"
    assert await box.run(box.check("plain", '{"amount": 1}')) == "6"
    assert counter.add.description == "Adds."
    assert list(inspect.signature(counter.add).parameters) == ["amount"]
    other = Counter()
    assert (other.add(1), counter.total) == (1, 5)


@pytest.mark.parametrize("method", [Counter.add, Counter.plain])
def test_a_method_needs_its_object(method: Callable[..., Any]) -> None:
    """A method taken from its class cannot run, which is said before a model calls it."""
    with pytest.raises(ModelInvalidRequestError, match=r"tools\[0\] \((add|plain)\) is a method without its object"):
        Toolbox([method])


@pytest.mark.parametrize("limit", [0, -1, True, "5", float("nan"), float("inf")])
def test_a_limit_is_a_number_of_milliseconds(limit: Any) -> None:
    """A time limit that is none is refused."""
    with pytest.raises(ModelInvalidRequestError, match="timeout_ms must be a number of milliseconds over 0"):
        Tool(Counter.double, timeout_ms=limit)


def test_what_is_read_of_a_function_is_kept_as_long_as_it() -> None:
    """A plain function is read once, and not kept alive by that."""

    def f(a: int) -> int:
        return a

    assert Tool.of(f).definition is Tool.of(f).definition
    counter = Counter()
    assert Tool.of(counter.plain).definition is Tool.of(counter.plain).definition
    made = Tool(f)
    assert Tool.of(made) is made
    reference = weakref.ref(f)
    del f, made
    gc.collect()
    assert reference() is None


SCHEMA: dict[str, Any] = {
    "properties": {"city": {"$ref": "#/$defs/City"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "$defs": {"City": {"type": "string", "minLength": 2}},
}


def told(**arguments: Any) -> dict[str, Any]:
    """Tells."""
    return arguments


def test_a_schema_of_ones_own() -> None:
    """With parameters, arguments are checked by that schema, which is sent as it is, and arrive as plain values."""
    made = Tool(told, parameters=SCHEMA)
    assert made.definition.function.parameters == {"type": "object", **SCHEMA}
    assert (made.name, made.description) == ("told", "Tells.")
    assert made.check('{"city": "Rome", "days": 2}') == {"city": "Rome", "days": 2}
    for text, says in {
        "": '"city" is missing',
        '{"city": 5}': '"city" must be a string, not an integer',
        '{"city": "s"}': '"city" is wrong: it is shorter than 2 characters',
        '{"city": "Rome", "days": 0}': '"days" is wrong: it is less than the minimum of 1',
        '{"city": "Rome", "dayz": 1}': '"dayz" is unknown',
    }.items():
        with pytest.raises(ToolArgumentsError) as caught:
            made.check(text)
        assert says in caught.value.message


@pytest.mark.parametrize(
    ("extra", "accepted"),
    [
        ({}, False),
        ({"additionalProperties": False}, False),
        ({"additionalProperties": True}, True),
        ({"additionalProperties": {"type": "string"}}, False),
        ({"additionalProperties": {"type": "integer"}}, True),
        ({"allOf": [{"properties": {"more": {}}}]}, True),
        ({"allOf": [{"properties": {"less": {}}}]}, False),
    ],
)
def test_unknown_arguments_are_refused_unless_the_schema_allows_them(extra: dict[str, Any], accepted: bool) -> None:
    """A schema that says nothing of other properties takes none; parts that it is put together of are heard."""
    made = Tool(told, parameters={**SCHEMA, **extra})
    if accepted:
        assert made.check('{"city": "Rome", "more": 1}')["more"] == 1
    else:
        with pytest.raises(ToolArgumentsError, match='"more"'):
            made.check('{"city": "Rome", "more": 1}')


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"$ref": "http://127.0.0.1:9/x.json"}, "references to other documents are switched off"),
        ({"$ref": "https://example.com/x.json"}, "references to other documents are switched off"),
        ({"$ref": "file:///etc/passwd"}, "references to other documents are switched off"),
        ({"$ref": "other.json"}, "'other.json' is not present"),
        ({"$ref": "#/$defs/None"}, "does not exist"),
        ({"type": "strin"}, "parameters.properties.city.type is no usable JSON schema"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_at_once(schema: dict[str, Any], says: str) -> None:
    """References are never fetched, and a schema that is none is told by its place."""
    with pytest.raises(ModelInvalidRequestError, match=says) as caught:
        Tool(told, parameters={"properties": {"city": schema}})
    assert caught.value.message.startswith("tool told: parameters")
