"""What a value of unknown type is, in words that both type checkers follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard


def is_text(value: object) -> TypeGuard[str]:
    """A text."""
    return isinstance(value, str)


def is_number(value: object) -> TypeGuard[float]:
    """A number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """A dict or the like; what its keys are is still to be seen."""
    return isinstance(value, Mapping)


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """A plain dict, and nothing that behaves like one."""
    return type(value) is dict


def is_array(value: object) -> TypeGuard[Sequence[Any]]:
    """A list or a tuple."""
    return isinstance(value, (list, tuple))


def is_series(value: object) -> TypeGuard[Iterable[Any]]:
    """Something to go through that is neither text nor mapping."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
