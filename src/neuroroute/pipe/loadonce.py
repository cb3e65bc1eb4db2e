"""Of a model that is not in memory one request at a time has it loaded, and the others wait for that.

LM Studio loads a model upon a request for it, and several at once race to several copies (#1751).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from neuroroute.errors import LMStudioError, is_loading
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest


def loadonce(hosts: Hosts) -> Layer:
    """The layer. Knows only of models that were listed as not loaded; requests for others pass at no cost."""

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        model = hosts.model(request)
        return loaded(request, send, model) if model.absent else send(request)

    async def loaded(request: ChatRequest, send: Send, model: HostedModel) -> Reply:
        while model.absent and (load := model.load_under_way() or model.first_request()) is not None:
            request.wait_for_loading()
            await asyncio.wait((load,))
        if not model.absent:
            return await send(request)
        end = model.begin_first_request()
        model.seen_loading(request.options["model_loading_timeout_ms"])
        try:
            reply = await send(request)
            model.answers()
        except LMStudioError as error:
            if not is_loading(error):
                model.seen_loading(0.0)
            raise
        finally:
            end()
        return reply

    return layer
