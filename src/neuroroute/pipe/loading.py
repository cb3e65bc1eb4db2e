"""While a model loads, waiting is not failing.

LM Studio loads a model upon its first request and tells nobody: the request hangs, perhaps for minutes. So whoever
waits long asks the listing; if it says that the model is not loaded, it is being loaded, and the deadline moves.
A native stream tells it by itself.
"""

from __future__ import annotations

from functools import partial

from neuroroute.details import ModelProgress
from neuroroute.limits import alarmed
from neuroroute.pipe.events import ModelLoading, Tell
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.progress import progressing, report
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest

LOOK_AFTER_SECONDS = 5.0
"""How long an attempt is waited for before the listing is asked; half of ``timeout_ms`` where that is shorter."""

_MAX_AGE = 1.0
"""Seconds; many who wait for one model ask once."""


def loading(hosts: Hosts, tell: Tell) -> Layer:
    """The layer. Moves the deadline once for each request, and only while the server lists the model as not loaded."""

    def look(request: ChatRequest) -> None:
        hosts.background.begin(object(), partial(looked, request))

    async def looked(request: ChatRequest) -> None:
        details = await hosts.of(request).listings.details(request.model, max_age=_MAX_AGE)
        if details is not None and details.loaded is False and request.wait_for_loading():
            hosts.model(request).seen_loading(request.options["model_loading_timeout_ms"])
            tell(ModelLoading(host=request.host, model=request.model, request_id=request.id))
            report(request, ModelProgress(model=request.model, phase="loading"))

    async def layer(request: ChatRequest, send: Send) -> Reply:
        request.progressed = (
            progressing(request, hosts.model(request), tell) if request.endpoint.api == "native" else None
        )
        if request.waited_for_loading:
            return await send(request)
        half: float = request.options["timeout_ms"] / 2000
        alarm = alarmed(min(LOOK_AFTER_SECONDS, half), partial(look, request))
        try:
            return await send(request)
        finally:
            alarm.end()

    return layer
