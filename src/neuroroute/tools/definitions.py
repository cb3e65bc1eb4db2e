"""What a model is told of a tool, in the shape that ``/v1/chat/completions`` takes."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeGuard, cast

import msgspec
from msgspec.structs import force_setattr

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_mapping, is_text

NAME_RULE = "1 to 64 of the letters a-z and A-Z, digits, _ and -"
"""What OpenAI takes as the name of a function; MCP would allow dots, which other servers refuse."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_encode = msgspec.json.Encoder().encode


def is_tool_name(name: object) -> TypeGuard[str]:
    """Whether a tool may have this name."""
    return is_text(name) and _NAME.fullmatch(name) is not None


def _no_parameters() -> dict[str, Any]:
    return {"type": "object", "properties": {}}


class FunctionDefinition(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A function that the model may call.

    Raises:
        ModelInvalidRequestError: the name or the parameters are not what servers take.
    """

    name: str
    """1 to 64 letters, digits, ``_`` and ``-``."""
    description: str = ""
    """What it does and when to call it, for the model to read."""
    parameters: dict[str, Any] = msgspec.field(default_factory=_no_parameters)
    """A JSON schema of an object, whose properties are the arguments."""

    def __post_init__(self) -> None:
        if not is_tool_name(self.name):
            raise ModelInvalidRequestError(f"name must be {NAME_RULE}, not {_shown(self.name)}")
        if not is_text(self.description):
            raise ModelInvalidRequestError(f"description must be a text, not {_kind(self.description)}")
        force_setattr(self, "parameters", _object_schema(self.parameters))

    @classmethod
    def of(cls, value: Any, field: str = "function") -> FunctionDefinition:
        """A definition from a dict of the same shape, or the definition itself.

        Keys that we do not know, such as ``strict``, are sent as they are.

        Args:
            value: a definition or a mapping.
            field: the name to use in an error, such as ``functions[2]``.

        Raises:
            ModelInvalidRequestError: names the field.
        """
        if isinstance(value, FunctionDefinition):
            return value
        if not is_mapping(value):
            raise ModelInvalidRequestError(
                f"{field} must be a dict with name, description and parameters, not {_kind(value)}"
            )
        known: dict[str, Any] = {"name": value.get("name"), "parameters": value.get("parameters")}
        if value.get("description") is not None:
            known["description"] = value["description"]
        try:
            made = cls(**known)
        except ModelInvalidRequestError as error:
            raise ModelInvalidRequestError(f"{field}.{error.message}", hint=error.hint) from error
        _keep(made, {**value, "description": made.description, "parameters": made.parameters}, field)
        return made

    @property
    def wire(self) -> bytes:
        """The definition as JSON, encoded once."""
        return _kept(self, "function")


class ToolDefinition(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A tool that the model may call; functions are all that there is.

    Raises:
        ModelInvalidRequestError: a wrong type or function.
    """

    function: FunctionDefinition
    """What can be called; a dict of the same shape is taken, too."""
    type: Literal["function"] = "function"

    def __post_init__(self) -> None:
        if self.type != "function":
            raise ModelInvalidRequestError(f'type must be "function", not {_shown(self.type)}')
        force_setattr(self, "function", FunctionDefinition.of(self.function))

    @classmethod
    def of(cls, value: Any, field: str = "tool") -> ToolDefinition:
        """A definition from a dict of the same shape, or the definition itself.

        Args:
            value: a definition or a mapping; what it holds beside ``type`` and ``function`` is sent as it is.
            field: the name to use in an error, such as ``tools[2]``.

        Raises:
            ModelInvalidRequestError: names the field.
        """
        if isinstance(value, ToolDefinition):
            return value
        if not is_mapping(value) or "function" not in value:
            raise ModelInvalidRequestError(
                f'{field} must be like {{"type": "function", "function": {{"name": ...}}}}, not {_kind(value)}'
            )
        try:
            made = cls(function=value["function"], type=value.get("type", "function"))
        except ModelInvalidRequestError as error:
            raise ModelInvalidRequestError(f"{field}.{error.message}", hint=error.hint) from error
        if not value.keys() <= {"type", "function"}:
            _keep(made, {**value, "function": msgspec.Raw(made.function.wire)}, field)
        return made

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.name

    @property
    def wire(self) -> bytes:
        """The definition as JSON, encoded once."""
        kept = cast("dict[str, bytes]", self.__dict__)
        if "wire" not in kept:
            kept["wire"] = b'{"type":"function","function":%b}' % self.function.wire
        return kept["wire"]


def _object_schema(parameters: object) -> dict[str, Any]:
    if not is_mapping(parameters) or parameters.get("type", "object") != "object":
        what = f"type {_shown(parameters.get('type'))}" if is_mapping(parameters) else _kind(parameters)
        raise ModelInvalidRequestError(f'parameters must be a JSON schema of {{"type": "object"}}, not {what}')
    if not is_mapping(parameters.get("properties", {})):
        raise ModelInvalidRequestError("parameters.properties must be a dict of names to JSON schemas")
    # Servers want both keys, MCP servers and hands leave them out where there are no parameters.
    return {**_no_parameters(), **parameters}


def _keep(made: FunctionDefinition | ToolDefinition, value: Any, field: str) -> bytes:
    try:
        wire = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelInvalidRequestError(f"{field} cannot be sent as JSON: {error}") from error
    cast("dict[str, bytes]", made.__dict__)["wire"] = wire  # the struct is frozen, its __dict__ is not
    return wire


def _kept(made: FunctionDefinition, field: str) -> bytes:
    kept = cast("dict[str, bytes]", made.__dict__).get("wire")
    return kept if kept is not None else _keep(made, made, field)


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _shown(value: object) -> str:
    return f"{value!r:.80}" if is_text(value) else _kind(value)
