"""Characters beyond U+FFFF that a stream cut in two: each half in an event of its own, which alone is no Unicode.

JSON writes them as a pair of escapes, and a server written in JavaScript may cut a text between the two.
"""

from __future__ import annotations

import re

_LONE = re.compile(
    rb"\\u(d[89ab][0-9a-f]{2})(?!\\ud[c-f])|(?<!\\)(?<!\\ud[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE
)
_UNKNOWN = rb"\ufffd"


class HalfPairs:
    """Puts the halves together; asked only for events that did not decode."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first = b""

    def mend(self, event: bytes) -> bytes:
        """The event with a half that was missing, without one that is still to come; other halves become U+FFFD."""

        def put(found: re.Match[bytes]) -> bytes:
            if found[1]:
                self._first = found[1]
                return b""
            first, self._first = self._first, b""
            return rb"\u%b\u%b" % (first, found[2]) if first else _UNKNOWN

        return _LONE.sub(put, event)
