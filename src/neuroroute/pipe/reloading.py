"""A model that crashed or was unloaded, and that the server does not load by itself, is loaded again: once.

With JIT loading the next attempt loads the model, and nothing is done here. Without, the server says that no model is
loaded, or that it does not know this one; whoever had answers from it before wants it back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from neuroroute.errors import LMStudioError, ModelNotFoundError, ModelUnavailableError
from neuroroute.pipe.events import ModelReloaded, Tell
from neuroroute.pipe.host import Host
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.pipe.retry import retries_of
from neuroroute.requests import ChatRequest

Load: TypeAlias = Callable[[Host, str, "int | None", float], Awaitable[object]]
"""Loads a model: its host, its name, tokens of context (None: the server's own choice), milliseconds."""


def reloading(hosts: Hosts, load: Load, tell: Tell) -> Layer:
    """The layer. An error that a reload has mended is retryable; the retry layer makes the attempt."""

    async def layer(request: ChatRequest, send: Send) -> Reply:
        try:
            reply = await send(request)
        except (ModelUnavailableError, ModelNotFoundError) as error:
            model = hosts.model(request)
            if _is_gone(error, model, request):
                model.mending += 1
                try:
                    error.retryable = await reloaded(request, error) or error.retryable
                finally:
                    model.mending -= 1
            raise
        hosts.model(request).has_answered = True
        return reply

    async def reloaded(request: ChatRequest, error: LMStudioError) -> bool:
        host, model = hosts.of(request), hosts.model(request)
        details = await host.listings.details(request.model)
        if details is None or details.source != "v1":
            return False
        request.reloaded = True
        if details.loaded:  # somebody else was faster
            return True
        request.wait_for_loading()

        async def load_again() -> None:
            await load(host, request.model, model.context_length, request.options["model_loading_timeout_ms"])
            tell(ModelReloaded(host=request.host, model=request.model))

        try:
            await hosts.background.result((model, "reload"), load_again)  # told once, for all who miss it
        except LMStudioError as failure:
            error.hint = f"{error.hint} Loading it again failed: {failure.message}".lstrip()
            return False
        return True

    return layer


def _is_gone(error: LMStudioError, model: HostedModel, request: ChatRequest) -> bool:
    """Whether the model was there before, is not any more, and the server will not load it by itself."""
    if request.reloaded or len(request.failures) >= retries_of(request):
        return False
    if isinstance(error, ModelUnavailableError) and error.reason != "no_models":
        return False
    return model.has_answered or any(
        isinstance(failure, ModelUnavailableError) and failure.reason in ("crashed", "unloaded")
        for failure in request.failures
    )
