"""The arguments of a call, checked before a tool runs: no coercion, nothing unknown, and every fault in plain words."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

import msgspec

from neuroroute.errors import ModelInvalidRequestError, ToolArgumentsError
from neuroroute.jsontypes import is_array, is_dict, is_text
from neuroroute.schemas.plain import plain_schema
from neuroroute.schemas.types import from_json

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

Check: TypeAlias = Callable[[str], dict[str, Any]]
"""Keyword arguments for the function from the JSON text of a call; raises ToolArgumentsError."""

_MAX_FAULTS = 5
_COMPOSED = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas")
_TYPES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def by_type(name: str, struct: type[msgspec.Struct], parameters: Mapping[str, Any]) -> Check:
    """A check against the types of a signature; values arrive as instances of those types.

    Args:
        name: the tool's, for errors.
        struct: has a field for each parameter, UNSET where the function's own default is to apply.
        parameters: the JSON schema of the same; explains faults, and says what objects within the arguments may have:
            those types pass over anything else in silence.
    """

    @functools.cache
    def strict() -> _Strict | None:  # on the first check: it may need jsonschema-rs
        return _strict(parameters)

    decode = msgspec.json.Decoder(struct, dec_hook=from_json).decode
    fields = struct.__struct_fields__

    def check(text: str) -> dict[str, Any]:
        try:
            found = decode(text if text.strip() else "{}")
        except Exception as error:  # a user's __post_init__ or validator may raise anything
            arguments = _parsed(name, text)
            raise _wrong(name, _explained(arguments, parameters) or [_told(error)], parameters) from error
        arguments = _parsed(name, text)
        if (validators := strict()) and (faults := _unlisted(validators, arguments, parameters)):
            raise _wrong(name, faults, parameters)
        values = {field: getattr(found, field) for field in fields}
        return {field: value for field, value in values.items() if value is not msgspec.UNSET}

    return check


def by_schema(name: str, parameters: Mapping[str, Any]) -> Check:
    """A check against a JSON schema; values arrive as plain JSON values.

    Raises:
        ModelInvalidRequestError: the schema is none, or refers to what is not in it.
    """
    validator = compiled(parameters)

    def check(text: str) -> dict[str, Any]:
        arguments = _parsed(name, text)
        if faults := _faults(validator, arguments, parameters):
            raise _wrong(name, faults, parameters)
        return arguments

    return check


def compiled(parameters: Mapping[str, Any]) -> Validator:
    """A validator for a tool's parameters that refuses unknown arguments, unless the schema itself speaks of them.

    In drafts before 2019-09 a schema that is put together from others (``allOf`` and the like) has no word for
    "nothing else", so that there unknown arguments pass.

    Raises:
        ModelInvalidRequestError: the schema is none, or refers to what is not in it; nothing is ever fetched.
    """
    import jsonschema_rs  # on the first check by a schema only

    schema = dict(parameters)
    if "additionalProperties" not in schema and "unevaluatedProperties" not in schema:
        composed = any(key in schema for key in _COMPOSED)
        schema["unevaluatedProperties" if composed else "additionalProperties"] = False
    try:
        return jsonschema_rs.validator_for(schema, retriever=_never_fetch, mask="it")
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        where = "".join(f".{step}" for step in getattr(error, "instance_path", ()))
        why = getattr(error, "message", error)
        raise ModelInvalidRequestError(f"parameters{where} is no usable JSON schema: {why}") from error


class _Strict(NamedTuple):
    """The parameters' schema: as it is, and with objects that have nothing but what they list."""

    opened: Validator
    closed: Validator


def _strict(parameters: Mapping[str, Any]) -> _Strict | None:
    """None where both are the same: the arguments hold no objects that list what they have."""
    opened, closed = [{**plain_schema(dict(parameters), closed=closed)} for closed in (False, True)]
    opened["additionalProperties"] = closed["additionalProperties"] = False
    if opened == closed:
        return None
    with suppress(ModelInvalidRequestError):  # what a pydantic model says of itself may be no JSON schema
        return _Strict(compiled(opened), compiled(closed))
    return None


