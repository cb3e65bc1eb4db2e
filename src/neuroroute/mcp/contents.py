"""What an MCP tool gave, as text for the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from neuroroute.errors import ToolFailedError

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock, EmbeddedResource

NOTHING = "[no content]"
"""For a result without content: an empty text makes small models call again."""


def as_text(result: CallToolResult) -> str:
    """The texts of a result, a block a line; what is no text is said in words: ``[image/png, 1234 bytes]``.

    Where there is no text, the structured content stands in for it, as JSON.

    Raises:
        ToolFailedError: the result is an error; its text is the message.
    """
    parts = [_said(block) for block in result.content]
    if result.structured_content is not None and not any(block.type == "text" for block in result.content):
        parts.insert(0, msgspec.json.encode(result.structured_content).decode())
    text = "\n".join(parts)
    if result.is_error:
        raise ToolFailedError(text or "the tool failed and did not say why")
    return text or NOTHING


def _said(block: ContentBlock) -> str:
    if block.type == "text":
        return block.text
    if block.type == "resource_link":
        return f"[resource {block.name}: {block.uri}]"
    if block.type == "resource":
        return _embedded(block)
    return f"[{block.mime_type}, {_size(block.data)} bytes]"


def _embedded(block: EmbeddedResource) -> str:
    from mcp.types import TextResourceContents  # loaded already: a server has answered

    resource = block.resource
    if isinstance(resource, TextResourceContents):
        return f"[resource {resource.uri}]\n{resource.text}"
    kind = resource.mime_type or "application/octet-stream"
    return f"[resource {resource.uri}: {kind}, {_size(resource.blob)} bytes]"


def _size(base64: str) -> int:
    """How many bytes a text in base64 stands for."""
    return len(base64.rstrip("=")) * 3 // 4
