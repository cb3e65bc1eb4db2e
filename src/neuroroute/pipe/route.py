"""Which host a request goes to, and where to after one has failed it.

What is tried anew here is what another host may do better, at once and without a back-off; when all were tried, the
retry layer above waits, and it begins again.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from neuroroute.errors import (
    AdapterClosedError,
    LMStudioError,
    ModelAuthenticationError,
    ModelBusyError,
    ModelContextLengthError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitedError,
    ModelUnavailableError,
    is_loading,
)
from neuroroute.pipe.breaker import counts
from neuroroute.pipe.events import FailedOver, Tell, bare
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest

_OF_ONE_HOST = (
    ModelAuthenticationError,
    ModelBusyError,
    ModelContextLengthError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitedError,
    ModelUnavailableError,
)
"""Errors that say nothing of other hosts, beside those that count for the breaker."""


def elsewhere(error: LMStudioError) -> bool:
    """Whether another host may do better."""
    return not isinstance(error, AdapterClosedError) and (counts(error) or isinstance(error, _OF_ONE_HOST))


def route(hosts: Hosts, tell: Tell) -> Layer:
    """The layer. A request for a model that is in one place passes at the cost of a look."""

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        only = hosts.only_place(request.model)
        return routed(request, send) if only is None else _sent(hosts, request, only, send)

    async def routed(request: ChatRequest, send: Send) -> Reply:
        tried = [place for place in hosts.places(request.model) if place.host.url == request.avoided_url]
        place = hosts.choose(request, tried) or hosts.choose(request)
        while place is not None:
            try:
                reply = await _sent(hosts, request, place, send)
            except LMStudioError as error:
                tried.append(place)
                following = _after(hosts, error, request, tried)
                if following is None:
                    raise
                request.failures.append(error)
                tell(
                    FailedOver(
                        host=place.host.name,
                        model=request.model,
                        request_id=request.id,
                        error=bare(error),
                        to=following.host.name,
                    )
                )
                place = following
            else:
                hosts.answered(request, place)
                reply.when_judged(partial(_judged, hosts, place, request))
                return reply
        raise ModelUnavailableError("every host is drained", retryable=False, hint="End it with resume().")

    return layer


def _sent(hosts: Hosts, request: ChatRequest, place: HostedModel, send: Send) -> Awaitable[Reply]:
    hosts.send_to(request, place)
    return send(request) if place.name == request.model else _sent_to_copy(request, place.name, send)


async def _sent_to_copy(request: ChatRequest, name: str, send: Send) -> Reply:
    asked, body = request.model, request.body
    request.model = name
    request.encode()
    try:
        return await send(request)
    finally:
        request.model, request.body = asked, body


def _after(hosts: Hosts, error: LMStudioError, request: ChatRequest, tried: list[HostedModel]) -> HostedModel | None:
    """Where a request goes that has failed at the last of those that it was tried at; None: nowhere."""
    place = tried[-1]
    error.host = error.host or place.host.name
    if counts(error):
        place.fails(error)
    if not elsewhere(error):
        return None
    if isinstance(error, ModelContextLengthError):  # only where there is more room
        room = place.context_length or 0
        tried += [other for other in hosts.places(request.model) if (other.context_length or 0) <= room]
    following = hosts.choose(request, tried)
    if following is not None and is_loading(error) and not following.loaded:
        return None  # it waits for the load that is under way, and begins none beside it
    return following


def _judged(hosts: Hosts, place: HostedModel, request: ChatRequest, error: LMStudioError | None) -> None:
    if error is None:
        now = hosts.policy.clock.monotonic()
        place.pace.learn(now - request.entered, now)
        hosts.pace.learn(now - request.entered, now)
    elif counts(error):
        place.fails(error)
