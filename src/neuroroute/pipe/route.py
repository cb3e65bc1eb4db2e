"""Which host a request goes to, and where to after one has failed it.

What is tried anew here is what another host may do better, at once and without a back-off; when all were tried, the
retry layer above waits, and it begins again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial

from neuroroute.errors import (
    AdapterClosedError,
    CircuitOpenError,
    ConfigurationError,
    LMStudioError,
    ModelAuthenticationError,
    ModelBusyError,
    ModelContextLengthError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    is_loading,
)
from neuroroute.limits import endless
from neuroroute.pipe.breaker import counts
from neuroroute.pipe.capable import suiting
from neuroroute.pipe.events import FailedOver, Tell, bare
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest
from neuroroute.selection import named

_OF_ONE_HOST = (
    ConfigurationError,
    ModelAuthenticationError,
    ModelBusyError,
    ModelContextLengthError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ModelUnavailableError,
)
"""Errors that say nothing of other hosts, beside those that count for the breaker."""

_FRESH_SECONDS = 1.0
"""How old a listing may be that says that no host has a model."""

_NO_TROUBLE = (CircuitOpenError, ModelBusyError, ModelContextLengthError)
"""Of those, what is no failure of the place: others need not be preferred to it."""


def elsewhere(error: LMStudioError) -> bool:
    """Whether another host may do better."""
    return not isinstance(error, AdapterClosedError) and (counts(error) or isinstance(error, _OF_ONE_HOST))


def route(hosts: Hosts, tell: Tell) -> Layer:
    """The layer. A request for a model that is in one place passes at the cost of a look."""

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        only = hosts.only_place(request.model)
        return routed(request, send) if only is None else _sent(request, only, send)

    async def routed(request: ChatRequest, send: Send) -> Reply:
        await _seek(hosts, request)
        search = _Search(hosts, request)
        place = search.first()
        while place is not None:
            try:
                reply = await _while_up(request, place, send)
            except LMStudioError as error:
                failure, following = error, search.after(error, place)
                if following is None:
                    raise
            else:
                another = _answered_by_another(request, place, reply)
                following = None if another is None else search.after(another, place)
                if another is None or following is None or not following.has_it:
                    return _accepted(hosts, place, request, reply)
                reply.close()
                failure = another
            request.failovers += 1
            to = following.host.name
            tell(
                FailedOver(host=place.host.name, model=request.model, request_id=request.id, error=bare(failure), to=to)
            )
            place = following
        raise ModelUnavailableError("every host is drained", retryable=False, hint="End it with resume().")

    return layer


class _Search:
    """The way of one request among the places of its model."""

    def __init__(self, hosts: Hosts, request: ChatRequest) -> None:
        self._hosts = hosts
        self._request = request
        self._suits = suiting(request)
        self._tried: list[HostedModel] = []

    def first(self) -> HostedModel | None:
        """Where it goes first: where the same request is not under way already, if there is such a place."""
        if self._request.avoids is not None:
            url, name = self._request.avoids
            places = self._hosts.places(self._request.model)
            there = [place for place in places if place.host.url == url]
            self._tried = there if len(there) < len(places) else [place for place in there if place.name == name]
        return self._choose() or self._hosts.choose(self._request, (), self._suits)

    def after(self, error: LMStudioError, place: HostedModel) -> HostedModel | None:
        """Where it goes after it has failed at a place; None: nowhere."""
        error.host = error.host or place.host.name
        if not elsewhere(error):
            return None
        if is_loading(error):
            place.seen_loading(self._request.options["model_loading_timeout_ms"])
        elif not (isinstance(error, _NO_TROUBLE) or place.host.draining):
            place.fails(error)
        self._tried += (place, *self._no_better(error, place))
        following = self._choose()
        if following is not None and is_loading(error) and not following.loaded:
            return None  # it waits for the load that is under way, and begins none beside it
        return following

    def _choose(self) -> HostedModel | None:
        return self._hosts.choose(self._request, self._tried, self._suits)

    def _no_better(self, error: LMStudioError, place: HostedModel) -> list[HostedModel]:
        """The other places that would fail it as well."""
        places = self._hosts.places(self._request.model)
        if isinstance(error, ModelContextLengthError):
            return [other for other in places if (other.context_length or 0) <= (place.context_length or 0)]
        return [other for other in places if other.host is place.host] if isinstance(error, NetworkError) else []


async def _seek(hosts: Hosts, request: ChatRequest) -> None:
    """Sees to it that a host may have the model: of those that have others alone, one would answer with another.

    Raises:
        ModelNotFoundError: each host has listed its models anew, and this is not among them; names what is near.
    """
    if hosts.may_have(request.model):
        return
    models = await hosts.models(max_age=_FRESH_SECONDS)
    if not hosts.may_have(request.model):
        named(models, request.model)


def _answered_by_another(request: ChatRequest, place: HostedModel, reply: Reply) -> LMStudioError | None:
    """What to say of a host that answers with another of its models; some answer under names that they do not list."""
    note = request.different_model(reply.answer.model)
    if note is None or place.host.details(reply.answer.model) in (None, place.host.details(request.model)):
        return None
    return ModelNotFoundError(note.message)


def _accepted(hosts: Hosts, place: HostedModel, request: ChatRequest, reply: Reply) -> Reply:
    hosts.answered(request, place)
    reply.when_judged(partial(_judged, hosts, place, request.entered))
    return reply


async def _while_up(request: ChatRequest, place: HostedModel, send: Send) -> Reply:
    """Sends it there; when the host goes down meanwhile, that is as if it had cut the connection.

    Raises:
        LMStudioError: it failed there.
    """
    down = endless()
    end = place.host.when_down(down)
    request.limits.append(down)
    try:
        return await _sent(request, place, send)
    except asyncio.CancelledError as error:
        if not down.passed():
            if request.is_late():
                place.fails(ModelTimeoutError("it did not answer in time"))
            raise
        raise NetworkError(f"{place.host.name} does not answer any more") from error
    finally:
        end()
        down.end()
        request.limits.remove(down)


def _sent(request: ChatRequest, place: HostedModel, send: Send) -> Awaitable[Reply]:
    request.url, request.host = place.host.url, place.host.name
    return send(request) if place.name == request.model else _sent_to_copy(request, place.name, send)


async def _sent_to_copy(request: ChatRequest, name: str, send: Send) -> Reply:
    asked, body = request.model, request.body
    request.model = name
    request.encode()
    try:
        return await send(request)
    finally:
        request.model, request.body = asked, body


def _judged(hosts: Hosts, place: HostedModel, entered: float, error: LMStudioError | None) -> None:
    if error is None:
        now = hosts.policy.clock.monotonic()
        place.pace.learn(now - entered, now)
        hosts.pace.learn(now - entered, now)
    elif counts(error):
        place.fails(error)
