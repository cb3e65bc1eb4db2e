"""The body of a request to ``/api/v1/chat``, and how a history is told to a route that takes only the user's words.

Source: https://lmstudio.ai/docs/developer/rest/chat; a text part has the type ``text``, whatever its table says
(lmstudio-ai/docs #253).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from neuroroute.messages import AnyMessage, Content, ImagePart, SystemMessage, TextPart, UserMessage
from neuroroute.requests import ChatRequest
from neuroroute.wire.encode import encode, encode_turn
from neuroroute.wire.roles import after

_TAKEN = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "reasoning", "context_length", "store")
"""Options that are fields of the same name."""

_BEGINS = "The conversation so far, one message per line, as JSON:"
_GOES_ON = "That was the conversation so far. Go on with it: answer what the user says next, which is:"
_ENDS = "That was the conversation so far. Go on with it."


def native_body(request: ChatRequest) -> bytes:
    """The body. The system message is sent each time: nobody says whether the server remembers it."""
    options = request.options
    fields: dict[str, Any] = {"model": request.model, "input": native_input(request.messages[request.known :])}
    said = [message.text for message in request.messages if isinstance(message, SystemMessage)]
    if system := "\n\n".join(said):
        fields["system_prompt"] = system
    fields |= {name: value for name in _TAKEN if (value := options[name]) is not None}
    if options["max_tokens"] > 0:
        fields["max_output_tokens"] = options["max_tokens"]
    if options["integrations"] is not None:
        fields["integrations"] = options["integrations"]
    if request.known_as is not None:
        fields["previous_response_id"] = request.known_as
    fields["stream"] = request.streaming
    return encode(fields | dict(options["extra"] or {}))


def needs_transcript(messages: Iterable[AnyMessage]) -> bool:
    """Whether others than the user say something in it: the route takes no messages of the assistant or of tools."""
    return not all(isinstance(message, (UserMessage, SystemMessage)) for message in messages)


def native_input(messages: Sequence[AnyMessage]) -> str | list[dict[str, str]]:
    """What is said, as text or as parts of text and images.

    A history goes first, one message per line as JSON: so no text can pass for a message of another role, and nothing
    of calls and results is lost. Its images follow, and are named in it by their number.
    """
    spoken = [message for message in messages if not isinstance(message, SystemMessage)]
    at = len(spoken)
    while at and isinstance(spoken[at - 1], UserMessage):
        at -= 1
    if not any(not isinstance(message, UserMessage) for message in spoken):
        at = 0
    images: list[ImagePart] = []
    texts: list[TextPart | ImagePart] = []
    if at:
        lines = [encode_turn(_without_images(message, images)).decode() for message in spoken[:at]]
        texts.append(TextPart(text="\n".join([_BEGINS, *lines, _GOES_ON if at < len(spoken) else _ENDS])))
    parts = [*texts, *images]
    for message in spoken[at:]:
        content = after(f"{message.name}: ", message.content) if message.name else message.content
        parts += _parts(content)
    if all(isinstance(part, TextPart) for part in parts):
        return "\n\n".join([part.text for part in parts if isinstance(part, TextPart)])
    return [
        {"type": "text", "content": part.text}
        if isinstance(part, TextPart)
        else {"type": "image", "data_url": part.image_url.url}
        for part in parts
    ]


def _parts(content: Content) -> Sequence[TextPart | ImagePart]:
    return (TextPart(text=content),) if isinstance(content, str) else content


def _without_images(message: AnyMessage, images: list[ImagePart]) -> AnyMessage:
    """The message with the number of each image in its place; the images are kept."""
    if isinstance(message.content, str):
        return message
    parts: list[TextPart | ImagePart] = []
    for part in message.content:
        if isinstance(part, ImagePart):
            images.append(part)
            part = TextPart(text=f"[image {len(images)}]")
        parts.append(part)
    return replace(message, content=tuple(parts))
