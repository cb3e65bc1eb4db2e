"""The body of a request to ``/v1/responses``.

Items are written as Codex writes them, a client that LM Studio is used with.
"""

from __future__ import annotations

from typing import Any

import msgspec

from neuroroute.messages import (
    AnyMessage,
    AssistantMessage,
    ContentPart,
    ImagePart,
    TextPart,
    ToolMessage,
    UserMessage,
)
from neuroroute.requests import ChatRequest
from neuroroute.tools.offer import Offer
from neuroroute.wire.encode import EFFORT, encode
from neuroroute.wire.roles import after


def responses_body(request: ChatRequest) -> bytes:
    """The body; of a history that the server remembers, only what is new."""
    options = request.options
    items = [item for message in request.messages[request.known :] for item in _items(message)]
    fields: dict[str, Any] = {"model": request.model, "input": items}
    if request.known_as is not None:
        fields["previous_response_id"] = request.known_as
    if options["max_tokens"] > 0:
        fields["max_output_tokens"] = options["max_tokens"]
    fields |= {"temperature": options["temperature"], "top_p": options["top_p"]}
    if options["reasoning"] is not None:
        fields["reasoning"] = {"effort": EFFORT[options["reasoning"]]}
    if request.offer is not None:
        fields |= {"tools": _tools(request.offer), "tool_choice": request.offer.choice}
    fields["stream"] = request.streaming
    return encode(fields | dict(options["extra"] or {}))


def _tools(offer: Offer) -> list[dict[str, Any]]:
    """The tools in the flat form of this route."""
    tools: list[dict[str, Any]] = msgspec.json.decode(offer.tools.wire)
    return [{"type": tool["type"], **tool["function"]} for tool in tools]


def _items(message: AnyMessage) -> list[dict[str, Any]]:
    """A message; of an assistant also its calls, each an item of its own."""
    if isinstance(message, ToolMessage):
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.text}]
    if not isinstance(message, AssistantMessage):
        content = message.content
        if isinstance(message, UserMessage) and message.name:  # no field says who speaks
            content = after(f"{message.name}: ", content)
        parts = (TextPart(text=content),) if isinstance(content, str) else content
        return [{"type": "message", "role": message.role, "content": [_part(part) for part in parts]}]
    said: list[dict[str, Any]] = []
    if message.text:
        spoken = [{"type": "output_text", "text": message.text}]
        said.append({"type": "message", "role": "assistant", "content": spoken})
    for call in message.tool_calls:
        function = call.function
        item = {"type": "function_call", "call_id": call.id, "name": function.name, "arguments": function.arguments}
        said.append(item)
    return said


def _part(part: ContentPart) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        # "detail" is no choice in OpenAI's schema; without it LM Studio has refused images (#1106, #2200).
        return {"type": "input_image", "image_url": part.image_url.url, "detail": part.image_url.detail or "auto"}
    return {"type": "input_text", "text": part.text}
