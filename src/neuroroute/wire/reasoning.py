"""Reasoning that a server leaves in the content, between ``<think>`` and ``</think>``, taken out as it streams by."""

from __future__ import annotations

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Splits content into reasoning and text, however it was cut.

    Only a block that the content begins with is reasoning: later tags are what the answer talks about. Text is held
    back no longer than it may be part of a tag.

    ::

        start ──"<think>"──► thinking ──"</think>"──► after ──anything but space──► text
          └─────────────────anything else───────────────────────────────────────────▲
    """

    __slots__ = ("_held", "state")

    def __init__(self) -> None:
        self.state = "start"
        self._held = ""

    def feed(self, content: str) -> tuple[str, str]:
        """What these characters prove to be: (reasoning, text)."""
        held = self._held + content
        self._held = ""
        if self.state == "start":
            begin = held.lstrip()
            if not begin.startswith(_OPEN):
                if _OPEN.startswith(begin):
                    self._held = held
                    return "", ""
                self.state = "text"
                return "", held
            self.state = "thinking"
            held = begin[len(_OPEN) :]
        if self.state == "thinking":
            return self._think(held)
        if self.state == "after":
            return "", self._after(held)
        return "", held

    def finish(self) -> tuple[str, str]:
        """What was held back when the content ended."""
        held, self._held = self._held, ""
        return (held, "") if self.state == "thinking" else ("", held)

    def _think(self, held: str) -> tuple[str, str]:
        reasoning, found, rest = held.partition(_CLOSE)
        if found:
            self.state = "after"
            return reasoning, self._after(rest)
        keep = next((n for n in range(len(_CLOSE) - 1, 0, -1) if held.endswith(_CLOSE[:n])), 0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], ""

    def _after(self, rest: str) -> str:
        text = rest.lstrip()
        if text:
            self.state = "text"
        return text
