"""A conversation as a file: JSON for programs, Markdown for reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from neuroroute.messages import AnyMessage


def as_json(messages: Sequence[AnyMessage], model: str) -> str:
    """The conversation as JSON: the model, and messages as the server takes them."""
    plain = msgspec.json.encode({"model": model, "messages": messages})
    return msgspec.json.format(plain, indent=2).decode() + "\n"


def as_markdown(messages: Iterable[AnyMessage], model: str) -> str:
    """The conversation for reading."""
    names = {"system": "System", "user": "You", "assistant": model}
    return "\n".join(f"## {names.get(message.role, message.role)}\n\n{message.text}\n" for message in messages)
