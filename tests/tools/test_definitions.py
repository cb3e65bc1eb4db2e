from __future__ import annotations

from typing import Any

import msgspec
import pytest

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.tools import FunctionDefinition, ToolDefinition

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_a_dict_of_the_same_shape_is_the_same_definition() -> None:
    """A definition is read by attributes, and goes to JSON and back in the specification's shape."""
    definition = ToolDefinition.of(WEATHER)
    assert definition.function.name == definition.name == "get_weather"
    assert definition.function.parameters["required"] == ["city"]
    assert msgspec.json.decode(definition.wire) == msgspec.to_builtins(definition) == WEATHER
    assert msgspec.json.decode(msgspec.json.encode(definition), type=ToolDefinition) == definition
    assert ToolDefinition.of(definition) is definition
    assert ToolDefinition(function=WEATHER["function"]) == definition  # type: ignore[arg-type]


def test_defaults() -> None:
    """A function that takes nothing is sent with all keys that servers want."""
    for parameters in ({}, {"type": "object"}):
        definition = ToolDefinition.of({"function": {"name": "now", "parameters": parameters}})
        assert definition == ToolDefinition(function=FunctionDefinition(name="now"))
        assert msgspec.json.decode(definition.wire) == {
            "type": "function",
            "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}},
        }


def test_keys_that_are_not_ours_pass_through() -> None:
    """What a dict holds beside the specification's keys reaches the wire, and is not shared with the caller's dict."""
    given = {**WEATHER, "function": {**WEATHER["function"], "strict": True}, "x": [1]}  # type: ignore[dict-item]
    wire = ToolDefinition.of(given).wire
    assert msgspec.json.decode(wire) == given
    definition = ToolDefinition.of(given)
    given["x"].append(2)  # type: ignore[union-attr, attr-defined]
    assert definition.wire == wire


def test_definitions_are_frozen() -> None:
    """A definition does not change once it is made."""
    with pytest.raises(AttributeError):
        ToolDefinition.of(WEATHER).function.name = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (5, r"tools\[1\] must be like"),
        ({"type": "function"}, r"tools\[1\] must be like"),
        ({"function": "f"}, r"tools\[1\].function must be a dict with name, description and parameters"),
        ({"function": {}}, r"tools\[1\].function.name must be 1 to 64 .*, not None"),
        ({"function": {"name": "a.b"}}, r"tools\[1\].function.name must be 1 to 64 of the letters"),
        ({"function": {"name": "a" * 65}}, r"tools\[1\].function.name"),
        ({"function": {"name": "a\n"}}, r"tools\[1\].function.name"),
        ({"function": {"name": "a", "description": 5}}, r"tools\[1\].function.description must be a text"),
        ({"function": {"name": "a"}}, r"tools\[1\].function.parameters must be .*not None"),
        ({"function": {"name": "a", "parameters": []}}, r"tools\[1\].function.parameters must be .*of type list"),
        ({"function": {"name": "a", "parameters": {"type": "array"}}}, r"tools\[1\].function.parameters must be"),
        ({"function": {"name": "a", "parameters": {"properties": []}}}, r"parameters.properties must be a dict"),
        ({"function": {"name": "a", "parameters": {"x": object()}}}, r"tools\[1\].function cannot be sent as JSON"),
        ({"type": "custom", "function": {"name": "a"}}, r'tools\[1\].type must be "function"'),
    ],
)
def test_a_wrong_definition_is_named(value: Any, says: str) -> None:
    """A wrong definition is told by its place and field, with what would be right."""
    with pytest.raises(ModelInvalidRequestError, match=says):
        ToolDefinition.of(value, "tools[1]")


def test_a_definition_made_by_hand_is_checked_too() -> None:
    """Keywords are checked as dicts are."""
    with pytest.raises(ModelInvalidRequestError, match="name must be"):
        FunctionDefinition(name="no spaces")
    with pytest.raises(ModelInvalidRequestError, match="cannot be sent as JSON"):
        _ = FunctionDefinition(name="a", parameters={"x": "\ud800"}).wire
