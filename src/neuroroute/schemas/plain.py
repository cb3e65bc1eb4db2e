"""JSON schemas as local engines take them.

LM Studio's engines turn a schema into a grammar (llama.cpp) or an index of tokens (MLX, with Outlines), and refuse the
whole request for a keyword that they do not understand. What is sent is therefore made plain; nothing is lost by that,
since the answer is checked against the schema as it was given.

=========================================  ====================================================================
changed                                    because
=========================================  ====================================================================
``$ref`` inlined, unless it recurs         LM Studio #173: ``$defs`` of pydantic models were not followed
``{"type": ["integer", "null"]}``          LM Studio #909, MLX: 'type' must be a string; so ``anyOf``
``true`` as a schema, ``items: false``     llama.cpp: "schema must be an object"
``pattern`` left out                       llama.cpp refuses one that is not anchored, or has a backslash
lengths over 500 left out                  llama.cpp refuses a grammar of 2000 repetitions
``discriminator`` left out                 it points to the definitions that are inlined
``title`` left out                         it says no more than the name, to a model that reads slowly
=========================================  ====================================================================

The engines write the required properties first, then the optional ones, both in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from neuroroute.jsontypes import is_array, is_mapping, is_text

Schema: TypeAlias = dict[str, Any]

_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems", "items"})
_SINGLE = frozenset({"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"})
_LENGTHS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_LONGEST = 500
_LARGEST = 5000
"""Schemas that an inlined one may hold: definitions that use each other twice double with each level."""
_PLAIN_PATTERN = re.compile(r"\^(?!.*\(\?)(?:\[\^?[^\]\\^$]*\]|[^\\^$\[])*\$")

KEYWORDS = _MAPS | _LISTS | _SINGLE | _LENGTHS | {"type", "enum", "const", "$ref", "format", "pattern", "required"}
"""What a JSON schema has at least one of."""


class _CannotInlineError(Exception):
    """A reference leads back to itself, out of the document, to nothing, or makes the schema too large."""


def plain_schema(schema: Schema, *, closed: bool) -> Schema:
    """The schema as local engines take it, see the module's table.

    Args:
        schema: the schema; it is not changed.
        closed: Whether objects that list their properties and say nothing of others are to have no others. So for
            types; a schema means what it says.
    """
    try:
        plain = _Plain(schema, closed=closed, inline=True).schema(schema)
    except _CannotInlineError:
        plain = _Plain(schema, closed=closed, inline=False).schema(schema)
        if is_text(root := plain.get("$ref")) and is_mapping(target := _target(plain, root)):
            # The root has a type of its own then, which is what engines look at first.
            return {**target, **{key: value for key, value in plain.items() if key != "$ref"}}
    return plain


class _Plain:
    """One walk through a schema."""

    __slots__ = ("_budget", "_closed", "_document", "_inline", "_open")

    def __init__(self, document: Schema, *, closed: bool, inline: bool) -> None:
        self._document = document
        self._closed = closed
        self._inline = inline
        self._open: list[str] = []
        self._budget = _LARGEST

    def schema(self, schema: Any) -> Schema:
        """This schema, and all within it, made plain."""
        if not is_mapping(schema):
            return {"not": {}} if schema is False else {}
        self._budget -= 1
        if self._inline and self._budget < 0:
            raise _CannotInlineError
        plain = {
            key: self._keyword(key, value) for key, value in schema.items() if not self._left_out(schema, key, value)
        }
        if self._closed and "properties" in plain:
            plain.setdefault("additionalProperties", False)
        if self._inline and is_text(ref := plain.pop("$ref", None)):
            return {**self._definition(ref), **plain}
        return _one_type(plain)

    def _definition(self, ref: str) -> Schema:
        target = None if ref in self._open else _target(self._document, ref)
        if target is None:
            raise _CannotInlineError
        self._open.append(ref)
        definition = self.schema(target)
        self._open.pop()
        return definition

    def _keyword(self, key: str, value: Any) -> Any:
        if key in _MAPS and is_mapping(value):
            return {name: self.schema(inner) for name, inner in value.items()}
        if key in _LISTS and is_array(value):
            return [self.schema(inner) for inner in value]
        if key in _SINGLE and not (key == "additionalProperties" and isinstance(value, bool)):
            return self.schema(value)
        return value

    def _left_out(self, schema: Mapping[str, Any], key: str, value: Any) -> bool:
        if key in ("$defs", "definitions"):
            return self._inline
        if key == "items":  # "no more than these", which prefixItems means to the engines anyway
            return value is False and "prefixItems" in schema
        if key == "title":  # it says no more than the name
            return is_text(value)
        if key == "required":
            return is_array(value) and not value
        if key == "pattern":
            return not (is_text(value) and _PLAIN_PATTERN.fullmatch(value))
        return key == "discriminator" or (key in _LENGTHS and isinstance(value, int) and value > _LONGEST)


def _one_type(schema: Schema) -> Schema:
    types = schema.get("type")
    if not is_array(types) or "anyOf" in schema:
        return schema
    rest = {key: value for key, value in schema.items() if key != "type"}
    if "enum" in schema or "const" in schema:
        return rest
    return {"anyOf": [{**rest, "type": kind} for kind in types]}


def _target(document: Schema, ref: str) -> Any:
    """What a reference into the same document leads to; None if it leads elsewhere or to nothing."""
    if not ref.startswith("#/"):
        return None
    found: Any = document
    for part in ref[2:].split("/"):
        if not is_mapping(found):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found
