"""What a tool gave, as text for the model."""

from __future__ import annotations

from typing import Any

import msgspec

from neuroroute.jsontypes import is_text
from neuroroute.schemas.types import to_json

_encode = msgspec.json.Encoder(enc_hook=to_json).encode


def as_text(value: Any) -> str:
    """A text as it is, anything else as JSON.

    Raises:
        TypeError, ValueError, RecursionError: JSON cannot say it.
    """
    return value if is_text(value) else _encode(value).decode()


def bounded(text: str, max_bytes: int) -> str:
    """The text, cut on a character's boundary when it is longer, with an ending that says how much is missing.

    Half characters (lone surrogates, as in the names of files that are not UTF-8) become ``?``: nobody could send them.

    Args:
        text: any text.
        max_bytes: of UTF-8, the ending included; an ending longer than that is given all the same.
    """
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return data.decode()
    room = max(0, max_bytes - len(_ending(len(data), len(data))))
    kept = data[:room].decode("utf-8", "ignore")
    return kept + _ending(len(data) - len(kept.encode()), len(data))


def a_value(value: Any) -> str:
    """The kind of a value, with its article."""
    kind = type(value).__name__
    return f"an {kind}" if kind[0] in "aeioAEIO" else f"a {kind}"


def reason(error: BaseException) -> str:
    """What an error says, behind a colon; nothing where it says nothing."""
    said = str(error)
    return f": {said}" if said.strip() else ""


def _ending(cut: int, of: int) -> str:
    return f"... [cut: the last {cut} of {of} bytes are not shown]"
