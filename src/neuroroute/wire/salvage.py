"""Tool calls that a model left in the content as text, taken out as they stream by (LM Studio #821, #825, #2115)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from itertools import groupby
from typing import Any, TypeAlias

from neuroroute.jsontypes import is_text
from neuroroute.wire.callargs import SalvagedCall
from neuroroute.wire.callblocks import OPENERS, CallBlock

__all__ = ["CallSalvager", "SalvagedCall"]

Outcome: TypeAlias = str | SalvagedCall

_MOST_HELD = 256 * 1024
"""Characters after which a block that has not ended is text."""
_PIECE = 4096
"""Content is looked at in pieces of so many characters, so that what is put back is never long."""

_OPENING = re.compile("`++|" + "|".join(map(re.escape, OPENERS)))
_INLINE = re.compile("`++|\n")
_FENCED = re.compile("`++")


class CallSalvager:
    """Splits content into text and calls of offered tools, however it was cut.

    A block of calls is left as it is, byte for byte, if anything in it is out of place, if it is not ended, or if it
    calls no offered tool. Where some of its calls are to offered tools and some are not, those that are not stay as
    text, without the tags. At the end of the content, and before another block, a complete call needs no end tag.

    In Markdown code, a fence or a span between backticks, everything is text: there a model explains what calls look
    like. A span ends at the end of its line at the latest, so that a stray backtick hides no call.

    White space at the beginning, between calls and after the last one is left out, if there is a call: the text of an
    answer that only calls is empty. It is held back until something else comes.
    """

    __slots__ = (
        "_block",
        "_called",
        "_credit",
        "_held",
        "_out",
        "_plain",
        "_run",
        "_space",
        "_ticks",
        "_todo",
        "_tools",
    )

    def __init__(self, tools: Mapping[str, Mapping[str, Any]]) -> None:
        self._tools = tools
        self._todo = deque[str]()
        self._out: list[Outcome] = []
        self._block: CallBlock | None = None
        self._held = ""
        """The beginning of a tag, perhaps."""
        self._space: list[str] | None = []
        """White space held back, where it may be that before or after a call."""
        self._ticks = 0
        """How many backticks the code that we are in began with."""
        self._run = 0
        """How many backticks the content ends with so far."""
        self._plain = False
        """Nothing is held back and we are not in code."""
        self._called = False
        self._credit = _MOST_HELD
        """How many characters of blocks that came to nothing may still be looked through for others."""

    def feed(self, text: str) -> list[Outcome]:
        """What these characters prove to be, in order."""
        if self._plain and "<" not in text and "[" not in text and "`" not in text:
            return [text] if text else []
        self._todo.extend(text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
        self._work()
        return self._given()

    def finish(self) -> list[Outcome]:
        """What was held back when the content ended."""
        while (block := self._block) is not None:
            self._decide(block, is_one=bool(block.feed("")))
            self._work()
        self._say(self._held)
        self._held = ""
        if self._space and not self._called:
            self._out.extend(self._space)
        self._space = None
        return self._given()

    def _given(self) -> list[Outcome]:
        out, self._out = self._out, []
        self._plain = not (self._block or self._held or self._ticks or self._run) and self._space is None
        if len(out) < 2:
            return out
        merged: list[Outcome] = []
        for _, group in groupby(out, type):
            items = list(group)
            texts = [item for item in items if is_text(item)]
            merged.extend(["".join(texts)] if texts else items)
        return merged

    def _work(self) -> None:
        while self._todo:
            piece = self._todo.popleft()
            if self._block is None:
                self._look(piece)
            elif piece:
                self._continue(self._block, piece)

    def _say(self, text: str) -> None:
        if not text:
            return
        if self._space is not None:
            if text.isspace():
                self._space.append(text)
                return
            self._out.extend(self._space)
            self._space = None
        self._out.append(text)

    # --- text ---

    def _look(self, piece: str) -> None:
        """Looks for a block outside code."""
        text, at = self._held + piece, 0
        self._held = ""
        if self._run:  # backticks may go on where the last piece ended
            at = len(text) - len(text.lstrip("`"))
            self._run += at
            if at < len(text):
                self._tick()
        while match := self._next().search(text, at):
            at = match.end()
            if match[0] == "\n":
                self._ticks = 0
            elif match[0] in OPENERS:
                self._say(text[: match.start()])
                self._block = CallBlock(match[0], self._tools)
                self._todo.appendleft(text[at:])
                return
            else:
                self._run = at - match.start()
                if at < len(text):
                    self._tick()
        keep = len(text) if self._ticks or self._run else _undecided(text)
        self._say(text[:keep])
        self._held = text[keep:]

    def _next(self) -> re.Pattern[str]:
        if not self._ticks:
            return _OPENING
        return _INLINE if self._ticks < 3 else _FENCED

    def _tick(self) -> None:
        run, self._run = self._run, 0
        if not self._ticks:
            self._ticks = run
        elif run == self._ticks or 3 <= self._ticks <= run:
            self._ticks = 0

    # --- blocks ---

    def _continue(self, block: CallBlock, piece: str) -> None:
        room = _MOST_HELD - block.size
        if len(piece) > room:
            self._todo.appendleft(piece[room:])
        is_one = block.feed(piece[:room])
        if is_one is not None or block.size == _MOST_HELD:
            self._decide(block, is_one=bool(is_one))

    def _decide(self, block: CallBlock, *, is_one: bool) -> None:
        self._block = None
        if is_one:
            for item in block.items:
                if isinstance(item, SalvagedCall):
                    self._out.append(item)
                    self._space, self._called = [], True
                else:
                    self._say(item)
            self._todo.appendleft(block.rest)
            return
        opener, *pieces = block.raw
        unread = block.unread
        looked_through = block.size - len(unread)
        if looked_through <= self._credit:
            self._credit -= looked_through
            self._say(opener)
            self._todo.extendleft(reversed(pieces))
        else:
            self._say("".join(block.raw)[: len(opener) + looked_through])
            self._todo.appendleft(unread)


def _undecided(text: str) -> int:
    """Where a tag may have begun that is not all there; the end of the text, if nowhere."""
    at = max(text.rfind("[", -16), text.rfind("<", -16))
    return at if at >= 0 and any(tag.startswith(text[at:]) for tag in OPENERS) else len(text)
