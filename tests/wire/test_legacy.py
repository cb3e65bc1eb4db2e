from __future__ import annotations

from typing import Any

import pytest

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.messages import AssistantMessage, FunctionCall, ToolCall
from neuroroute.wire.legacy import calls_of, tool_choice_of, tools_of_functions

CALL = FunctionCall(name="f", arguments='{"a":1}')


def test_functions_become_tools() -> None:
    """A function's definition is the very function of a tool's definition."""
    functions = ({"name": "f", "parameters": {"type": "object"}}, {"name": "g"})
    tools = tools_of_functions(functions)
    assert tools == [{"type": "function", "function": each} for each in functions]
    assert tools[0]["function"] is functions[0]
    assert tools_of_functions([]) == []


@pytest.mark.parametrize("functions", [{"name": "f"}, "f", 5, None])
def test_functions_are_a_list(functions: Any) -> None:
    """One definition, or no definition at all, in place of a list is refused."""
    with pytest.raises(ModelInvalidRequestError, match="functions must be a list"):
        tools_of_functions(functions)


def test_a_choice_says_what_the_function_call_said() -> None:
    """The words auto and none stay, a named function is a named tool."""
    assert tool_choice_of("auto") == "auto"
    assert tool_choice_of("none") == "none"
    assert tool_choice_of({"name": "f"}) == {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize("choice", ["required", "f", {}, {"name": ""}, {"name": 5}, {"name": "f", "x": 1}, 5, None])
def test_a_wrong_choice_is_refused(choice: Any) -> None:
    """What a function_call cannot be is refused, and told what it can be."""
    with pytest.raises(ModelInvalidRequestError, match=r'function_call must be "auto", "none" or \{"name": '):
        tool_choice_of(choice)


def test_a_call_in_both_forms_is_counted_once() -> None:
    """The older form is added without an id, unless the same call is there in the newer form."""
    tool = ToolCall(id="1", function=CALL)
    other = ToolCall(id="1", function=FunctionCall(name="f", arguments="{}"))
    assert calls_of(AssistantMessage(content="x")) == ()
    assert calls_of(AssistantMessage(function_call=CALL)) == (ToolCall(id="", function=CALL),)
    assert calls_of(AssistantMessage(function_call=CALL, tool_calls=(tool,))) == (tool,)
    assert calls_of(AssistantMessage(function_call=CALL, tool_calls=(other,))) == (
        other,
        ToolCall(id="", function=CALL),
    )
