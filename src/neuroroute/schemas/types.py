"""Python types as JSON Schemas, and values as these types: msgspec does both; a pydantic model is asked itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from neuroroute.schemas.plain import plain_schema

_DEFS = "#/$defs/"


def is_pydantic_model(kind: object) -> bool:
    """Whether this is a pydantic model; told without importing pydantic."""
    return isinstance(kind, type) and hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate_json")


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a type, as local engines take it.

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
    return plain_schema({**schema, "$defs": {**parts, **found}}, closed=True)


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
