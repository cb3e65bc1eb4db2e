"""What a server answered, as chunks: a whole answer is one, an event of a stream is one or none.

Made for LM Studio's ``/v1/chat/completions`` and tolerant of what has been seen from it and from llama.cpp.
Source: https://lmstudio.ai/docs/developer/openai-compat/chat-completions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from neuroroute.responses import Folded, StreamingChunk
from neuroroute.wire.decoder import NO_ERROR, SHORT, Decoder, Measured, Put, decode_fields, is_sound, model_of
from neuroroute.wire.failures import UNDECODABLE, failure_in_success
from neuroroute.wire.measures import stats_of, timings_of, usage_of
from neuroroute.wire.toolcalls import WireCall


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


class _Payload(Measured, gc=False):
    """An event or a whole answer. Fields that only ``raw`` shows are not decoded here."""

    choices: list[_Choice] | None = None


_decode_payload = msgspec.json.Decoder(_Payload).decode
_encode = msgspec.json.Encoder().encode


_UNSET = msgspec.UNSET


class AnswerDecoder(Decoder):
    """Decodes one answer of a chat."""

    __slots__ = ("_finishing", "_first", "_measuring", "_reasoning_key")

    def __init__(self, put: Put, tools: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__(put, tools)
        self._reasoning_key = "reasoning_content"
        self._first = b""
        self._finishing = b""
        self._measuring = b""

    def events(self, events: list[bytes]) -> None:  # noqa: C901 - the hottest loop there is; calls would cost a third
        """Puts the chunks of these events of a stream; nothing after ``[DONE]`` belongs to it.

        Raises:
            LMStudioError: an event tells of a failure or does not decode; the chunks before it were put.
        """
        put, model = self._put, self.model
        if self.ended:
            return
        for data in events:
            if len(data) <= SHORT:
                if data == b"[DONE]":
                    self.ended = True
                    break
                if not data:  # "data:" alone keeps a connection alive
                    continue
            try:
                payload = _decode_payload(data)
            except UNDECODABLE:
                payload, data = self._mended(_decode_payload, data)
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

    def _event(self, data: bytes) -> None:
        self.events([data])

    def _whole_body(self, body: bytes) -> None:
        payload, body = self._decoded(_decode_payload, body)
        self._begin(body)
        self._payload(payload, body)
        self._whole = body

    def _begin(self, data: bytes) -> str:
        self._first = data
        self.model = model_of(data)
        return self.model

    def _payload(self, payload: _Payload, data: bytes) -> None:
        choices = payload.choices
        if choices is None or (payload.error is not _UNSET and bytes(payload.error) not in NO_ERROR):
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

    def raw(self, folded: Folded) -> msgspec.Raw:
        """See :class:`~neuroroute.wire.decoder.Decoder`."""
        if self._whole and is_sound(self._whole):
            return msgspec.Raw(self._whole)
        answer: dict[str, Any] = {"stats": {}}
        for event in (self._first, self._finishing, self._measuring):
            if event and is_sound(event):
                answer.update(decode_fields(event))
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self._content(folded),
            "reasoning_content": "",
            self._reasoning_key: "" if self._thought else folded.reasoning,
            "tool_calls": self._sent_calls(folded),
        }
        choice = {"index": 0, "logprobs": None, "finish_reason": self.finish_reason, "message": message}
        return msgspec.Raw(_encode({**answer, "object": "chat.completion", "choices": [choice]}))