def _unlisted(validators: _Strict, arguments: dict[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    """What objects have beside what they list, in arguments that were otherwise found right.

    Where even the open schema says no, the types know better than it, and the closed one proves nothing.
    """
    try:
        if validators.closed.is_valid(arguments) or not validators.opened.is_valid(arguments):
            return []
    except ValueError:
        return ["they are nested too deeply"]
    return _faults(validators.closed, arguments, parameters)


def _never_fetch(uri: str) -> NoReturn:
    raise ValueError("references to other documents are switched off; put what they say under $defs")


def _parsed(name: str, text: str) -> dict[str, Any]:
    try:
        text = text if text.strip() else "{}"
        value: Any = msgspec.json.decode(text)
        twice = _given_twice(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ToolArgumentsError(
            f"the arguments of {name} are not valid JSON: {why}", hint="Call it again with one JSON object."
        ) from error
    if not is_dict(value):
        raise ToolArgumentsError(
            f"the arguments of {name} must be one JSON object, not {_kind(value)}",
            hint='Call it again with an object such as {"argument": "value"}.',
        )
    if twice is not None:
        raise ToolArgumentsError(
            f'the arguments of {name} are wrong, so it did not run: "{twice[:64]}" is given twice',
            hint="Call it again with each name once.",
        )
    return value


def _given_twice(text: str) -> str | None:
    """The first name that an object has twice: decoders take the last, who agreed to a call may have read the first.

    Raises:
        ValueError, RecursionError: this is no JSON, or nested too deeply.
    """
    twice: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        count = Counter([key for key, _ in pairs])
        twice.extend(key for key in count if count[key] > 1)

    json.loads(text, object_pairs_hook=look, parse_int=str, parse_float=str)
    return twice[0] if twice else None


def _wrong(name: str, faults: Sequence[str], parameters: Mapping[str, Any]) -> ToolArgumentsError:
    required = parameters.get("required", ())
    known = [f"{key} (required)" if key in required else str(key) for key in parameters["properties"]]
    return ToolArgumentsError(
        f"the arguments of {name} are wrong, so it did not run: {'; '.join(faults)}",
        hint=f"Call it again; its arguments are: {', '.join(known)}." if known else "Call it again without arguments.",
    )


def _told(error: Exception) -> str:
    """What msgspec says of a value, without the value."""
    what, _, where = str(error).rpartition(" - at `$")
    if not isinstance(error, msgspec.ValidationError):
        return f"they were refused ({type(error).__name__})"
    return f'"{where.strip("`.")}": {what}' if what else where


# Faults in words that a small model can use. What it gave is named by its kind: arguments may be secret.


def _explained(arguments: dict[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    with suppress(ModelInvalidRequestError):  # a pydantic model's pattern may be one that only pydantic knows
        return _faults(compiled(parameters), arguments, parameters)
    return []


def _faults(validator: Validator, arguments: dict[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    return [_fault(error, parameters) for error in islice(validator.iter_errors(arguments), _MAX_FAULTS)]


def _fault(error: ValidationError, parameters: Mapping[str, Any]) -> str:
    kind: Any = error.kind
    path = error.instance_path
    if kind.name == "required":
        return f"{_place([*path, kind.property])} is missing"
    if kind.name in ("additionalProperties", "unevaluatedProperties"):
        return "; ".join(f"{_place([*path, name[:64]])} is unknown" for name in kind.unexpected[:_MAX_FAULTS])
    if (deepest := _deepest(error)) is not error:
        return _fault(deepest, parameters)
    return f"{_place(path)} {_right(error)}"


def _deepest(error: ValidationError) -> ValidationError:
    """Of the alternatives of a value, the fault of the one that fits best: the one found furthest inside."""
    kind: Any = error.kind
    branches: list[ValidationError] = [branch[0] for branch in getattr(kind, "context", ()) if branch]
    inner = [branch for branch in branches if len(branch.instance_path) > len(error.instance_path)]
    inner += [branch for branch in branches if branch.kind.name in ("required", "additionalProperties")]
    return max(inner, key=lambda branch: len(branch.instance_path), default=error)


def _right(error: ValidationError) -> str:
    wanted = _wanted(error)
    if not wanted:
        return f"is wrong: {error.message}"
    return (
        f"must be {wanted}"
        if error.kind.name in ("enum", "const")
        else f"must be {wanted}, not {_kind(error.instance)}"
    )


def _wanted(error: ValidationError) -> str:
    kind: Any = error.kind
    if kind.name == "type":
        types: list[str] = kind.types
        return " or ".join([_TYPES.get(name, name) for name in types])
    if kind.name == "enum":
        return "one of " + ", ".join(json.dumps(option, ensure_ascii=False) for option in kind.options)
    if kind.name == "const":
        return json.dumps(kind.expected_value, ensure_ascii=False)
    branches: list[list[ValidationError]] = getattr(kind, "context", [])
    alternatives = [_wanted(branch[0]) if branch else "" for branch in branches]
    return " or ".join(dict.fromkeys(alternatives)) if all(alternatives) else ""


def _place(path: Sequence[str | int]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f'"{text.removeprefix(".")}"' if path else "the whole object"


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "an integer" if isinstance(value, int) else "a number"
    return "a string" if is_text(value) else "an array" if is_array(value) else "an object"
