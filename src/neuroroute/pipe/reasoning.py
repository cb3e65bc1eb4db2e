"""A setting of ``reasoning`` that the model does not have is refused; the server would only note it in its own log.

LM Studio falls back to "on" then, and the caller pays for thoughts that nobody asked for (#2284).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from neuroroute.details import ModelDetails
from neuroroute.errors import LMStudioError, ModelInvalidRequestError
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest


def supports(allowed: tuple[str, ...], setting: str) -> bool:
    """Whether a model with these settings has this one; any effort means that reasoning is on."""
    return setting in allowed or (setting == "on" and bool({*allowed} - {"off"}))


def reasoning(list_models: Callable[[], Awaitable[list[ModelDetails]]]) -> Layer:
    """The layer. Asks the listing once for each model that is asked to reason in some way; else costs nothing."""
    known: dict[tuple[str, str], tuple[str, ...]] = {}

    async def allowed_options(request: ChatRequest) -> tuple[str, ...]:
        key = (request.url, request.model)
        if key not in known:
            try:
                models = await list_models()
            except LMStudioError:
                return ()  # the request itself will tell what is wrong
            model = next((model for model in models if model.answers_to(request.model)), None)
            known[key] = () if model is None else model.reasoning_options
        return known[key]

    async def layer(request: ChatRequest, send: Send) -> Reply:
        setting = request.options["reasoning"]
        if setting is not None and (allowed := await allowed_options(request)) and not supports(allowed, setting):
            raise ModelInvalidRequestError(
                f"reasoning is {setting!r}; this model takes {', '.join(allowed)}", model=request.model
            )
        return await send(request)

    return layer
