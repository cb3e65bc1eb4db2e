"""``on_overflow="trim"``: a history that the model has no room for is sent again without its oldest turns, once."""

from __future__ import annotations

from collections.abc import Awaitable

from neuroroute.errors import ModelContextLengthError
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest
from neuroroute.responses import Note
from neuroroute.wire.shorten import shortened


def trimming(hosts: Hosts) -> Layer:
    """The layer. Goes by the numbers of the error, else by the context length that is listed."""

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        return send(request) if request.options["on_overflow"] == "error" else recovered(request, send)

    async def recovered(request: ChatRequest, send: Send) -> Reply:
        try:
            return await send(request)
        except ModelContextLengthError as error:
            fits = error.context_length or await listed_context(request)
            left = fits and shortened(request.messages, error, fits, request.options["max_tokens"])
            if not left:
                raise
        request.messages = left.messages
        request.encode()
        what = (
            f"the history was longer than the {fits} tokens that fit: its {left.dropped} oldest turn(s) were left out"
        )
        request.notes.append(Note("HISTORY_TRIMMED", what))
        return await send(request)

    async def listed_context(request: ChatRequest) -> int | None:
        details = await hosts.of(request).listings.details(request.model)
        return None if details is None else details.context_length

    return layer
