"""What was said, as an observer that asked for it may keep it: plain data, each text through the user's hook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import msgspec

from neuroroute.errors import ModelInvalidRequestError

Redact: TypeAlias = Callable[[str], str]
"""Gives a text as it may be kept; is shown each text of a message, and the JSON text of a call's arguments."""


def careful(redact: Redact | None) -> Redact:
    """The hook; a text that it fails at is not kept, nor is what it raised, which may quote the text.

    Raises:
        ModelInvalidRequestError: it is no function.
    """
    if redact is not None and not callable(redact):
        raise ModelInvalidRequestError(f"redact must be a function that takes a text, not {redact!r:.60}")

    def redacted(text: str) -> str:
        if redact is None:
            return text
        try:
            return redact(text)
        except Exception:  # noqa: BLE001 - it is somebody else's code
            return "(not shown: redact failed)"

    return redacted


def shown(value: Any, redact: Redact) -> Any:
    """Messages, calls and texts as plain data, each text redacted; of an image only how large it is."""
    return _shown(msgspec.to_builtins(value), redact)


def _shown(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return f"data: ({len(value)} characters)" if value.startswith("data:") else redact(value)
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        return {key: one if key in _PLAIN else _shown(one, redact) for key, one in given.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(one, redact) for one in cast("list[Any]", value)]
    return value


_PLAIN = frozenset(("role", "type", "id", "tool_call_id", "finish_reason"))
"""Words of the protocol, and ids that join calls and results."""
