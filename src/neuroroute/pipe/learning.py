"""Every answer that was counted teaches how many tokens the texts of its model have."""

from __future__ import annotations

from neuroroute.errors import LMStudioError
from neuroroute.estimates import TokenEstimates
from neuroroute.messages import are_texts
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest


def learning(estimates: TokenEstimates) -> Layer:
    """The layer. Stands above what names the model of ``auto``, whose estimate it teaches, too."""

    async def layer(request: ChatRequest, send: Send) -> Reply:
        asked = request.model
        reply = await send(request)

        def learn(_error: LMStudioError | None) -> None:
            answer = reply.answer
            usage = answer.usage
            if usage is not None and is_plain(request) and request.different_model(answer.model) is None:
                for model in {asked, request.model}:
                    estimates.of(model).learn(request.messages, usage.prompt)

        reply.when_judged(learn)
        return reply

    return layer


def is_plain(request: ChatRequest) -> bool:
    """Whether what the server counts is the messages: no tools or images, nothing that is unknown or remembered."""
    return (
        request.offer is None
        and not request.options["extra"]
        and request.endpoint.api in ("chat", "responses", "native")
        and not (request.options["integrations"] or (request.options["previous"] and request.endpoint.remembers))
        and are_texts(request.messages)
    )
