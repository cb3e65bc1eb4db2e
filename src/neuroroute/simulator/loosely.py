"""Reading JSON that may have any shape."""

from __future__ import annotations

from typing import Any, TypeGuard


def as_object(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if _is_object(value) else {}


def as_array(value: object) -> list[Any]:
    """The value if it is an array, else an empty one."""
    return value if _is_array(value) else []


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
