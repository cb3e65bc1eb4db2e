"""What values may be: the checks that the table of options is made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from neuroroute.jsontypes import is_array, is_mapping, is_number, is_text

Check: TypeAlias = Callable[[Any], bool]
Concern: TypeAlias = Literal["answer", "way", "here"]


class Rule(msgspec.Struct, frozen=True):
    """What a value must be."""

    check: Check
    right: str
    """What would be right, to end the sentence "it must be ..."."""
    default: Any = None
    read: Callable[[Any], Any] | None = None
    """What is made of the value; it raises for itself where something in the value is wrong."""
    concerns: Concern = "answer"
    """What it may change: the answer, so that a cache tells requests apart by it; the way to it (limits, retries); or
    what is made of it here, before the request goes out or after its answer came (messages and tools, reasks)."""


def number(low: float, high: float = 1e308, *, open_low: bool = False) -> Check:
    """A number of this range; with ``open_low`` without its lower end."""

    def check(value: Any) -> bool:
        return is_number(value) and (low < value if open_low else low <= value) and value <= high

    return check


def integer(low: float, *others: int) -> Check:
    """A whole number from there on that fits in 64 bits, or one of the others."""
    return lambda value: type(value) is int and (low <= value < 2**63 or value in others)


def is_words(value: Any) -> bool:
    """A text that is not empty."""
    return isinstance(value, str) and bool(value)


def are_texts(value: Any) -> bool:
    """A text that is not empty, or a list of such."""
    return is_words(value) or (is_array(value) and bool(value) and all(map(is_words, value)))


def are_biases(value: Any) -> bool:
    """Texts and how much to favour each."""
    is_bias = number(-1e308)
    return is_mapping(value) and all(is_words(key) and is_bias(bias) for key, bias in value.items())


def are_headers(value: Any) -> bool:
    """HTTP headers that say nothing of how a request and its answer are sent."""
    return is_mapping(value) and all(
        _header_name(name) and _one_line(text) and name.lower() not in _FRAMING for name, text in value.items()
    )


_FRAMING = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers that say how a request and its answer are sent; wrong ones would break the connection or the answer."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What the name of a header is. Source: RFC 9110, 5.6.2."""


def _header_name(value: Any) -> bool:
    return is_text(value) and _TOKEN.fullmatch(value) is not None


def _one_line(value: Any) -> bool:
    return is_text(value) and value.isprintable() and value.isascii()


def one_of(*words: str, concerns: Concern = "answer") -> Rule:
    """One of these; the first is the default."""
    return Rule(lambda value: value in words, f"one of {', '.join(words)}", words[0], concerns=concerns)


def not_json(value: Any, path: str, depth: int = 0) -> str | None:
    """Where in the value something is that JSON cannot say; msgspec would send NaN as null."""
    if depth > _DEEPEST:  # or a list that contains itself
        return path
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    if value is None or isinstance(value, (str, int)):
        return None
    if is_mapping(value):
        pairs = [(f"{path}[{key!r}]", item if isinstance(key, str) else object()) for key, item in value.items()]
    elif is_array(value):
        pairs = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return path
    return next((found for key, item in pairs if (found := not_json(item, key, depth + 1)) is not None), None)


_DEEPEST = 100
"""Levels of ``extra``."""
