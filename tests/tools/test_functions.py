from __future__ import annotations

import asyncio
import contextvars
import enum
import threading
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute import ModelInvalidRequestError, ToolArgumentsError, ToolFailedError
from neuroroute.tools import Tool, tool

GOOGLE = """The weather of a city, now.

    Long story.

    Args:
        city: its name,
            such as Paris.
        unit: of the temperature.

    Returns:
        Something.
"""
NUMPY = """The weather of a city, now.

    Long story.

    Parameters
    ----------
    city : str
        its name, such as Paris.
    unit : str
        of the temperature.
"""
SPHINX = """The weather of a city, now.

    Long story.

    :param city: its name, such as Paris.
    :param unit: of the temperature.
    :returns: something.
"""


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_texts_come_from_the_docstring(docstring: str) -> None:
    """Google, NumPy and Sphinx styles: the text above the parameters is the tool's, each parameter has its own."""

    def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
        return city + unit

    get_weather.__doc__ = docstring
    made = tool(get_weather)
    assert made.name == "get_weather"
    assert made.description == "The weather of a city, now.\n\nLong story."
    assert made.definition.function.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "its name, such as Paris."},
            "unit": {"enum": ["celsius", "fahrenheit"], "description": "of the temperature.", "default": "celsius"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_a_tool_is_still_a_function() -> None:
    """@tool changes nothing for who calls it; its name and text may be given."""

    @tool(name="sum_up", description="Adds.", timeout_ms=5)
    def add(a: int, b: int = 2) -> int:
        """Documented otherwise."""
        return a + b

    assert add(1, b=3) == 4
    assert (add.name, add.description, add.timeout_ms, add.__doc__) == ("sum_up", "Adds.", 5, "Documented otherwise.")
    assert repr(add) == "<Tool sum_up>"


class Color(enum.Enum):
    RED = "red"


class Shop:
    def __init__(self, stock: int) -> None:
        self.stock = stock

    @tool
    def left(self, sold: int, color: Color = Color.RED) -> int:
        """What is left."""
        return self.stock - sold if color is Color.RED else 0


async def test_methods_are_tools_of_their_object() -> None:
    """A method that is a tool takes what it takes beside self, and knows its object."""
    left = Shop(5).left
    assert left.definition.function.parameters["required"] == ["sold"]
    assert await left.run(left.check('{"sold": 2, "color": "red"}')) == 3
    assert Shop(7).left(1) == 6


def test_annotated_texts_win() -> None:
    """A text in Annotated, or a Meta there, describes the parameter better than the docstring."""

    @tool
    def find(
        query: Annotated[str, "what to look for"], limit: Annotated[int, msgspec.Meta(ge=1, description="most")] = 3
    ):
        """Finds.

        Args:
            query: something else.
            limit: something else.
        """

    properties = find.definition.function.parameters["properties"]
    assert properties["query"] == {"type": "string", "description": "what to look for"}
    assert properties["limit"] == {"type": "integer", "description": "most", "minimum": 1, "default": 3}
    with pytest.raises(ToolArgumentsError, match="limit"):
        find.check('{"query": "x", "limit": 0}')


def test_types_of_a_function_within_a_function() -> None:
    """Annotations may name what is local where the tool is made."""

    class Place(msgspec.Struct):
        x: int

    @tool
    def go(to: Place) -> int:
        return to.x

    assert go.check('{"to": {"x": 3}}') == {"to": Place(3)}


def _variadic(*words: str) -> None: ...
def _named(**words: str) -> None: ...
def _positional(word: str, /) -> None: ...
def _opaque(lock: threading.Thread) -> None: ...
def _unknown(word: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (_variadic, r"the parameter \*words: 'str' of _variadic cannot be given by name"),
        (_named, "cannot be given by name"),
        (_positional, "cannot be given by name"),
        (_opaque, "the parameter lock of _opaque has a type without a JSON form"),
        (_unknown, "annotations of _unknown cannot be read"),
        (lambda x: x, "the tool's name is '<lambda>'"),
        (5, "must be a function"),
    ],
)
def test_what_cannot_be_a_tool(function: Any, says: str) -> None:
    """A function that a model could not call fails where it is made a tool, and says why."""
    with pytest.raises(ModelInvalidRequestError, match=says):
        Tool(function)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{"count": "5"}', "Expected `int`, got `str`"),
        ('{"count": 5.5}', "Expected `int`, got `float`"),
        ('{"count": true}', "Expected `int`, got `bool`"),
        ('{"count": 1, "more": 2}', "unknown field `more`"),
        ("{}", "missing required field `count`"),
        ("", "missing required field `count`"),
        ("[1]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"count": 1', "no JSON"),
        ('{"count": 1} {"count": 2}', "no JSON"),
        ('{"count": NaN}', "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_arguments_are_checked_strictly(arguments: str, says: str) -> None:
    """Nothing is coerced, nothing unknown is let by, and the model is told what is wrong."""
    ran: list[int] = []

    @tool
    def count_down(count: int, label: str = "x") -> None:
        ran.append(count)

    with pytest.raises(ToolArgumentsError, match=says):
        count_down.check(arguments)
    assert ran == []


def test_no_arguments_are_an_empty_object() -> None:
    """Empty text means {}, and what is left out has the function's own default."""

    @tool
    def now(zone: str = "UTC") -> str:
        return zone

    assert now.check("") == now.check(" \n") == now.check("{}") == {}


VALUES = {
    int: st.integers(-(2**63), 2**63 - 1),
    str: st.text(),
    bool: st.booleans(),
    list[int]: st.lists(st.integers(-9, 9)),
    dict[str, str]: st.dictionaries(st.text(), st.text()),
    type(None): st.none(),
}


@given(st.data())
def test_right_arguments_pass_unchanged_and_wrong_ones_never(data: st.DataObject) -> None:
    """A value of the annotated type reaches the function as it was; one of another type never does."""
    kind, other = data.draw(st.sampled_from([*VALUES])), data.draw(st.sampled_from([*VALUES]))

    def function(value: Any) -> Any:
        return value

    function.__annotations__["value"] = kind
    made = Tool(function)
    value = data.draw(VALUES[other])
    arguments = msgspec.json.encode({"value": value}).decode()
    if kind is other or (kind, value) in ((list[int], []), (dict[str, str], {})):
        assert made.check(arguments) == {"value": value}
    else:
        with pytest.raises(ToolArgumentsError):
            made.check(arguments)


async def test_a_schema_may_say_what_a_function_takes() -> None:
    """With parameters= the schema is checked by, and refuses what it does not name unless it says otherwise."""

    async def anything(**given: Any) -> Any:
        return given

    schema: dict[str, Any] = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
    strict = Tool(anything, name="look-up", parameters=schema)
    assert await strict.run(strict.check('{"key": "a"}')) == {"key": "a"}
    for wrong in ('{"key": 1}', '{"key": "a", "more": 1}', "{}"):
        with pytest.raises(ToolArgumentsError, match="look-up"):
            strict.check(wrong)
    lax = Tool(anything, name="x", parameters={**schema, "additionalProperties": True})
    assert lax.check('{"key": "a", "more": 1}') == {"key": "a", "more": 1}
    with pytest.raises(ModelInvalidRequestError, match="no JSON schema"):
        Tool(anything, name="x", parameters={"type": "object", "properties": {"a": {"$ref": "http://h/s"}}})


async def test_a_plain_function_runs_off_the_event_loop() -> None:
    """A sync function runs in a thread, with the context variables of its caller; an async one on the loop."""
    who = contextvars.ContextVar("who", default="nobody")
    who.set("me")

    @tool
    def plain() -> tuple[str, int]:
        return who.get(), threading.get_ident()

    @tool
    async def native() -> int:
        return threading.get_ident()

    name, thread = await plain.run({})
    assert name == "me"
    assert thread != threading.get_ident() == await native.run({})


async def test_a_failure_is_told_with_its_cause() -> None:
    """What a tool raises becomes TOOL_FAILED; a tool's own TimeoutError is not taken for the limit's."""

    @tool
    async def breaks() -> None:
        raise TimeoutError("the database")

    with pytest.raises(ToolFailedError, match="breaks failed: TimeoutError: the database") as caught:
        await breaks.run({}, 1000)
    assert isinstance(caught.value.__cause__, TimeoutError)


async def test_a_tool_has_a_limit() -> None:
    """A tool that takes longer is not waited for; its own limit wins over the loop's."""

    @tool(timeout_ms=10)
    async def slow() -> None:
        await asyncio.sleep(60)

    with pytest.raises(ToolFailedError, match="longer than 10 ms"):
        await slow.run({}, 60_000)


async def test_a_cancellation_passes_through() -> None:
    """Who cancels the caller cancels the tool, and no failure is made of it."""

    @tool
    async def slow() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(slow.run({}, 60_000))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
