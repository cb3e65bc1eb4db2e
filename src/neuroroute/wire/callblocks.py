"""A block of tool calls as models write them into the content, read as it comes.

Three forms are known::

    [TOOL_REQUEST]{"name": ..., "arguments": ...}[END_TOOL_REQUEST]
    <tool_call>{"name": ..., "arguments": ...}</tool_call>
    <tool_call><function=NAME><parameter=P>...</parameter></function></tool_call>

White space may stand between all parts, and several calls in one block. The third form (Qwen3-Coder's) also comes
without its ``<tool_call>``, with or without the end tag.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Any, TypeAlias, TypeVar

from neuroroute.wire.callargs import SalvagedCall, typed_arguments, written_call
from neuroroute.wire.repair import JsonWriter, repaired_json

_FUNCTION = "<function="
OPENERS = {
    "[TOOL_REQUEST]": ("{", "[END_TOOL_REQUEST]"),
    "<tool_call>": ("{", _FUNCTION, "</tool_call>"),
    _FUNCTION: (_FUNCTION, "</tool_call>"),
}
"""What opens a block, and what may begin a call in it; the last ends the block."""


_T = TypeVar("_T")
_Steps: TypeAlias = Generator[None, str, _T]
"""Yields when it needs more of the content, and is sent it; an empty text means that there is no more."""

_SPACE = re.compile(r"\s*+")
_SCALAR = re.compile(r"""[^\s"'{}\[\]:,<]*+""")
_KEY = re.compile(r"[^<>\n]*+")
_IN_STRING = {
    '"': re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL),
    "'": re.compile(r"[^'\\]*+(?:\\.[^'\\]*+)*+", re.DOTALL),
}


