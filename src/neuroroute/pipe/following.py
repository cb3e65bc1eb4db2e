"""Going on from an answer that the server remembers: only what is new is sent, with the id of that answer.

Whether the server remembers it is seen anew with every attempt: another host knows nothing of it, and what is old is
forgotten. Then the whole history is sent, as if there were no such id.
"""

from __future__ import annotations

from collections.abc import Awaitable

from neuroroute.errors import ConfigurationError, LMStudioError, ModelInvalidRequestError
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest
from neuroroute.responses import ModelResponse, Note
from neuroroute.wire.failures import is_stale, remembers_nothing
from neuroroute.wire.nativebody import needs_transcript


def following() -> Layer:
    """The layer. Stands below what chooses the host; requests to routes that remember nothing pass at no cost."""
    forgetful: set[str] = set()
    """Base URLs of hosts that said that they remember no answer, so that they are not asked with every turn."""

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        return followed(request, send) if request.endpoint.remembers else send(request)

    async def followed(request: ChatRequest, send: Send) -> Reply:
        whole = request.body
        why_whole = _continue_from(request, None if request.url in forgetful else request.options["previous"])
        try:
            return await send(_noted(request, why_whole))
        except (ConfigurationError, ModelInvalidRequestError) as error:
            if not request.known or not is_stale(error):
                if _is_missing(error):
                    error.hint = f"api={request.endpoint.api!r} needs LM Studio {request.endpoint.since} or later."
                raise
            if remembers_nothing(error):
                forgetful.add(request.url)
        finally:  # whoever asks again may ask another host
            request.known, request.known_as, request.body = 0, None, whole
        request.options["previous"] = None  # later attempts need not find out again
        return await send(_noted(request, "the server does not remember the answer before it"))

    return layer


def _is_missing(error: LMStudioError) -> bool:
    """Whether the server does not know the route; LM Studio says so in a 200 (#618)."""
    return error.status in (404, 405, 501) or (isinstance(error, ConfigurationError) and error.status == 200)


def _continue_from(request: ChatRequest, previous: ModelResponse | None) -> str | None:
    """Makes the body for what the host remembers; why that is nothing, where there was something to go on from."""
    if previous is None or previous.response_id is None or previous.api != request.endpoint.api:
        return None
    count = len(previous.messages)
    if previous.host != request.host:
        return f"{previous.host} gave the answer before it, and {request.host or 'another host'} is asked"
    if len(request.messages) <= count or request.messages[:count] != previous.messages:
        return "it does not begin with that of the answer before it"
    request.known, request.known_as = count, previous.response_id
    request.encode()
    return None


def _noted(request: ChatRequest, why_whole: str | None) -> ChatRequest:
    """The request, with notes of how its history is sent: each once, however many attempts there are."""
    notes: list[Note] = []
    if why_whole:
        notes.append(Note("HISTORY_SENT_WHOLE", f"the whole history was sent: {why_whole}"))
    if request.endpoint.api == "native" and needs_transcript(request.messages[request.known :]):
        what = "api='native' takes only what the user says: the history before it was sent as a transcript"
        notes.append(Note("HISTORY_AS_TRANSCRIPT", what))
    request.notes += [note for note in notes if note not in request.notes]
    return request
