"""``/v1/completions``: the prompt as it is, without a chat template, and the text that follows it."""

from __future__ import annotations

from typing import Any

import msgspec

from neuroroute.requests import ChatRequest
from neuroroute.responses import Folded
from neuroroute.wire.decoder import NO_ERROR, Decoder, Measured, Put, decode_fields, is_sound, model_of
from neuroroute.wire.encode import SAMPLING, encode
from neuroroute.wire.failures import failure_in_success
from neuroroute.wire.measures import stats_of, timings_of, usage_of


def completion_body(request: ChatRequest) -> bytes:
    """The body."""
    options = request.options
    fields: dict[str, Any] = {"model": request.model, "prompt": request.messages[0].text}
    fields |= {name: value for name in SAMPLING if (value := options[name]) is not None}
    fields["stream"] = request.streaming
    if request.streaming:
        fields["stream_options"] = {"include_usage": True}
    return encode(fields | dict(options["extra"] or {}))


class _Choice(msgspec.Struct, gc=False):
    text: str | None = None
    finish_reason: str | None = None


class _Payload(Measured, gc=False):
    """An event or a whole answer."""

    choices: list[_Choice] | None = None


_decode = msgspec.json.Decoder(_Payload).decode


class CompletionDecoder(Decoder):
    """Decodes one text. A ``<think>`` in it is part of the text: the prompt may have begun it."""

    __slots__ = ("_kept",)
    splits_thinking = False

    def __init__(self, put: Put) -> None:
        super().__init__(put)
        self._kept: list[bytes] = []
        """Events that tell of the answer as a whole: the first, and those with a finish reason or measures."""

    def _event(self, data: bytes) -> None:
        payload, data = self._decoded(_decode, data)
        if self._take(payload, data):
            self._kept.append(data)

    def _whole_body(self, body: bytes) -> None:
        payload, body = self._decoded(_decode, body)
        self._take(payload, body)
        self._whole = body

    def _take(self, payload: _Payload, data: bytes) -> bool:
        """Whether it tells of the answer as a whole."""
        if payload.choices is None or (payload.error is not msgspec.UNSET and bytes(payload.error) not in NO_ERROR):
            raise failure_in_success(data, began=self.began)
        tells = not self._kept
        if tells:
            self.model = model_of(data)
        if payload.choices:
            choice = payload.choices[0]
            self._say(choice.text or "")
            if choice.finish_reason:
                self.finish_reason, tells = choice.finish_reason, True
        if (
            payload.usage is not msgspec.UNSET
            or payload.timings is not msgspec.UNSET
            or payload.stats is not msgspec.UNSET
        ):
            self.usage = usage_of(payload.usage) or self.usage
            self.stats = timings_of(payload.timings) or stats_of(payload.stats) or self.stats
            tells = True
        return tells

    def raw(self, folded: Folded) -> msgspec.Raw:
        """See :class:`~neuroroute.wire.decoder.Decoder`."""
        if self._whole and is_sound(self._whole):
            return msgspec.Raw(self._whole)
        answer: dict[str, Any] = {}
        for event in filter(is_sound, self._kept):
            answer.update(decode_fields(event))
        choice = {"index": 0, "text": folded.text, "logprobs": None, "finish_reason": self.finish_reason}
        return msgspec.Raw(msgspec.json.encode({**answer, "object": "text_completion", "choices": [choice]}))
