"""Of a model that is not in memory one request at a time has it loaded, and the others wait for that.

LM Studio loads a model upon a request for it, and several at once race to several copies (#1751).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest

LOOK_AGAIN_SECONDS = 1.0
"""How long what was listed is taken for true while requests wait."""


def loadonce(hosts: Hosts) -> Layer:
    """The layer. Knows only of models that were listed as not loaded; requests for others pass at no cost."""

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        model = hosts.model(request)
        return loaded(request, send, model) if model.absent else send(request)

    async def loaded(request: ChatRequest, send: Send, model: HostedModel) -> Reply:
        while model.absent:
            load, first = model.load_under_way(), model.first_request()
            if load is not None:
                request.wait_for_loading()
            elif first is not None:
                model.host.listings.ask(LOOK_AGAIN_SECONDS)  # it may have been loaded by hand since
            else:
                break
            await asyncio.wait([one for one in (load, first) if one is not None], return_when=asyncio.FIRST_COMPLETED)
        if not model.absent:
            return await send(request)
        end = model.begin_first_request()
        try:
            reply = await send(request)
            model.answers()
        finally:
            end()
        return reply

    return layer
