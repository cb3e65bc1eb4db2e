"""A request that needs what its model cannot do, as far as the server says so: refused, or answered with a note.

LM Studio takes such a request without a word: of tools the model makes what it can, an unknown setting of ``reasoning``
becomes "on" (#2284), and the caller pays for thoughts that nobody asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection

from neuroroute.capabilities import Capability
from neuroroute.details import ModelDetails
from neuroroute.errors import ModelCapabilityError, ModelInvalidRequestError
from neuroroute.messages import AnyMessage, are_texts
from neuroroute.parts import ImagePart
from neuroroute.pipe.choice import Fit
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.requests import ChatRequest
from neuroroute.responses import Note
from neuroroute.selection import in_words

LISTING_SECONDS = 1.0
"""How long a request waits for the listing, at most a quarter of its own time; then it goes unchecked."""
ASK_AGAIN_SECONDS = 60.0
"""How long a model of which the server told nothing is not asked for again."""


def supports(allowed: tuple[str, ...], setting: str) -> bool:
    """Whether a model with these settings has this one; any effort means that reasoning is on."""
    return setting in allowed or (setting == "on" and bool({*allowed} - {"off"}))


def needed(request: ChatRequest) -> list[Capability]:
    """What the model must be able to do for this request, beside chatting."""
    needs: list[Capability] = [*(request.options["needs"] or ())]
    if request.offer is not None:
        needs.append("tool_use")
    if not are_texts(request.messages) and any(map(_has_image, request.messages)):
        needs.append("vision")
    if request.options["reasoning"] not in (None, "off"):
        needs.append("reasoning")
    return needs


def suiting(request: ChatRequest) -> Fit | None:
    """Whether a model can do at a place what this request needs; None: it needs nothing that not every model can."""
    needs, setting, native = needed(request), request.options["reasoning"], request.endpoint.api == "native"
    if not needs and setting is None and not native and not request.room:
        return None

    def suits(place: HostedModel) -> bool:
        details = place.host.details(place.name)
        if details is None:
            return True
        if place.context_length is not None and place.context_length < request.room:
            return False
        if native and details.source != "v1":  # an older server, which has no such route
            return False
        return not (any(map(details.lacks, needs)) or _refuses(details, setting))

    return suits


def capable(hosts: Hosts, clock: Clock) -> Layer:
    """The layer. Stands below what chooses the host, so that the one that answers is the one that is checked.

    Asks the listing once for each model that is asked for more than chat, and does not wait long for that; all else
    costs next to nothing.
    """

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        needs = needed(request)
        return checked(request, send, needs) if needs or request.options["reasoning"] is not None else send(request)

    async def checked(request: ChatRequest, send: Send, needs: Collection[Capability]) -> Reply:
        details = await listed(request, hosts.model(request))
        setting, body = request.options["reasoning"], request.body
        if details is not None:
            _check(request, details, needs)
        try:
            return await send(request)
        finally:  # another host may list other settings
            if request.options["reasoning"] != setting:
                request.options["reasoning"], request.body = setting, body

    async def listed(request: ChatRequest, model: HostedModel) -> ModelDetails | None:
        if model.details is None and clock.monotonic() >= model.ask_details_at:
            model.ask_details_at = clock.monotonic() + ASK_AGAIN_SECONDS
            asked = asyncio.ensure_future(hosts.of(request).listings.details(request.model))
            seconds = min(LISTING_SECONDS, request.options["timeout_ms"] / 4000)
            await asyncio.wait((asked,), timeout=seconds)  # has the model told of it
            asked.cancel()
        return model.details

    return layer


def _refuses(details: ModelDetails, setting: str | None) -> bool:
    allowed = details.reasoning_options
    return setting is not None and bool(allowed) and not supports(allowed, setting)


def _has_image(message: AnyMessage) -> bool:
    content = message.content
    return not isinstance(content, str) and any(isinstance(part, ImagePart) for part in content)


def _check(request: ChatRequest, details: ModelDetails, needs: Collection[Capability]) -> None:
    """Refuses the request, or notes that it may not go as asked.

    Raises:
        ModelInvalidRequestError: the model lists other settings of ``reasoning``.
        ModelCapabilityError: it lacks something, and ``strict`` was asked for.
    """
    setting, allowed = request.options["reasoning"], details.reasoning_options
    if _refuses(details, setting):
        raise ModelInvalidRequestError(
            f"reasoning is {setting!r}; this model takes {', '.join(allowed)}", model=request.model
        )
    if setting == "on" and allowed and setting not in allowed and request.endpoint.api == "native":
        # This route takes only what is listed; the others have no "on" and say "medium" themselves.
        efforts = [one for one in allowed if one != "off"]
        request.options["reasoning"] = "medium" if "medium" in efforts else efforts[0]
        request.encode()
    lacking = in_words([need for need in needs if details.lacks(need)])
    if not lacking:
        return
    if request.options["strict"]:
        raise ModelCapabilityError(f"the server says that this model lacks {lacking}", model=request.model)
    note = Note("CAPABILITY_MISSING", f"the server says that {request.model!r} lacks {lacking}")
    if note not in request.notes:  # of an attempt before
        request.notes.append(note)
