"""What ``response_format`` asks for: the form in which it is sent, and the reading of the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from neuroroute.errors import ModelInvalidRequestError, StructuredOutputError
from neuroroute.jsontypes import is_dict, is_mapping, is_text
from neuroroute.responses import Note
from neuroroute.schemas.plain import KEYWORDS, Schema, plain_schema
from neuroroute.shapes.readers import Reader, by_schema, is_type, refused, typed

_RIGHT = (
    "Give a pydantic model, a msgspec Struct, a dataclass, a TypedDict or another type that msgspec knows, "
    'a JSON schema as a dict, or {"type": "json_object"}.'
)
_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\r?\n(.*)```\s*", re.IGNORECASE | re.DOTALL)
_OPENING = re.compile(r"[\[{]")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_REWRITTEN = Note(
    "RESPONSE_FORMAT_REWRITTEN", "LM Studio refuses json_object: sent as a json_schema that takes any object"
)


class Parsed(NamedTuple):
    """A typed answer, and where it was."""

    value: Any
    in_reasoning: bool
    """Whether it stood in the reasoning, the content being empty (LM Studio #1698)."""


class AnswerShape:
    """What an answer is to look like.

    Types are sent with objects closed to members that they do not name. A member with a default stays optional, and
    has its default when the model leaves it out. Answers that are no objects (``list[int]``, ``int``) are sent as they
    are: LM Studio's engines take any root, although OpenAI does not.
    """

    __slots__ = ("_reader", "notes", "wire")

    wire: dict[str, Any] | None
    """What is sent as ``response_format``; None where plain text was asked for. Shared: it is not to be changed."""
    notes: tuple[Note, ...]
    """What was changed of what the caller gave."""

    def __init__(self, wire: dict[str, Any] | None, reader: Reader | None, notes: tuple[Note, ...] = ()) -> None:
        self.wire = wire
        self.notes = notes
        self._reader = reader

    @classmethod
    def of(cls, response_format: Any) -> AnswerShape:
        """The shape that a ``response_format`` asks for; remembered for types and schemas that come again.

        Args:
            response_format: a type (a pydantic model, or one that msgspec knows), a JSON schema, or OpenAI's dict with
                the type ``json_schema``, ``json_object`` or ``text``.

        Raises:
            ModelInvalidRequestError: it is none of these, or a schema that is wrong or refers to what is not in it.
        """
        if isinstance(response_format, cls):
            return response_format
        if is_mapping(response_format):
            return _of_json(_json(response_format))
        try:
            hash(response_format)
        except TypeError:  # as Annotated types may be
            return _of_type.__wrapped__(response_format)
        return _of_type(response_format)

    def parse(self, text: str) -> Any:
        """The value of an answer; None where plain text was asked for.

        Space around the JSON is tolerated, and a Markdown fence; nothing else is.

        Raises:
            StructuredOutputError: it is not what was asked for; names the places and the rules, not the values.
        """
        if self._reader is None:
            return None
        fenced = _FENCED.fullmatch(text)
        try:
            return self._reader(fenced[1] if fenced else text)
        except RecursionError:
            raise refused(["it is nested too deeply"]) from None

    def parsed(self, text: str, reasoning: str = "") -> Parsed:
        """The value of an answer, from its content; if that is empty, from its reasoning.

        Of the reasoning it is the whole, else the last object or array in it that is complete.

        Raises:
            StructuredOutputError: neither is what was asked for.
        """
        if text.strip() or not reasoning.strip() or self._reader is None:
            return Parsed(self.parse(text), in_reasoning=False)
        try:
            return Parsed(self.parse(reasoning), in_reasoning=True)
        except StructuredOutputError:
            last = _last_value(reasoning)
            if last is None:
                raise StructuredOutputError("the answer is empty, and there is no JSON in the reasoning") from None
        return Parsed(self.parse(last), in_reasoning=True)

    def __repr__(self) -> str:
        return f"<AnswerShape {self.wire['json_schema']['name'] if self.wire else 'text'}>"


@lru_cache(maxsize=256)
def _of_type(kind: Any) -> AnswerShape:
    if not is_type(kind):
        raise ModelInvalidRequestError(f"response_format is a value of type {type(kind).__name__}", hint=_RIGHT)
    try:
        reader, schema = typed(kind)
    except (TypeError, NameError) as error:
        why = str(error).strip().splitlines()[-1]
        raise ModelInvalidRequestError(f"response_format is a type that cannot be read: {why}", hint=_RIGHT) from None
    name = kind.__name__ if isinstance(kind, type) else "answer"
    return AnswerShape(_wire(plain_schema(schema, closed=True), {"name": name}), reader)


def _json(given: Mapping[Any, Any]) -> str:
    try:
        return json.dumps(dict(given), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelInvalidRequestError(f"response_format cannot be sent as JSON: {error}", hint=_RIGHT) from None


@lru_cache(maxsize=256)
def _of_json(given: str) -> AnswerShape:
    response_format = msgspec.json.decode(given, type=dict[str, Any])
    kind = response_format.get("type")
    if kind == "text":
        return AnswerShape(None, None)
    if kind == "json_object":
        return _of_schema({"type": "object"}, {}, "response_format", (_REWRITTEN,))
    if kind != "json_schema":
        return _of_schema(response_format, {"name": response_format.get("title")}, "response_format")
    about = response_format.get("json_schema")
    if not is_mapping(about) or not is_dict(schema := about.get("schema")):
        raise ModelInvalidRequestError(
            "response_format.json_schema.schema is not there, or is no dict",
            hint='Give {"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}.',
        )
    return _of_schema(schema, about, "response_format.json_schema.schema")


def _of_schema(schema: Schema, about: Mapping[str, Any], field: str, notes: tuple[Note, ...] = ()) -> AnswerShape:
    if not KEYWORDS & schema.keys():
        raise ModelInvalidRequestError(
            f"{field} is no JSON schema: it has neither type nor properties nor another keyword", hint=_RIGHT
        )
    try:
        return AnswerShape(_wire(plain_schema(schema, closed=False), about), by_schema(schema), notes)
    except (ValueError, RecursionError) as error:
        raise ModelInvalidRequestError(f"{field} is no JSON schema that can be checked: {error}") from None


def _wire(schema: Schema, about: Mapping[str, Any]) -> dict[str, Any]:
    name = about.get("name")
    # OpenAI's rule for names, which servers in its likeness may keep, too.
    safe = _NOT_IN_NAMES.sub("_", name)[:64] if is_text(name) and name else "answer"
    return {"type": "json_schema", "json_schema": {"strict": True, **about, "name": safe, "schema": schema}}


def _last_value(text: str) -> str | None:
    """The last object or array in a text that is complete and not part of another."""
    decode = json.JSONDecoder().raw_decode
    last: str | None = None
    at = 0
    while found := _OPENING.search(text, at):
        begin = found.start()
        try:
            _, at = decode(text, begin)
        except json.JSONDecodeError as error:
            at = max(begin + 1, error.pos)  # not begin + 1 alone: a long text would take the square of its length
        except RecursionError:  # and so would be what stands within
            break
        except ValueError:  # a number of more than 4300 digits
            at = begin + 1
        else:
            last = text[begin:at]
    return last
