"""Answers that are told as a list of items: thoughts, messages, calls (``/v1/responses``, ``/api/v1/chat``)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from neuroroute.jsontypes import is_mapping, is_number
from neuroroute.responses import Folded
from neuroroute.wire.decoder import Decoder, Put, is_sound


class ItemDecoder(Decoder):
    """Decodes one answer of several items. What a stream ends with is the whole answer, and so is ``raw``."""

    __slots__ = ("_apart", "_said", "response_id")

    def __init__(self, put: Put, tools: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__(put, tools)
        self.response_id = None
        self._said = False
        """Text came ..."""
        self._apart = False
        """... and what comes next belongs to another message."""

    def _next_message(self) -> None:
        """Another message begins: its text is put apart from that of the one before."""
        self._apart = self._said

    def _speak(self, text: str) -> None:
        """A piece of a message."""
        if not text:
            return
        if self._apart:
            text = "\n\n" + text
        self._said, self._apart = True, False
        self._say(text)

    def raw(self, folded: Folded) -> msgspec.Raw:
        """See :class:`~neuroroute.wire.decoder.Decoder`."""
        if self._whole and is_sound(self._whole):
            return msgspec.Raw(self._whole)
        return msgspec.Raw(msgspec.json.encode(self._told(folded)))

    @abstractmethod
    def _told(self, folded: Folded) -> dict[str, Any]:
        """As much of an answer that broke off as came, in the shape of a whole one."""


def as_text(value: Any) -> str:
    """What should be a text, if it is one."""
    return value if isinstance(value, str) else ""


def as_object(value: Any) -> Mapping[Any, Any]:
    """What should be an object, if it is one."""
    return value if is_mapping(value) else {}


def as_count(value: Any) -> int:
    """What should be a number of tokens; 0 where it is none."""
    return int(value) if is_number(value) and 0 <= value < 2**53 else 0
