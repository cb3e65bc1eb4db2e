"""What a server answered, as chunks: a whole answer is one, an event of a stream is one or none.

Made for LM Studio's ``/v1/chat/completions`` and tolerant of what has been seen from it and from llama.cpp.
Source: https://lmstudio.ai/docs/developer/openai-compat/chat-completions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from neuroroute.responses import Folded, Stats, StreamingChunk, TokenUsage, ToolCallFragment
from neuroroute.wire.failures import UNDECODABLE, failure_in_success
from neuroroute.wire.measures import stats_of, timings_of, usage_of
from neuroroute.wire.reasoning import ThinkSplitter
from neuroroute.wire.salvage import CallSalvager, SalvagedCall
from neuroroute.wire.surrogates import HalfPairs
from neuroroute.wire.toolcalls import CallTracker, WireCall


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[WireCall] | None = None
    role: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None
    message: _Delta | None = None


class _Payload(msgspec.Struct, gc=False):
    """An event or a whole answer. Fields that only ``raw`` shows are not decoded here.

    What is told beside the answer is decoded apart: if it is odd, the answer is good all the same.
    """

    choices: list[_Choice] | None = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    stats: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    timings: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Envelope(msgspec.Struct, gc=False):
    model: Any = None


_decode_payload = msgspec.json.Decoder(_Payload).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


_UNSET = msgspec.UNSET
_NO_ERROR = frozenset((b"null", b"false", b'""'))
_SHORT = 6
"""Characters of ``[DONE]``; nothing that short tells anything else."""


class AnswerDecoder:
    """Decodes one answer, and keeps what concerns it as a whole."""

    __slots__ = (
        "_calls",
        "_finishing",
        "_first",
        "_found",
        "_halves",
        "_measuring",
        "_put",
        "_reasoning_key",
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

    def __init__(
        self, put: Callable[[StreamingChunk], None], tools: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
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
        """``[DONE]`` came, or the answer was a whole one."""
        self._calls = CallTracker()
        self._splitter: ThinkSplitter | None = ThinkSplitter()
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
        self._reasoning_key = "reasoning_content"
        self._halves: HalfPairs | None = None
        self._first = b""
        self._finishing = b""
        self._measuring = b""
        self._whole = b""

    @property
    def salvaged(self) -> int:
        """How many calls came in the text alone."""
        return len(self._salvaged)

    @property
    def complete(self) -> bool:
        """An end was told; either sign of it is enough."""
        return self.ended or self.finish_reason is not None

    def events(self, events: list[bytes]) -> None:  # noqa: C901 - the hottest loop there is; calls would cost a third
        """Puts the chunks of these events of a stream; nothing after ``[DONE]`` belongs to it.

        Raises:
            LMStudioError: an event tells of a failure or does not decode; the chunks before it were put.
        """
        put, model = self._put, self.model
        if self.ended:
            return
        for data in events:
            if len(data) <= _SHORT:
                if data == b"[DONE]":
                    self.ended = True
                    break
                if not data:  # "data:" alone keeps a connection alive
                    continue
            try:
                payload = _decode_payload(data)
            except UNDECODABLE:
                payload, data = self._mended(data)
            if not self._first:
                model = self._begin(data)
            # Most events are text, or a piece of a call, and nothing else: theirs is the shortest way.
            if (
                payload.choices
                and payload.error is _UNSET
                and (delta := (choice := payload.choices[0]).delta) is not None
            ):
                content, calls = delta.content, delta.tool_calls
                if not (delta.reasoning_content or delta.reasoning or choice.finish_reason or (content and calls)):
                    if content and self._splitter is None and self._salvager is None:
                        put(StreamingChunk(content, False, model))
                        continue
                    if calls and not content:
                        self.began = True
                        put(StreamingChunk("", False, model, None, "", self._calls.fragments(calls)))
                        continue
            self._payload(payload, data)

    def whole(self, body: bytes) -> None:
        """Puts the one chunk of a whole answer.

        Raises:
            LMStudioError: the body is an error, or no answer at all.
        """
        try:
            payload = _decode_payload(body)
        except UNDECODABLE:
            payload, body = self._mended(body)
        self._begin(body)
        self._payload(payload, body)
        self.finish()
        self._whole = body
        self.ended = True

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

    def _begin(self, data: bytes) -> str:
        self._first = data
        try:
            model = _decode_envelope(data).model
        except UNDECODABLE:
            model = ""
        self.model = model if isinstance(model, str) else ""
        return self.model

    def _mended(self, data: bytes) -> tuple[_Payload, bytes]:
        """An event that did not decode, with the halves of characters that it lacked.

        Raises:
            LMStudioError: it does not decode for another reason.
        """
        self._halves = self._halves or HalfPairs()
        data = self._halves.mend(data)
        try:
            return _decode_payload(data), data
        except UNDECODABLE as error:
            raise failure_in_success(data, why=str(error), began=self.began) from error

    def _payload(self, payload: _Payload, data: bytes) -> None:
        choices = payload.choices
        if choices is None or (payload.error is not _UNSET and bytes(payload.error) not in _NO_ERROR):
            raise failure_in_success(data, began=self.began)
        if choices:
            choice = choices[0]
            delta = choice.delta or choice.message
            if delta is not None:
                self._delta(delta, is_whole=choice.delta is None)
            if choice.finish_reason:
                self.finish_reason = choice.finish_reason
                self._finishing = data
        if payload.usage is not _UNSET or payload.timings is not _UNSET or payload.stats is not _UNSET:
            self.usage = usage_of(payload.usage) or self.usage
            self.stats = timings_of(payload.timings) or stats_of(payload.stats) or self.stats
            self._measuring = data

    def _delta(self, delta: _Delta, *, is_whole: bool) -> None:
        reasoning = delta.reasoning_content or ""
        if delta.reasoning and delta.reasoning != reasoning:  # the same twice is meant for readers of either field
            self._reasoning_key = "reasoning"
            reasoning += delta.reasoning
        text = delta.content or ""
        take = self._calls.complete if is_whole else self._calls.fragments
        fragments = take(delta.tool_calls) if delta.tool_calls else ()
        if text and (self._splitter is not None or self._salvager is not None):
            thought, text = self._looked_at(text)
            reasoning += thought
        if text or reasoning or fragments:
            self.began = True
            self._put(StreamingChunk(text, False, self.model, None, reasoning, fragments))

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

    def raw(self, folded: Folded) -> msgspec.Raw:
        """The server's answer: a whole one byte for byte, a stream put into the same shape.

        Whoever reads it again looks at all of it, and we did not: what cannot be read is left out.
        """
        if self._whole and _is_sound(self._whole):
            return msgspec.Raw(self._whole)
        answer: dict[str, Any] = {"stats": {}}
        for event in (self._first, self._finishing, self._measuring):
            if event and _is_sound(event):
                answer.update(_decode_fields(event))
        sent = "".join(self._sent)
        calls = [call for at, call in enumerate(folded.tool_calls) if at not in self._salvaged]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.before + sent + folded.text[len(self.before) + self._split_text :],
            "reasoning_content": "",
            self._reasoning_key: "" if self._thought else folded.reasoning,
            "tool_calls": calls,
        }
        choice = {"index": 0, "logprobs": None, "finish_reason": self.finish_reason, "message": message}
        return msgspec.Raw(_encode({**answer, "object": "chat.completion", "choices": [choice]}))


def _is_sound(data: bytes) -> bool:
    """Whether all of it decodes: fields that nobody asked for were passed over, whatever bytes they had."""
    try:
        msgspec.json.decode(data)
    except UNDECODABLE:
        return False
    return True
