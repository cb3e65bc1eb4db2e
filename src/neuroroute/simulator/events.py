"""Server-sent events as the simulated server frames them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

DONE = b"[DONE]"


def event(data: bytes, *, name: str = "", newline: str = "\n", comment: str | None = None) -> bytes:
    """One event, with a comment before it if asked for."""
    lines = [b"event: " + name.encode()] if name else []
    lines += [b"data: " + data, b"", b""]
    if comment is not None:
        lines = [b": " + comment.encode(), b"", *lines]
    return newline.encode().join(lines)


def error_events(message: str, *, done: bool, framed: Callable[..., bytes] = event) -> list[bytes]:
    """What ends a chat stream that fails: an error event and, if ``done``, ``[DONE]``."""
    said = msgspec.json.encode({"error": {"message": message}, "message": message})
    return [framed(said, name="error"), *([framed(DONE)] if done else [])]
