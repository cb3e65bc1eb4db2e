"""What a tool looks like to the model: its name, what it does, and a JSON Schema of what it takes."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_mapping


def _no_parameters() -> dict[str, Any]:
    return {"type": "object", "properties": {}}


class FunctionDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call."""

    name: str
    """Letters, digits, ``_``, ``-`` and ``.``, at most 64."""
    description: str = ""
    """What it does and when to call it; the model decides by this."""
    parameters: dict[str, Any] = msgspec.field(default_factory=_no_parameters)
    """A JSON Schema of an object."""


class ToolDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model may call; every tool of today is a function."""

    type: str = "function"
    function: FunctionDefinition


_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


def function_definition(value: Any, field: str) -> FunctionDefinition:
    """A typed definition from a dict of the same shape, or the definition itself; checked.

    Args:
        value: the definition.
        field: where it stands, for the error, such as ``functions[0]``.

    Raises:
        ModelInvalidRequestError: names what is wrong and what would be right.
    """
    if isinstance(value, FunctionDefinition):
        value = msgspec.structs.asdict(value)
    if not is_mapping(value):
        raise ModelInvalidRequestError(f"{field} must be a definition, not a value of type {type(value).__name__}")
    name = checked_name(value.get("name"), f"{field}.name")
    description, parameters = value.get("description"), value.get("parameters")
    if description is not None and not isinstance(description, str):
        raise ModelInvalidRequestError(f"{field}.description must be a text")
    if not is_mapping(parameters) or parameters.get("type", "object") != "object":
        raise ModelInvalidRequestError(
            f"{field}.parameters must be the JSON Schema of an object",
            hint='A function without parameters has {"type": "object", "properties": {}}.',
        )
    return FunctionDefinition(name=name, description=description or "", parameters=dict(parameters))


def checked_name(name: Any, field: str) -> str:
    """The name of a function.

    Raises:
        ModelInvalidRequestError: it is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = repr(name) if isinstance(name, str) else f"of type {type(name).__name__}"
        raise ModelInvalidRequestError(
            f"{field} is {shown:.80}; it must be 1 to 64 letters, digits, underscores, hyphens or dots"
        )
    return name


def tool_definition(value: Any, field: str) -> ToolDefinition:
    """A typed definition of a tool from a dict of the same shape, or the definition itself; checked.

    Raises:
        ModelInvalidRequestError: names what is wrong and what would be right.
    """
    if isinstance(value, ToolDefinition):
        value = {"type": value.type, "function": value.function}
    if not is_mapping(value):
        raise ModelInvalidRequestError(
            f"{field} must be a definition, a function or a @tool, not a value of type {type(value).__name__}"
        )
    kind, function = value.get("type", "function"), value.get("function")
    if function is None and "name" in value:
        raise ModelInvalidRequestError(
            f"{field} is a function's definition", hint='Wrap it: {"type": "function", "function": {...}}.'
        )
    if kind != "function":
        raise ModelInvalidRequestError(f"{field}.type is {kind!r:.40}; it must be 'function'")
    return ToolDefinition(function=function_definition(function, f"{field}.function"))
