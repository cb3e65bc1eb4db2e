"""Python types as JSON Schemas, and values between JSON and those types; pydantic's models among them.

msgspec does the work. pydantic is never imported: a model is known by its methods.
"""

from __future__ import annotations

from typing import Any

import msgspec

from neuroroute.schemas.plain import Schema, plain_schema

_DEFS = "#/$defs/"


def schema_of(kind: Any) -> Schema:
    """The JSON Schema of a type, as local engines take it.

    Raises:
        TypeError: there is none.
    """
    parts: dict[str, Any] = {}

    def hook(part: Any) -> Schema:
        if not hasattr(part, "model_json_schema"):
            raise TypeError(f"{part.__name__} is no type of data")
        schema: Schema = part.model_json_schema()
        parts.update(schema.pop("$defs", {}))
        return schema

    (schema,), components = msgspec.json.schema_components([kind], schema_hook=hook, ref_template=_DEFS + "{name}")
    return plain_schema({**schema, "$defs": {**components, **parts}}, closed=False)


def from_json(kind: type, value: Any) -> Any:
    """What msgspec cannot make of JSON: an instance of a pydantic model, without coercion.

    Raises:
        ValueError: the value is not what the model takes; says where and why, not what was given.
    """
    model: Any = kind
    try:
        # From JSON text: strict on Python objects would refuse what JSON can only say as text, such as dates.
        return model.model_validate_json(msgspec.json.encode(value), strict=True)
    except ValueError as error:
        found: Any = error
        if not hasattr(error, "errors"):
            raise
        faults = found.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:5])
    raise ValueError(told.removeprefix(": "))  # outside of except: pydantic's own text repeats the value


def to_json(value: Any) -> Any:
    """What msgspec cannot write: a pydantic model, as plain values.

    Raises:
        NotImplementedError: it is no such model.
    """
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise NotImplementedError
