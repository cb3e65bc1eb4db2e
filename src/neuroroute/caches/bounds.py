"""How much a cache keeps, and how long."""

from __future__ import annotations

from typing import Any, NamedTuple

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.rules import Check, integer, number


class Bounds(NamedTuple):
    """How much a cache keeps, and how long."""

    ttl_seconds: float | None
    max_entries: int
    max_bytes: int

    def __str__(self) -> str:
        age = "of any age" if self.ttl_seconds is None else f"of the last {self.ttl_seconds:g} s"
        return f"at most {self.max_entries} answers {age}, {self.max_bytes} bytes"


_COUNT: tuple[Check, str] = integer(1), "a whole number of at least 1"


def checked_bounds(ttl_seconds: Any, max_entries: Any, max_bytes: Any) -> Bounds:
    """The bounds, found right.

    Raises:
        ModelInvalidRequestError: names what is wrong.
    """
    if ttl_seconds is not None:
        _check("ttl_seconds", ttl_seconds, number(0, 1e12, open_low=True), "a number of seconds over 0, or None")
    _check("max_entries", max_entries, *_COUNT)
    _check("max_bytes", max_bytes, *_COUNT)
    return Bounds(ttl_seconds, max_entries, max_bytes)


def _check(name: str, value: Any, check: Check, right: str) -> None:
    if not check(value):
        raise ModelInvalidRequestError(f"{name} is {value!r:.60}; it must be {right}")
