"""``model="auto"``: the request goes to whichever model is loaded; one that names its model passes at no cost."""

from __future__ import annotations

from collections.abc import Awaitable

from neuroroute.capabilities import Capability
from neuroroute.errors import LMStudioError
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest
from neuroroute.selection import AUTO, choose

_MAX_AGE = 1.0
"""Seconds; many who ask at once are told from one listing, and a model that was loaded by hand is soon seen."""


def selecting(hosts: Hosts) -> Layer:
    """The layer. Stands above all that remembers something of a model, so that they remember it of the right one."""
    last: dict[frozenset[Capability], str] = {}

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        return send(request) if request.model != AUTO else selected(request, send)

    async def selected(request: ChatRequest, send: Send) -> Reply:
        needs: frozenset[Capability] = request.options["needs"] or frozenset()
        try:
            models = await hosts.models(max_age=_MAX_AGE)
        except LMStudioError:
            # What answered before is asked again, with retries, which a listing has none of.
            if (model := last.get(needs)) is None:
                raise
        else:
            usable = [model for model in models if not hosts.refuses(model.key)] or models
            choice = choose(usable, needs)
            model = last[needs] = choice.model_id if len(hosts.all) == 1 else choice.model.key
            if choice.note is not None:
                request.notes.append(choice.note)
        request.model = model
        hosts.assign(request)
        request.encode()
        return await send(request)

    return layer
