"""Slightly broken JSON, as small models write it, put right where there is exactly one reading."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from neuroroute.jsontypes import is_array, is_dict, is_text

_DEEPEST = 100
"""Arrays and objects inside each other; deeper ones are refused, valid or not, so that no reader runs out of stack."""


def repaired_json(text: str) -> str | None:
    """The text as valid JSON, or None if it has no reading or more than one.

    Valid JSON comes back unchanged, but for a string that holds a JSON object: that is an object encoded twice, and
    comes back as the object. Repaired are: a code fence around it, trailing commas, keys without quotes, single quotes,
    ``True``, ``False`` and ``None``, raw control characters in strings, an escaped ``'``, closing brackets that are
    missing at the very end, and one closing brace too many there.

    Never guessed: what a string, a number, a literal or a list was to become when it was cut off, what an unescaped
    quote inside a string meant, which of two values with the same key counts. NaN and numbers out of range are no JSON.

    Args:
        text: what should be JSON, of any length; the time taken is linear in it.
    """
    if (sound := _sound(text)) is not None:
        return sound
    bare = _FENCE.sub("", text.strip()).removesuffix("```").strip() if "```" in text else text.strip()
    if (sound := _sound(bare)) is not None:
        return sound
    written = _rewritten(bare)
    return None if written is None else _sound(written)


_FENCE = re.compile(r'\A```\w*+[ \t]*+(?:\r?\n|(?=[{\["]))')


def _sound(text: str) -> str | None:
    """The text, or the object that it holds in a string, if it is valid JSON with keys that are unique."""
    value = _decoded(text)
    if is_text(value) and is_dict(_decoded(value)):
        return value
    return None if value is _INVALID else text


_INVALID = object()


def _decoded(text: str) -> Any:
    try:
        msgspec.json.decode(text)  # stricter than json: no NaN, no half of a surrogate pair, no number out of range
        value = json.loads(text, object_pairs_hook=_unique)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _INVALID
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer) if is_array(inner) or is_dict(inner)]
        if not level:
            return value
    return _INVALID


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key comes twice")
    return members


def _inside(value: Any) -> Iterable[Any]:
    if is_dict(value):
        return value.values()
    return value if is_array(value) else ()


# --- writing it anew ---

# Possessive quantifiers (*+): a string that is never closed is looked through once, not once per character.
# A single-quoted string with \/ is no token: Python and JavaScript read it differently.
_TOKEN = re.compile(
    r"""\s*+(?:
        (?P<mark>[{}\[\]:,])
      | (?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*+"|'[^'\\]*+(?:\\[^/][^'\\]*+)*+')
      | (?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+)
      | (?P<word>[^\W\d]\w*+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_LITERALS = {"true": "true", "false": "false", "null": "null", "True": "true", "False": "false", "None": "null"}
_ODD_IN_STRING = re.compile(r"""\\(.)|["\x00-\x1f]""", re.DOTALL)


def _rewritten(text: str) -> str | None:
    """What the tokens amount to, written strictly; strings may still hold a wrong escape."""
    writer, end, kind = JsonWriter(), 0, None
    while match := _TOKEN.match(text, end):
        kind, end = match.lastgroup, match.end()
        if not writer.take(kind, match[kind or 0]):
            return None
    return writer.whole(cut_in_number=kind == "number") if end == len(text) else None


class JsonWriter:
    """Takes tokens and writes strict JSON.

    ::

        "{" ─► key ─► colon ─► value ─► next ─","─► key          "[" ─► item ─► next ─","─► item

    A closing bracket is taken in ``next``, ``key`` and ``item``; a comma is written when something follows it.
    """

    __slots__ = ("_closers", "_comma", "_out", "_state")

    def __init__(self) -> None:
        self._state = "value"
        self._closers: list[str] = []
        self._comma = ""
        self._out: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether a whole value was written, all its brackets closed."""
        return self._state in ("next", "end") and not self._closers

    def take(self, kind: str | None, token: str) -> bool:
        """Whether the token has one reading here; after one that has none, nothing more may be given.

        Args:
            kind: ``mark``, ``string``, ``number`` or ``word``.
            token: as it is in the text.
        """
        if kind == "mark":
            return self._mark(token)
        if self._state == "key":
            return kind != "number" and token not in _LITERALS and self._write(_string(token), "colon")
        if self._state not in ("value", "item"):
            return False
        if kind == "word":
            return token in _LITERALS and self._write(_LITERALS[token], "next")
        return self._write(token if kind == "number" else _string(token), "next")

    def whole(self, *, cut_in_number: bool) -> str | None:
        """All that was written, missing brackets closed.

        Args:
            cut_in_number: the last token is a number, which may have been meant to go on.
        """
        if self._state not in ("next", "end") or (self._closers and cut_in_number):
            return None
        return "".join([*self._out, *reversed(self._closers)])

    def _mark(self, mark: str) -> bool:
        if mark in "{[":
            opens = self._state in ("value", "item") and len(self._closers) < _DEEPEST
            if opens:
                self._write(mark, "key" if mark == "{" else "item")
                self._closers.append("}" if mark == "{" else "]")
            return opens
        if mark == ":":
            return self._state == "colon" and self._write(mark, "value")
        if mark == ",":
            if self._state != "next" or not self._closers:
                return False
            self._comma, self._state = ",", "key" if self._closers[-1] == "}" else "item"
            return True
        return self._close(mark)

    def _close(self, mark: str) -> bool:
        if self._closers:
            self._comma = ""
            return self._state in ("next", "key", "item") and self._closers.pop() == mark and self._write(mark, "next")
        # one brace too many: nothing may follow it
        extra = mark == "}" and self._state == "next" and self._out[0] == "{"
        self._state = "end"
        return extra

    def _write(self, text: str, state: str) -> bool:
        self._out.append(self._comma + text)
        self._comma, self._state = "", state
        return True


def _string(token: str) -> str:
    """The string in double quotes, its odd characters escaped; a bare word is a string, too."""
    body = token[1:-1] if token[0] in "\"'" else token
    return f'"{_ODD_IN_STRING.sub(_escaped, body)}"'


def _escaped(match: re.Match[str]) -> str:
    if match[1] is None:
        return json.dumps(match[0])[1:-1]
    return "'" if match[1] == "'" else match[0]
