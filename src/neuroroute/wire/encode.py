"""The body of a request to ``/v1/chat/completions``. A turn is encoded once and kept with its message."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, cast

import msgspec

from neuroroute.jsontypes import is_mapping
from neuroroute.messages import AnyMessage
from neuroroute.requests import ChatRequest


def _base(value: Any) -> Any:
    """What JSON has for a value of which msgspec knows only the base: of a str, float (NumPy's), int or mapping."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (float, int)):
        return float(value) if isinstance(value, float) else int(value)
    if is_mapping(value):
        return dict(value)
    raise NotImplementedError  # msgspec then names the type


encode = msgspec.json.Encoder(enc_hook=_base).encode

SAMPLING = (
    "max_tokens",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "seed",
    "top_k",
    "min_p",
    "repeat_penalty",
    "logit_bias",
    "ttl",
    "draft_model",
)
"""Options that are fields of the same name, here and in ``/v1/completions``."""

EFFORT = {"off": "none", "on": "medium", "low": "low", "medium": "medium", "high": "high"}
"""``/v1/chat/completions`` has no "on"; any effort turns reasoning on (LM Studio's staff in #2057)."""


def encode_turn(message: AnyMessage) -> bytes:
    """A message as it is sent."""
    kept = cast("dict[str, bytes]", message.__dict__)  # the struct is frozen, its __dict__ is not
    turn = kept.get("turn")
    if turn is None:
        turn = kept["turn"] = encode(message)
    return turn


def chat_body(request: ChatRequest) -> bytes:
    """The body; messages that were sent before are not encoded again."""
    messages, options, offer = request.messages, request.options, request.offer
    fields = {name: value for name in SAMPLING if (value := options[name]) is not None}
    if (reasoning := options["reasoning"]) is not None:
        fields["reasoning_effort"] = EFFORT[reasoning]
    if (shape := options["response_format"]) is not None and shape.wire is not None:
        fields["response_format"] = shape.wire
    if offer is not None:
        fields["tools"] = msgspec.Raw(offer.tools.wire)
        fields["tool_choice"] = offer.choice
    fields["stream"] = request.streaming
    if request.streaming:
        fields["stream_options"] = {"include_usage": True}
    if extra := options["extra"]:
        fields |= extra
    try:
        turns: list[bytes] = list(map(_kept_turn, messages))
    except AttributeError:  # one of them was never sent
        turns = list(map(encode_turn, messages))
    # One join, so that a long history is copied once.
    turns[0] = b'{"model":%b,"messages":[%b' % (encode(request.model), turns[0])
    turns[-1] = b"%b],%b" % (turns[-1], encode(fields)[1:])
    return b",".join(turns)


_kept_turn = attrgetter("turn")
