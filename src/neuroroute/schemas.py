"""JSON Schemas: of Python types, and to check values by. For tools' arguments and typed answers alike.

msgspec makes the schemas and converts the values; a pydantic model is asked itself; jsonschema-rs checks values against
schemas that somebody else wrote. None of the three is imported before it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_array, is_mapping

_DEFS = "#/$defs/"


def is_pydantic_model(kind: object) -> bool:
    """Whether this is a pydantic model; told without importing pydantic."""
    return isinstance(kind, type) and hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate_json")


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a type, without references but for types that contain themselves.

    Local models follow a schema that they can read from top to bottom better than one that points to and fro.

    Raises:
        TypeError: of a type that has no JSON form; says which.
    """
    found: dict[str, Any] = {}

    def hook(part: type) -> dict[str, Any]:
        if not is_pydantic_model(part):
            raise NotImplementedError
        schema: dict[str, Any] = cast("Any", part).model_json_schema()
        found.update(schema.pop("$defs", {}))
        return schema

    (schema,), parts = msgspec.json.schema_components([kind], schema_hook=hook, ref_template=_DEFS + "{name}")
    return inlined({**schema, "$defs": {**parts, **found}})


def converted(value: Any, kind: Any) -> Any:
    """The value as this type, strictly: a text is no number, and what is not in the type is refused where it says so.

    Raises:
        msgspec.ValidationError: names the place and what would be right, never the value.
    """
    return msgspec.convert(value, kind, dec_hook=_pydantic_value)


def _pydantic_value(kind: type, value: Any) -> Any:
    if not is_pydantic_model(kind):
        raise TypeError(f"a value of type {kind.__name__} cannot be made from JSON")
    try:
        return cast("Any", kind).model_validate_json(msgspec.json.encode(value), strict=True)
    except ValueError as error:
        raise ValueError(pydantic_says(error)) from None


def pydantic_says(error: ValueError) -> str:
    """Places and rules of a pydantic error, without the values that its own text shows."""
    errors: Callable[..., list[dict[str, Any]]] | None = getattr(error, "errors", None)
    if errors is None:
        return type(error).__name__
    found = errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(str(part) for part in one['loc']) or 'value'}: {one['msg']}" for one in found)


def inlined(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with its ``$defs`` put where they are used; only those that contain themselves stay apart."""
    parts: Mapping[str, Any] = schema.get("$defs") or {}
    uses = {name: _names_in(part) for name, part in parts.items()}
    recursive = {name for name in parts if name in _reached(name, uses)}

    def walk(node: Any, *, properties: bool = False) -> Any:
        if is_array(node):
            return [walk(item) for item in node]
        if not is_mapping(node):
            return node
        name = _name_of(node)
        if name is not None and name in parts and name not in recursive:
            beside = {key: walk(item) for key, item in node.items() if key not in ("$ref", "$defs")}
            return {**walk(parts[name]), **beside}
        # A title says no more than the name; among properties it is one of them.
        return {
            key: walk(item, properties=not properties and key == "properties")
            for key, item in node.items()
            if properties or not (key == "$defs" or (key == "title" and isinstance(item, str)))
        }

    kept = {name: walk(parts[name]) for name in sorted(recursive & _reached_from(schema, uses))}
    return {**walk(schema), **({"$defs": kept} if kept else {})}


def _name_of(node: Mapping[Any, Any]) -> str | None:
    reference = node.get("$ref")
    return reference[len(_DEFS) :] if isinstance(reference, str) and reference.startswith(_DEFS) else None


def _names_in(node: Any) -> set[str]:
    if is_array(node):
        return {name for item in node for name in _names_in(item)}
    if not is_mapping(node):
        return set()
    name = _name_of(node)
    inner = {found for key, item in node.items() if key != "$defs" for found in _names_in(item)}
    return inner if name is None else inner | {name}


def _reached(name: str, uses: Mapping[str, set[str]]) -> set[str]:
    """The parts that this part uses, directly or not; itself only if it contains itself."""
    found: set[str] = set()
    left = [*uses.get(name, ())]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += uses.get(one, ())
    return found


def _reached_from(schema: Mapping[str, Any], uses: Mapping[str, set[str]]) -> set[str]:
    direct = _names_in(schema)
    return direct.union(*(_reached(name, uses) for name in direct))


class SchemaCheck:
    """Checks values against a JSON Schema that somebody wrote. References stay within it: nothing is ever fetched."""

    __slots__ = ("_validator",)

    def __init__(self, schema: Mapping[str, Any], field: str) -> None:
        """Compiles the schema.

        Args:
            schema: any draft, 2020-12 where it does not say.
            field: where it came from, for the error.

        Raises:
            ModelInvalidRequestError: it is no schema, or refers to something that is not in it.
        """
        import jsonschema_rs

        try:
            self._validator = jsonschema_rs.validator_for(dict(schema), retriever=_refuse, mask="the value")
        except ValueError as error:
            raise ModelInvalidRequestError(
                f"{field} is no JSON Schema: {str(error).splitlines()[0]:.200}",
                hint="References must stay within the schema (#/$defs/...); nothing is fetched.",
            ) from error

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, with its place; None when it is right. The value itself is not repeated."""
        error = next(iter(self._validator.iter_errors(value)), None)
        if error is None:
            return None
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
        return f"{error.message} - at `${place}`"


def _refuse(uri: str) -> Any:
    raise ValueError(f"the reference {uri} leads out of the schema")


def finite(value: Any) -> bool:
    """Whether JSON can say the value: NaN and infinity it cannot."""
    if isinstance(value, float):
        return math.isfinite(value)
    if is_mapping(value):
        return all(finite(item) for item in value.values())
    return all(finite(item) for item in value) if is_array(value) else True