class CallBlock:
    """Reads one block from behind its opening tag, and ends as soon as it is known whether it is one.

    JSON is followed token by token, so that an end tag inside a string ends nothing, and what cannot become JSON is
    known at once.
    """

    __slots__ = ("_at", "_cut", "_opener", "_over", "_steps", "_text", "_tools", "items", "raw", "rest", "size")

    def __init__(self, opener: str, tools: Mapping[str, Mapping[str, Any]]) -> None:
        self._opener = opener
        self._tools = tools
        self._text = ""
        self._at = 0
        self._over = False
        self._cut = False
        """The last object lacks closing brackets, so that nothing but the end tag may follow."""
        self.items: list[str | SalvagedCall] = []
        """The calls, and as text those that are to tools that were not offered."""
        self.raw = [opener]
        """All of the content since the block began, in pieces."""
        self.rest = ""
        """What came after the block, where it is one."""
        self.size = 0
        """Characters in ``raw``, the opening tag not counted."""
        self._steps = self._read()
        next(self._steps)

    @property
    def unread(self) -> str:
        """What was not looked at yet."""
        return self._text[self._at :]

    def feed(self, piece: str) -> bool | None:
        """Reads on.

        Args:
            piece: of the content; an empty one is its end, after which the answer is not None.

        Returns:
            Whether this is a block of calls, or None if that is not decided yet.
        """
        self.raw.append(piece)
        self.size += len(piece)
        try:
            self._steps.send(piece)
        except StopIteration as stop:
            return bool(stop.value)
        return None

    # --- the grammar ---

    def _read(self) -> _Steps[bool]:
        yield from self._more()
        *beginnings, end = OPENERS[self._opener]
        bare = self._opener == _FUNCTION
        tag, space = (_FUNCTION, "") if bare else (yield from self._tag())
        while tag in beginnings:
            read = self._object() if tag == "{" else self._function()
            if not (yield from read):
                return False
            tag, space = yield from self._tag("}" if tag == "{" else "")
            if tag == "}":  # one too many
                tag, space = yield from self._tag()
            if self._cut and tag != end:
                return False
            if bare:  # another one is a block of its own
                break
        return self._ends(tag, space, end) and any(isinstance(item, SalvagedCall) for item in self.items)

    def _ends(self, tag: str, space: str, end: str) -> bool:
        """Whether a block may end here; without an end tag, if another begins, or the content ends."""
        if tag and tag != end:
            self._at -= len(tag)
        self.rest = self.unread if tag == end else space + self.unread
        if self._over and end.startswith(self.unread):
            self.rest = ""
        return bool(tag) or self._over or self._opener == _FUNCTION

    def _tag(self, extra: str = "") -> _Steps[tuple[str, str]]:
        """The next tag, or the beginning of a call, and the white space before it."""
        space = yield from self._run(_SPACE)
        tag = yield from self._one_of([*OPENERS[self._opener], *OPENERS, *filter(None, [extra])])
        return tag, space

    def _object(self) -> _Steps[bool]:
        writer, parts = JsonWriter(), ["{"]
        writer.take("mark", "{")
        while not writer.complete:
            parts.append((yield from self._run(_SPACE)))
            char = yield from self._peek()
            if char and char in "\"'":
                token, kind = (yield from self._string(char)), "string"
            elif char and char in "{}[]:,":
                token, kind = char, "mark"
                self._at += 1
            else:
                token = yield from self._run(_SCALAR)
                kind = "number" if token[:1] in "-0123456789" else "word"
            if self._over:
                return False
            if not token or not writer.take(kind, token):
                # "<" or "[": an end tag, perhaps, with brackets missing before it
                self._cut = char in ("<", "[")
                self._at -= char == "["
                break
            parts.append(token)
        text = "".join(parts)
        sound = repaired_json(text) if writer.complete or self._cut else None
        if sound is not None:
            self.items.append(written_call(sound, self._tools) or text)
        return sound is not None

    def _function(self) -> _Steps[bool]:
        closed = yield from self._one_of([f"{name}>" for name in self._tools])
        name, values = closed[:-1], dict[str, str]()
        ends = ["</function>", "</tool_call>"] if self._opener == "<tool_call>" else ["</function>"]
        while closed:
            yield from self._run(_SPACE)
            tag = yield from self._one_of(["<parameter=", *ends])
            if tag in ends:
                if tag == "</tool_call>":
                    self._at -= len(tag)
                arguments = typed_arguments(values, self._tools[name])
                if arguments is not None:
                    self.items.append(SalvagedCall(name, arguments))
                return arguments is not None
            key = (yield from self._run(_KEY)) if tag else ""
            if not key or key in values or not (yield from self._one_of([">"])):
                break
            value = yield from self._until("</parameter>")
            if value is None:
                break
            values[key] = value
        return False

    # --- what it is made of ---

    def _more(self) -> _Steps[bool]:
        """Whether there is more of the content; what was not looked at stays."""
        if not self._over:
            piece = yield
            self._over = not piece
            self._text, self._at = self._text[self._at :] + piece, 0
        return not self._over

    def _peek(self) -> _Steps[str]:
        while self._at == len(self._text) and (yield from self._more()):
            pass
        return self._text[self._at : self._at + 1]

    def _run(self, pattern: re.Pattern[str]) -> _Steps[str]:
        """As much as matches."""
        parts: list[str] = []
        while match := pattern.match(self._text, self._at):
            parts.append(match[0])
            self._at = match.end()
            if self._at < len(self._text) or not (yield from self._more()):
                break
        return "".join(parts)

    def _one_of(self, texts: list[str]) -> _Steps[str]:
        """Which of these comes next; an empty text if none does."""
        while True:
            found = next((text for text in texts if self._text.startswith(text, self._at)), "")
            if found:
                self._at += len(found)
                return found
            rest = self._text[self._at : self._at + 1000]
            if not any(text.startswith(rest) for text in texts) or not (yield from self._more()):
                return ""

    def _until(self, tag: str) -> _Steps[str | None]:
        """What comes before the tag, which is read, too; None if it does not come."""
        parts: list[str] = []
        while (end := self._text.find(tag, self._at)) < 0:
            keep = max(self._at, len(self._text) - len(tag) + 1)
            parts.append(self._text[self._at : keep])
            self._at = keep
            if not (yield from self._more()):
                return None
        parts.append(self._text[self._at : end])
        self._at = end + len(tag)
        return "".join(parts)

    def _string(self, quote: str) -> _Steps[str]:
        """A string with its quotes."""
        parts = [quote]
        self._at += 1
        while True:
            parts.append((yield from self._run(_IN_STRING[quote])))
            char = yield from self._peek()
            self._at += 1
            parts.append(char)
            if char == quote or not char:
                return "".join(parts)
            # a backslash at the end of a piece
            parts.append((yield from self._peek()))
            self._at += 1
