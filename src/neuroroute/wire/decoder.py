"""What every decoder of an answer has in common: thinking split off, calls salvaged, what concerns the whole kept.

Each route of LM Studio has a decoder of its own (:mod:`neuroroute.wire.endpoints`); all give the same chunks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from neuroroute.responses import Folded, ServerCall, Stats, StreamingChunk, TokenUsage, ToolCallFragment
from neuroroute.wire.failures import UNDECODABLE, failure_in_success
from neuroroute.wire.reasoning import ThinkSplitter
from neuroroute.wire.salvage import CallSalvager, SalvagedCall
from neuroroute.wire.surrogates import HalfPairs
from neuroroute.wire.toolcalls import CallTracker

T = TypeVar("T")
Put = Callable[[StreamingChunk], None]

NO_ERROR = frozenset((b"null", b"false", b'""'))
"""What a field ``error`` may say when there is none."""

SHORT = 6
"""Characters of ``[DONE]``; nothing that short tells anything else."""


class Measured(msgspec.Struct, gc=False):
    """What a payload tells beside the answer. It is decoded apart: if it is odd, the answer is good all the same."""

    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    stats: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    timings: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Envelope(msgspec.Struct, gc=False):
    model: Any = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def model_of(data: bytes) -> str:
    """The model that a payload names; nothing where it names none."""
    try:
        model = _decode_envelope(data).model
    except UNDECODABLE:
        return ""
    return model if isinstance(model, str) else ""


class Decoder(ABC):
    """Decodes one answer, and keeps what concerns it as a whole."""

    __slots__ = (
        "_calls",
        "_found",
        "_halves",
        "_put",
        "_salvaged",
        "_salvager",
        "_sent",
        "_split_text",
        "_splitter",
        "_thought",
        "_whole",
        "before",
        "began",
        "ended",
        "finish_reason",
        "model",
        "stats",
        "usage",
    )

    response_id: str | None = None
    """Under which the server remembers the answer; most routes remember none."""
    server_calls: tuple[ServerCall, ...] = ()
    """Calls that the server itself ran."""
    splits_thinking: ClassVar[bool] = True
    """Whether a ``<think>`` block that the text begins with is reasoning."""

    def __init__(self, put: Put, tools: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Begins.

        Args:
            put: takes each chunk.
            tools: schemas of the tools whose calls are to be taken out of the text, by name.
        """
        self._put = put
        self.model = ""
        self.before = ""
        """Text of an answer that broke off, which this one continues."""
        self.finish_reason: str | None = None
        self.usage: TokenUsage | None = None
        self.stats = Stats()
        self.began = False
        """Something of the answer came: text, reasoning or a call."""
        self.ended = False
        """The end was told, or the answer was a whole one."""
        self._calls = CallTracker()
        self._splitter: ThinkSplitter | None = ThinkSplitter() if self.splits_thinking else None
        self._salvager = CallSalvager(tools) if tools else None
        self._found: list[SalvagedCall] = []
        """Calls in the text, kept until the end: the same ones may come as calls, too."""
        self._salvaged: set[int] = set()
        """Indices of those that did not."""
        self._thought = False
        """Reasoning came in the content."""
        self._sent: list[str] = []
        """The content as it was sent, while the splitter or the salvager looked at it ..."""
        self._split_text = 0
        """... and how many characters of the text came from that."""
        self._halves: HalfPairs | None = None
        self._whole = b""

    @property
    def salvaged(self) -> int:
        """How many calls came in the text alone."""
        return len(self._salvaged)

    @property
    def complete(self) -> bool:
        """An end was told; either sign of it is enough."""
        return self.ended or self.finish_reason is not None

    def events(self, events: list[bytes]) -> None:
        """Puts the chunks of these events of a stream; nothing after the end belongs to it.

        Raises:
            LMStudioError: an event tells of a failure or does not decode; the chunks before it were put.
        """
        for data in events:
            if self.ended:
                return
            if data == b"[DONE]":
                self.ended = True
            elif data:  # "data:" alone keeps a connection alive
                self._event(data)

    def whole(self, body: bytes) -> None:
        """Puts the one chunk of a whole answer.

        Raises:
            LMStudioError: the body is an error, or no answer at all.
        """
        self._whole_body(body)
        self.finish()
        self.ended = True

    @abstractmethod
    def _event(self, data: bytes) -> None:
        """Takes one event."""

    @abstractmethod
    def _whole_body(self, body: bytes) -> None:
        """Takes a whole answer, and keeps it for ``raw``."""

    @abstractmethod
    def raw(self, folded: Folded) -> msgspec.Raw:
        """The server's answer: a whole one byte for byte, a stream put into the same shape.

        Whoever reads it again looks at all of it, and we did not: what cannot be read is left out.
        """

    def finish(self) -> None:
        """Puts what was held back in case that it was a tag or a call."""
        reasoning, text = ("", "") if self._splitter is None else self._splitter.finish()
        if self._salvager is not None:
            text = self._taken_apart([*self._salvager.feed(text), *self._salvager.finish()])
        calls = self._new_calls()
        self._thought = self._thought or bool(reasoning)
        self._split_text += len(text)
        if reasoning or text or calls:
            self.began = True
            self._put(StreamingChunk(text, False, self.model, None, reasoning, calls))

    def _mended(self, decode: Callable[[bytes], T], data: bytes) -> tuple[T, bytes]:
        """An event that did not decode, with the halves of characters that it lacked.

        Raises:
            LMStudioError: it does not decode for another reason.
        """
        self._halves = self._halves or HalfPairs()
        data = self._halves.mend(data)
        try:
            return decode(data), data
        except UNDECODABLE as error:
            raise failure_in_success(data, why=str(error), began=self.began) from error

    def _decoded(self, decode: Callable[[bytes], T], data: bytes) -> tuple[T, bytes]:
        """An event or a body, mended where need be."""
        try:
            return decode(data), data
        except UNDECODABLE:
            return self._mended(decode, data)

    def _say(self, text: str, reasoning: str = "", calls: tuple[ToolCallFragment, ...] = ()) -> None:
        """Puts what came, once it is told apart what of the text is reasoning and what is a call."""
        if text and (self._splitter is not None or self._salvager is not None):
            thought, text = self._looked_at(text)
            reasoning += thought
        if text or reasoning or calls:
            self.began = True
            self._put(StreamingChunk(text, False, self.model, None, reasoning, calls))

    def _looked_at(self, content: str) -> tuple[str, str]:
        """Content as reasoning and text."""
        self._sent.append(content)
        reasoning, text = "", content
        if (splitter := self._splitter) is not None:
            reasoning, text = splitter.feed(content)
            self._thought = self._thought or bool(reasoning)
            if splitter.state == "text":  # from here on all content is text
                self._splitter = None
        if self._salvager is not None and text:
            text = self._taken_apart(self._salvager.feed(text))
        self._split_text += len(text)
        return reasoning, text

    def _taken_apart(self, found: list[str | SalvagedCall]) -> str:
        """The text among what was found; the calls are kept."""
        self._found += [one for one in found if not isinstance(one, str)]
        return "".join([one for one in found if isinstance(one, str)])

    def _new_calls(self) -> tuple[ToolCallFragment, ...]:
        """The calls in the text, without those that came as calls, too: each is to run once."""
        new = [one for one in self._found if not self._calls.has(one.name, one.arguments)]
        self._found.clear()
        calls = tuple([self._calls.whole(one.name, one.arguments) for one in new])
        self._salvaged |= {call.index for call in calls}
        return calls

    def _content(self, folded: Folded) -> str:
        """The content as it was sent, calls and thinking left in it."""
        return self.before + "".join(self._sent) + folded.text[len(self.before) + self._split_text :]

    def _sent_calls(self, folded: Folded) -> list[Any]:
        """The calls that came as calls."""
        return [call for at, call in enumerate(folded.tool_calls) if at not in self._salvaged]


def is_sound(data: bytes) -> bool:
    """Whether all of it decodes: fields that nobody asked for were passed over, whatever bytes they had."""
    try:
        msgspec.json.decode(data)
    except UNDECODABLE:
        return False
    return True
