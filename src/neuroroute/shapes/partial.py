"""The value of a JSON text that is still being written."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

_SPACE = re.compile(r"[ \t\n\r]*+")
_FENCE = re.compile(r"```(?:json)?[ \t]*\r?\n", re.IGNORECASE)
_SCALAR = re.compile(r"[-+.0-9A-Za-z]*+")
_IN_STRING = re.compile(r'[^"\\]*+(?:\\(?:u[0-9a-fA-F]{4}|[^u])[^"\\]*+)*+', re.DOTALL)
_HIGH_SURROGATE = re.compile(r"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})\Z")
_LITERALS = ("true", "false", "null")
_MAX_DEPTH = 200
_LONGEST_NUMBER = 5000  # Python itself refuses integers of more than 4300 digits


class PartialJSON:
    """Reads JSON text piece by piece; ``value`` is what it amounts to so far.

    Members are there when they are complete, and the string that is being written as far as it has come; a number that
    may still grow is left out. The text may stand in a Markdown fence, as an answer may. Nothing raises: from the first
    character that JSON does not allow (or below a depth of 200) the value stays as it is, and ``broken`` is true.

    All pieces together cost time in proportion to their length, and a look at ``value`` in proportion to the string
    that is being written. ``value`` is one object that grows: copy it to keep a state of it.

    ::

        start ──► value ──scalar──► close ──","──► key (in an object), value (in an array)
                    │ │               │
                    │ └─'"'─► string ─┤ ◄──"]" "}"
                    │                 └──nothing open──► end
                    ├─"["─► first value, or "]"
                    └─"{"─► first key, or "}" ──► key string ──":"──► value
    """

    __slots__ = ("_fenced", "_held", "_key", "_pieces", "_root", "_stack", "_state", "broken")

    def __init__(self) -> None:
        self.broken = False
        self._state = "start"
        self._held = ""
        self._fenced = False
        self._root: Any = None
        self._stack: list[dict[str, Any] | list[Any]] = []
        self._key = ""
        self._pieces: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether the value has ended; nothing that comes changes it then."""
        return self._state == "end"

    @property
    def value(self) -> Any:
        """The value so far; None when there is none yet (or it is JSON's null, see ``complete``)."""
        if self._state == "string":
            self._replace(self._joined())
        return self._root

    def feed(self, text: str) -> None:
        """Reads on."""
        if self.broken:
            return
        held = self._held + text
        at, before = 0, -1
        try:
            while before < at < len(held):
                before = at
                at = self._step(held, at)
            self._held = held[at:]
        except ValueError:
            self.broken = True
            self._held = ""

    def finish(self) -> Any:
        """The text has ended: a number that stands alone is complete now. Returns the value."""
        if self._state == "value" and not self._stack:
            self.feed(" ")
        return self.value

    # Each step returns where it stopped; the place where it began, if it needs more text to go on.

    def _step(self, held: str, at: int) -> int:
        if self._state in ("string", "key string"):
            return self._string(held, at)
        at = cast("re.Match[str]", _SPACE.match(held, at)).end()
        if at == len(held):
            return at
        char = held[at]
        if self._state == "end":
            if not (self._fenced and char == "`"):
                raise ValueError
            return at + 1
        if self._state == "start":
            self._state = "value"
            if char == "`":
                return self._fence(held, at)
        if self._state in ("value", "first value"):
            return self._value(held, at, char)
        self._structure(char)
        return at + 1

    def _fence(self, held: str, at: int) -> int:
        found = _FENCE.match(held, at)
        if found:
            self._fenced = True
            return found.end()
        if "\n" in held[at:] or len(held) - at > 100:
            raise ValueError
        self._state = "start"
        return at

    def _value(self, held: str, at: int, char: str) -> int:
        if char == "]" and self._state == "first value":
            self._close(char)
        elif char == '"':
            self._put("")
            self._state = "string"
        elif char in "[{":
            if len(self._stack) == _MAX_DEPTH:
                raise ValueError
            opened: dict[str, Any] | list[Any] = [] if char == "[" else {}
            self._put(opened)
            self._stack.append(opened)
            self._state = "first value" if char == "[" else "first key"
        else:
            return self._scalar(held, at)
        return at + 1

    def _structure(self, char: str) -> None:
        """What stands between values."""
        if char == '"' and self._state in ("first key", "key"):
            self._state = "key string"
        elif char == ":" and self._state == "colon":
            self._state = "value"
        elif char == "," and self._state == "close":
            self._state = "value" if isinstance(self._stack[-1], list) else "key"
        elif char in "]}" and self._state in ("first key", "close"):
            self._close(char)
        else:
            raise ValueError

    def _scalar(self, held: str, at: int) -> int:
        end = cast("re.Match[str]", _SCALAR.match(held, at)).end()
        word = held[at:end]
        if end == len(held) and word not in _LITERALS:
            if not word or end - at > _LONGEST_NUMBER:
                raise ValueError
            return at
        self._put(msgspec.json.decode(word))
        self._ended()
        return end

    def _string(self, held: str, at: int) -> int:
        end = cast("re.Match[str]", _IN_STRING.match(held, at)).end()
        ended = held.startswith('"', end)
        piece = held[at:end]
        if not ended:
            if len(held) - end >= len("\\u0000"):
                raise ValueError
            if half := _HIGH_SURROGATE.search(piece):  # its other half is still to come
                piece = piece[: half.start(1)]
                end = at + len(piece)
        if piece:
            # msgspec reads the escapes, and is as strict here as with the whole answer.
            self._pieces.append(msgspec.json.decode(f'"{piece}"', type=str))
        if not ended:
            return end
        text = self._joined()
        self._pieces = []
        if self._state == "string":
            self._replace(text)
            self._ended()
        else:
            self._key = text
            self._state = "colon"
        return end + 1

    def _close(self, char: str) -> None:
        if isinstance(self._stack.pop(), list) != (char == "]"):
            raise ValueError
        self._ended()

    def _ended(self) -> None:
        self._state = "close" if self._stack else "end"

    def _joined(self) -> str:
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def _put(self, value: Any) -> None:
        if self._stack and isinstance(parent := self._stack[-1], list):
            parent.append(value)
        else:
            self._replace(value)

    def _replace(self, value: Any) -> None:
        """Puts the value in the place of the one that was put last."""
        if not self._stack:
            self._root = value
            return
        parent = self._stack[-1]
        if isinstance(parent, list):
            parent[-1] = value
        else:
            parent[self._key] = value
