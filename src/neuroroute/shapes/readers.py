"""Reading an answer into what was asked for, and saying in words that a model can follow where it fails.

What is said names a place and a rule (``at $.age: expected `int`, got `str```), never the value: it may be secret, and
the model has it. The words of a validator that the caller wrote are told as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from neuroroute.errors import StructuredOutputError
from neuroroute.schemas.checks import check_of, place
from neuroroute.schemas.plain import Schema

if TYPE_CHECKING:
    from pydantic import ValidationError

Reader: TypeAlias = Callable[[str], Any]
"""Gives the value of a JSON text, or raises StructuredOutputError."""

_MOST = 5
_PLACED = re.compile(r"(?P<rule>.*?)(?: - at `(?P<place>\$.*)`)?", re.DOTALL)
_SAYS_THE_VALUE = ("Invalid value ", "Invalid enum value ")


def refused(problems: list[str]) -> StructuredOutputError:
    """The error that names the first of these problems."""
    told = "; ".join(problems[:_MOST]) + (f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else "")
    return StructuredOutputError(f"the answer is not what response_format asks for: {told}")


def is_type(kind: Any) -> bool:
    """Whether this is a class, or something else that stands for a type, such as ``list[int]`` or a NewType."""
    return isinstance(kind, type) or any(
        hasattr(kind, mark) for mark in ("__origin__", "__args__", "__supertype__", "__value__")
    )


def typed(kind: Any) -> tuple[Reader, Schema]:
    """The reader of a type and its JSON schema.

    pydantic reads its models and dataclasses, and types that are made of them (``list[Model]``); msgspec the others.

    Raises:
        TypeError: it cannot be read into this.
        NameError: an annotation names what cannot be found.
    """
    return _by_pydantic(kind) if _is_pydantics(kind) else _by_msgspec(kind)


def _is_pydantics(kind: Any) -> bool:
    # By a mark, so that pydantic is imported only where the caller has done so.
    return hasattr(kind, "__pydantic_validator__") or any(map(_is_pydantics, getattr(kind, "__args__", ())))


def _by_msgspec(kind: Any) -> tuple[Reader, Schema]:
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def read(text: str) -> Any:
        try:
            return decoder.decode(text)
        except ValueError as error:
            raise refused([_problem(error)]) from None

    return read, msgspec.json.schema(kind)


def _problem(error: ValueError) -> str:
    if not isinstance(error, msgspec.ValidationError):
        return _not_json(error)
    found = cast("re.Match[str]", _PLACED.fullmatch(str(error)))
    rule = "not one of the allowed values" if found["rule"].startswith(_SAYS_THE_VALUE) else found["rule"]
    return f"at {found['place'] or '$'}: {rule[:1].lower()}{rule[1:]}"


def _not_json(error: ValueError) -> str:
    if isinstance(error, UnicodeError):
        return "it is no valid Unicode text"
    return f"it is no valid JSON: {str(error).removeprefix('JSON is malformed: ')}"


def _by_pydantic(kind: Any) -> tuple[Reader, Schema]:
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        schema = adapter.json_schema()
    except PydanticUserError as error:
        raise TypeError(error.message.partition("\n")[0]) from None

    def read(text: str) -> Any:
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            raise refused(_problems(error)) from None

    return read, schema


def _problems(error: ValidationError) -> list[str]:
    problems: list[str] = []
    for found in error.errors(include_url=False, include_input=False):
        message = found["msg"]
        if found["type"] == "union_tag_invalid":  # the one message that repeats what was there
            message = f"the tag must be one of {found.get('ctx', {}).get('expected_tags')}"
        problems.append(f"at {place(found['loc'])}: {message[:1].lower()}{message[1:]}")
    return problems


def by_schema(schema: Schema) -> Reader:
    """The reader of a JSON schema: it gives plain data.

    Raises:
        ValueError: this is no JSON schema, or a reference leads to nothing; says what is wrong.
    """
    check = check_of(schema)

    def read(text: str) -> Any:
        try:
            value = msgspec.json.decode(text)
        except ValueError as error:
            raise refused([_not_json(error)]) from None
        if problems := check(value):
            raise refused(problems)
        return value

    return read
