from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from neuroroute import ModelInvalidRequestError, ToolFailedError, ToolUnknownError
from neuroroute.tools import FunctionDefinition, Tool, Toolbox, ToolDefinition, tool
from neuroroute.tools.toolbox import result_text

PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}}}


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


def plain(text: str) -> str:
    """Says it."""
    return text


def test_whatever_is_a_tool_may_be_offered() -> None:
    """Tools, functions, definitions and dicts join one box; dicts are sent as they are."""
    given = {"type": "function", "function": {"name": "d", "parameters": PARAMETERS, "strict": True}}
    defined = ToolDefinition(function=FunctionDefinition(name="t", description="x", parameters=PARAMETERS))
    box = Toolbox([add, plain, defined, given])
    assert list(box) == ["add", "plain", "t", "d"]
    assert len(box) == len(box.definitions) == 4
    assert "add" in box
    assert repr(box) == "<Toolbox add, plain, t, d>"
    sent = json.loads(bytes(box.wire))
    assert [one["function"]["name"] for one in sent] == list(box)
    assert sent[3] == given
    assert sent[0]["function"]["description"] == "Adds."
    assert box.schemas["t"] == PARAMETERS
    assert list(box.only("plain")) == ["plain"]


def test_a_function_is_read_once() -> None:
    """The same function in another box is the same tool."""
    assert Toolbox([plain]).find("plain") is Toolbox([plain]).find("plain")


def function(**parts: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": PARAMETERS, **parts}}


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (5, r"tools\[0\] must be a definition, a function or a @tool, not a value of type int"),
        ("f", "must be a definition"),
        ({}, r"tools\[0\].function must be a definition"),
        ({"name": "f"}, r"tools\[0\] is a function's definition. Wrap it"),
        ({"type": "web", "function": {}}, r"tools\[0\].type is 'web'"),
        (function(name=""), r"tools\[0\].function.name is ''"),
        (function(name="a b"), r"tools\[0\].function.name is 'a b'"),
        (function(name=None), r"tools\[0\].function.name is of type NoneType"),
        (function(parameters=None), r"tools\[0\].function.parameters must be the JSON Schema of an object"),
        (function(parameters={"type": "string"}), "parameters must be the JSON Schema of an object"),
        (function(description=5), "description must be a text"),
        (function(parameters={"type": "object", "x": object()}), "cannot be sent as JSON"),
    ],
)
def test_a_wrong_definition_names_its_place(item: Any, says: str) -> None:
    """What cannot be offered is refused with its place and what would be right."""
    with pytest.raises(ModelInvalidRequestError, match=says):
        Toolbox([item])


def test_two_of_one_name_are_refused() -> None:
    """The model could not tell them apart."""
    with pytest.raises(ModelInvalidRequestError, match=r"tools\[1\] has the name 'add'"):
        Toolbox([add, Tool(plain, name="add")])


def test_a_definition_alone_cannot_be_run() -> None:
    """Who wants tools run must give functions, and is told which has none."""
    Toolbox([add]).require_functions()
    with pytest.raises(ModelInvalidRequestError, match=r"tools\[1\] \(f\) is a definition without a function"):
        Toolbox([add, function()]).require_functions()


def test_an_unknown_tool_is_told_with_those_that_are() -> None:
    """The model learns what it may call."""
    with pytest.raises(ToolUnknownError, match="no function 'sub'; there are: add, plain"):
        Toolbox([add, plain]).find("sub")


class Model(pydantic.BaseModel):
    a: int


@dataclass
class Row:
    day: datetime.date


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"a": [1, 2.5, True]}, '{"a":[1,2.5,true]}'),
        (Model(a=1), '{"a":1}'),
        ([Model(a=1)], '[{"a":1}]'),
        (Row(datetime.date(2026, 1, 2)), '{"day":"2026-01-02"}'),
        ("\ud800", "?"),
    ],
)
def test_results_become_text(result: Any, text: str) -> None:
    """A text stays as it is, all else becomes JSON."""
    assert result_text(result, "f", 1000) == text


def test_a_result_without_a_json_form_is_a_failure() -> None:
    """The model is told, instead of an address in memory."""
    with pytest.raises(ToolFailedError, match="what the function f returned cannot be told as JSON"):
        result_text(object(), "f", 1000)


def test_results_are_bounded() -> None:
    """A result that is too long is cut between characters, and says so."""
    text = result_text("é" * 100, "f", 51)
    assert text == "é" * 25 + "\n[cut: the first 51 of 200 bytes]"
