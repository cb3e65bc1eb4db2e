"""The older form of tools, ``functions`` and ``function_call``, in the newer one: LM Studio ignores the older."""

from __future__ import annotations

from typing import Any

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_mapping, is_series, is_text
from neuroroute.messages import AssistantMessage, FunctionCall, ToolCall


def tools_of_functions(functions: Any) -> list[dict[str, Any]]:
    """Definitions of tools from those of functions, which are not looked into.

    Raises:
        ModelInvalidRequestError: it is no list.
    """
    if not is_series(functions):
        raise ModelInvalidRequestError(
            f"functions must be a list of function definitions, not a value of type {type(functions).__name__}"
        )
    return [{"type": "function", "function": function} for function in functions]


def tool_choice_of(function_call: Any) -> str | dict[str, Any]:
    """The ``tool_choice`` that says what this ``function_call`` says.

    Raises:
        ModelInvalidRequestError: it is neither ``"auto"`` nor ``"none"`` nor ``{"name": ...}``.
    """
    if is_text(function_call) and function_call in ("auto", "none"):
        return function_call
    if is_mapping(function_call) and len(function_call) == 1:
        name = function_call.get("name")
        if is_text(name) and name:
            return {"type": "function", "function": {"name": name}}
    raise ModelInvalidRequestError('function_call must be "auto", "none" or {"name": "<a function\'s name>"}')


def calls_of(message: AssistantMessage) -> tuple[ToolCall, ...]:
    """The calls of a message, one in the older form last and without an id; not twice where it is in both forms."""
    call = message.function_call
    if call is None or any(_same(call, tool.function) for tool in message.tool_calls):
        return message.tool_calls
    return (*message.tool_calls, ToolCall(id="", function=call))


def _same(one: FunctionCall, other: FunctionCall) -> bool:
    return one.name == other.name and one.arguments == other.arguments
