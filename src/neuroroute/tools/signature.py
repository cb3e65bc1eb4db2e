"""A function's signature as a JSON Schema, and as the type that its arguments are checked by."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.schemas.types import schema_of


class Signature(NamedTuple):
    """What a function says of itself."""

    description: str
    parameters: dict[str, Any]
    """The JSON Schema of its arguments."""
    arguments: Any
    """A msgspec Struct with a field for each parameter; those that may be left out are UNSET then."""


def signature_of(function: Callable[..., Any], name: str, local_names: Mapping[str, Any] | None = None) -> Signature:
    """Reads a function: types from its annotations, texts from its docstring (Google, NumPy or Sphinx style).

    Args:
        function: what the model may call.
        name: what it is called, for errors.
        local_names: names that its annotations may use beside the globals of its module.

    Raises:
        ModelInvalidRequestError: a parameter that cannot be given by name, or a type without a JSON form.
    """
    hints = _hints(function, name, local_names)
    description, texts = _docstring(function)
    fields: list[tuple[str, Any, Any]] = []
    properties: dict[str, Any] = {}
    required: list[str] = []
    parts: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        _check_kind(parameter, name)
        kind = hints.get(parameter.name, Any)
        schema = _schema(kind, parameter.name, name)
        parts |= schema.pop("$defs", {})
        if text := _described(kind) or texts.get(parameter.name):
            schema["description"] = text
        if parameter.default is parameter.empty:
            required.append(parameter.name)
            fields.append((parameter.name, kind, msgspec.NODEFAULT))
        else:
            schema |= _default(parameter.default)
            fields.append((parameter.name, kind | msgspec.UnsetType if kind is not Any else Any, msgspec.UNSET))
        properties[parameter.name] = schema
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    arguments = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
    return Signature(description, parameters | ({"$defs": parts} if parts else {}), arguments)


def _hints(function: Callable[..., Any], name: str, local_names: Mapping[str, Any] | None) -> dict[str, Any]:
    plain = inspect.unwrap(function)
    target = plain if hasattr(plain, "__annotations__") else type(plain).__call__
    closure: Mapping[str, Any] = inspect.getclosurevars(target).nonlocals if inspect.isfunction(target) else {}
    try:
        return get_type_hints(target, localns={**(local_names or {}), **closure}, include_extras=True)
    except (NameError, TypeError) as error:
        raise ModelInvalidRequestError(
            f"the annotations of {name} cannot be read: {error}",
            hint="Define the types that a tool's parameters have at the top of the module.",
        ) from error


def _check_kind(parameter: inspect.Parameter, name: str) -> None:
    by_name = (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    if parameter.kind not in by_name:
        raise ModelInvalidRequestError(
            f"the parameter {parameter} of {name} cannot be given by name; a tool's parameters are all named"
        )


def _schema(kind: Any, parameter: str, name: str) -> dict[str, Any]:
    try:
        return schema_of(kind)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ModelInvalidRequestError(
            f"the parameter {parameter} of {name} has a type without a JSON form: {kind!r:.100}",
            hint="Use types that JSON knows, dataclasses, TypedDicts, Enums, msgspec Structs or pydantic models.",
        ) from error


def _described(kind: Any) -> str | None:
    """The description in ``Annotated[T, "..."]``, or in a Meta or Field there."""
    if get_origin(kind) is not Annotated:
        return None
    for extra in get_args(kind)[1:]:
        text = extra if isinstance(extra, str) else getattr(extra, "description", None)
        if isinstance(text, str):
            return text
    return None


def _default(value: Any) -> dict[str, Any]:
    try:
        return {"default": msgspec.to_builtins(value)}
    except (TypeError, ValueError):  # it has no JSON form; the function knows it
        return {}


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    text = inspect.getdoc(function)
    if not text:
        return "", {}
    import docstring_parser

    try:
        found = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text, {}
    described = "\n\n".join(part for part in (found.short_description, found.long_description) if part)
    return _plain(described), {one.arg_name: _plain(one.description) for one in found.params if one.description}


def _plain(text: str) -> str:
    """Lines that were only wrapped for the source become one."""
    return re.sub(r"(?<![\n])\n(?![\s\-*\d])", " ", text).strip()
