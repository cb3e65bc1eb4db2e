"""The body of a request, as bytes. A turn is encoded once and kept with its message."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, cast

import msgspec

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_mapping
from neuroroute.messages import AnyMessage, MessageReader, message_from
from neuroroute.requests import ChatRequest, history, with_system
from neuroroute.responses import Note
from neuroroute.tools.offer import Offer, offered
from neuroroute.wire.adapt import adapted


def _base(value: Any) -> Any:
    """What JSON has for a value of which msgspec knows only the base: of a str, float (NumPy's), int or mapping."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (float, int)):
        return float(value) if isinstance(value, float) else int(value)
    if is_mapping(value):
        return dict(value)
    raise NotImplementedError  # msgspec then names the type


_encode = msgspec.json.Encoder(enc_hook=_base).encode

_SENT_AS_THEY_ARE = (
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

_EFFORT = {"off": "none", "on": "medium", "low": "low", "medium": "medium", "high": "high"}
"""``/v1/chat/completions`` has no "on"; any effort turns reasoning on (LM Studio's staff in #2057)."""


def encode_turn(message: AnyMessage) -> bytes:
    """A message as it is sent."""
    kept = cast("dict[str, bytes]", message.__dict__)  # the struct is frozen, its __dict__ is not
    turn = kept.get("turn")
    if turn is None:
        turn = kept["turn"] = _encode(message)
    return turn


def chat_request(
    model: str,
    prompt: str,
    options: dict[str, Any],
    reader: MessageReader,
    *,
    streaming: bool,
    max_bytes: int,
) -> ChatRequest:
    """A request, with its body for ``/v1/chat/completions``.

    Raises:
        ModelInvalidRequestError: a message is wrong, nothing is to be sent, a text is not Unicode (a lone surrogate),
            the body is over the limit, or a call and an answer of a type were both asked for.
    """
    offer = offered(options)
    messages, notes = adapted(history(prompt, options, reader), merge_roles=options["merge_roles"])
    with_system(messages, options, reader, notes)
    if (shape := options["response_format"]) is not None:
        notes += shape.notes
        if offer is not None:
            notes.append(_grammar_beside_tools(offer))
        if options["continue_stream"]:
            raise ModelInvalidRequestError(
                "continue_stream and response_format were both given: JSON cannot be gone on with in another answer",
                hint="Leave one of them out.",
            )
    if offer and offer.rewritten:
        notes.append(Note("TOOL_CHOICE_REWRITTEN", offer.rewritten))
    model = options["model"] or model
    try:
        body = encode_body(model, messages, options, offer, streaming=streaming)
    except UnicodeEncodeError as error:
        raise _not_unicode(prompt, options, messages) from error
    if len(body) > max_bytes:
        raise ModelInvalidRequestError(
            f"the request has {len(body)} bytes, more than max_request_bytes={max_bytes}",
            hint="Shorten the history, make images smaller, or raise max_request_bytes.",
        )
    return ChatRequest(
        model=model, messages=messages, body=body, streaming=streaming, options=options, notes=notes, offer=offer
    )


def _grammar_beside_tools(offer: Offer) -> Note:
    """LM Studio holds the whole answer to the grammar of a response_format, so that no call fits in.

    Raises:
        ModelInvalidRequestError: a call is asked for.
    """
    if offer.choice == "required":
        raise ModelInvalidRequestError(
            "response_format and a call were both asked for, and no answer can be both",
            hint="Use run_tools, which asks for the typed answer after the calls, or ask for one of them.",
        )
    return Note("TOOLS_BESIDE_FORMAT", "with a response_format the model can hardly call a tool; run_tools does both")


def encode_body(
    model: str, messages: list[AnyMessage], options: dict[str, Any], offer: Offer | None, *, streaming: bool
) -> bytes:
    """The body for ``/v1/chat/completions``; messages that were sent before are not encoded again."""
    fields = {name: value for name in _SENT_AS_THEY_ARE if (value := options[name]) is not None}
    if (reasoning := options["reasoning"]) is not None:
        fields["reasoning_effort"] = _EFFORT[reasoning]
    if (shape := options["response_format"]) is not None and shape.wire is not None:
        fields["response_format"] = shape.wire
    if offer is not None:
        fields["tools"] = msgspec.Raw(offer.tools.wire)
        fields["tool_choice"] = offer.choice
    fields["stream"] = streaming
    if streaming:
        fields["stream_options"] = {"include_usage": True}
    if extra := options["extra"]:
        fields |= extra
    try:
        turns: list[bytes] = list(map(_kept_turn, messages))
    except AttributeError:  # one of them was never sent
        turns = list(map(encode_turn, messages))
    # One join, so that a long history is copied once.
    turns[0] = b'{"model":%b,"messages":[%b' % (_encode(model), turns[0])
    turns[-1] = b"%b],%b" % (turns[-1], _encode(fields)[1:])
    return b",".join(turns)


def renamed(body: bytes, model: str, other: str) -> bytes:
    """A body that :func:`encode_body` made, for another model."""
    return b'{"model":%b%b' % (_encode(other), body[len(_encode(model)) + len(b'{"model":') :])


_READ_APART = ("messages", "tools", "functions")
"""Options that are no plain values; tools were encoded when they were read."""

_kept_turn = attrgetter("turn")


def _not_unicode(prompt: str, options: dict[str, Any], messages: list[AnyMessage]) -> ModelInvalidRequestError:
    given = list(options["messages"] or ())
    shape = options["response_format"]
    values = {**options, "response_format": None if shape is None else shape.wire}
    places = [("prompt", prompt), *((name, value) for name, value in values.items() if name not in _READ_APART)]
    places += [(f"messages[{index}]", message_from(value)) for index, value in enumerate(given)]
    field = next((name for name, value in places if not _encodes(value)), "a message")
    return ModelInvalidRequestError(
        f"{field} holds a lone surrogate (half of a UTF-16 pair), which is not Unicode text",
        hint="Decode the text properly, or drop it with text.encode('utf-8', 'ignore').decode().",
    )


def _encodes(value: Any) -> bool:
    try:
        _encode(value)
    except UnicodeEncodeError:
        return False
    return True
