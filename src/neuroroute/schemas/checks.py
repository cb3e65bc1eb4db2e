"""Checking values against a JSON schema that somebody wrote."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from neuroroute.jsontypes import is_array, is_mapping
from neuroroute.schemas.plain import Schema


def check_of(schema: Schema) -> Callable[[Any], list[str]]:
    """A function that says where a value is not as the schema asks: place and rule, never the value.

    References are not followed out of the document.

    Raises:
        ValueError: this is no JSON schema, or a reference leads to nothing; says what is wrong.
    """
    import jsonschema_rs  # only schemas need it, types do not

    try:
        validator = jsonschema_rs.validator_for(schema, retriever=_nothing, mask="the value")
    except jsonschema_rs.ValidationError as error:
        raise ValueError(f"at {place(error.instance_path)}: {error.message}") from None

    def check(value: Any) -> list[str]:
        try:
            return [f"at {place(error.instance_path)}: {error.message}" for error in validator.iter_errors(value)]
        except ValueError:
            return ["it is nested too deeply"]

    return check


def _nothing(uri: str) -> Any:
    raise LookupError("references out of the schema are not followed, put the definition into its $defs")


def place(path: Iterable[str | int]) -> str:
    """Where in a value this path leads, as in ``$.items[0].name``."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def finite(value: Any) -> bool:
    """Whether JSON can say the value: NaN and infinity it cannot."""
    if isinstance(value, float):
        return math.isfinite(value)
    if is_mapping(value):
        return all(finite(item) for item in value.values())
    return all(finite(item) for item in value) if is_array(value) else True
