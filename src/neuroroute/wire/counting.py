"""Tokens as a server counts them that can: llama.cpp, the embedded engine's too. LM Studio has no such route.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

import msgspec

from neuroroute.requests import ChatRequest
from neuroroute.wire.encode import encode
from neuroroute.wire.failures import UNDECODABLE

COUNT_PROMPT = "/v1/chat/completions/input_tokens"
"""Takes the body of a request; counts its whole prompt, template and tools included."""
COUNT_TEXT = "/tokenize"


class _Count(msgspec.Struct):
    input_tokens: int | None = None
    tokens: list[msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Count).decode


def asked_count(what: str | ChatRequest) -> tuple[str, bytes]:
    """Where to ask how many tokens a text or a request has, and with which body."""
    return (COUNT_TEXT, encode({"content": what})) if isinstance(what, str) else (COUNT_PROMPT, what.body)


def counted(body: bytes) -> int | None:
    """The count; None where there is none."""
    try:
        count = _decode(body)
    except UNDECODABLE:
        return None
    if count.tokens is not None:
        return len(count.tokens)
    return count.input_tokens if (count.input_tokens or 0) > 0 else None
