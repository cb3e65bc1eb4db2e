"""What makes two requests the same: they would be answered alike, but for chance."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Any, cast

from neuroroute.options import CONCERNS
from neuroroute.requests import ChatRequest
from neuroroute.wire.encode import encode, encode_turn

_FORM = 1
"""Goes up when requests are told apart by something else, or answers are kept in another form."""

_ANSWER = tuple(name for name, concern in CONCERNS.items() if concern == "answer")
_WAY = tuple(name for name, concern in CONCERNS.items() if concern == "way")


def request_key(request: ChatRequest) -> str:
    """The same for two requests that differ in nothing that changes the answer; 64 characters that tell no text.

    Whether the answer streams, and how long it may take, changes nothing of it.
    """
    offer, shape = request.offer, request.options["response_format"]
    parts = [
        encode([_FORM, request.endpoint.api, request.model]),
        encode([_in_order(request.options[name]) for name in _ANSWER]),
        encode(None if shape is None else shape.wire),
        encode(None if offer is None else [offer.choice, offer.legacy]),
        b"" if offer is None else offer.tools.wire,
        *map(encode_turn, request.messages),
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))  # with their lengths, so that no two lists of parts look the same
    return digest.hexdigest()


def way_of(request: ChatRequest) -> tuple[Hashable, ...]:
    """How it goes there: what two requests must have in common, beside the key, to share one answer in the air."""
    return (request.streaming, *[request.options[name] for name in _WAY])


def _in_order(value: Any) -> Any:
    """A set has no order that lasts."""
    return sorted(cast("frozenset[str]", value)) if isinstance(value, frozenset) else value
