"""How the hosts stand, as values to look at, to show, and to write as JSON."""

from __future__ import annotations

import msgspec

from neuroroute.details import ListingSource
from neuroroute.pipe.events import BreakerState, HostState
from neuroroute.pipe.host import Host
from neuroroute.pipe.hostedmodel import HostedModel


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A model on a host: one that is loaded there, or was asked there."""

    name: str
    """The id to ask for."""
    loaded: bool | None
    """Whether it was in memory when the host was last looked at; None: nobody knows."""
    context_length: int | None
    """Tokens that it was loaded with; None: nobody knows."""
    breaker: BreakerState
    """``closed``: it answers; ``open``: it is left alone; ``half_open``: one request tries whether it is back."""
    slots: int
    """How many requests it is asked at once."""
    under_way: int
    """Requests that it answers now."""
    waiting: int
    """Requests that wait for one of its slots."""
    answer_seconds: float | None
    """How long an answer takes there, of late; None: nobody knows, or there is but one host."""


class HostStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A host."""

    name: str
    """What it is called; its name and port, unless it was given another."""
    url: str
    """Its base URL."""
    state: HostState
    """``unknown`` until it was looked at; then ``up`` or ``down``; ``draining`` where it gets no new requests."""
    weight: float
    """How much it is preferred to a host of weight 1."""
    api: ListingSource | None
    """The best listing that it has: ``v1``, ``v0`` or ``openai``; None: it was not looked at."""
    lm_studio: bool | None
    """Whether it is an LM Studio; None: it was not looked at."""
    look_seconds: float | None
    """How long it took to answer when it was last looked at; None: it did not."""
    failure: str
    """Why it did not; empty where it did, or was not looked at."""
    listed: tuple[str, ...]
    """Keys of all models that it has, on disk or in memory."""
    models: tuple[ModelStatus, ...]
    """Those that are loaded, or were asked."""


def status_of(host: Host) -> HostStatus:
    """How a host stands."""
    names = [copy.id for listed in host.listings.last for copy in listed.instances]
    names += [model.name for model in host.models if model.name not in names]
    return HostStatus(
        name=host.name,
        url=host.url,
        state=host.state,
        weight=host.settings.weight,
        api=None if host.surface is None else host.surface.listing,
        lm_studio=None if host.surface is None else host.surface.lm_studio,
        look_seconds=host.look_seconds,
        failure="" if host.failure is None else host.failure.message,
        listed=tuple(listed.key for listed in host.listings.last),
        models=tuple(_of_model(host.model(name)) for name in names),
    )


def _of_model(model: HostedModel) -> ModelStatus:
    return ModelStatus(
        name=model.name,
        loaded=model.loaded,
        context_length=model.context_length,
        breaker=model.breaker.state,
        slots=model.slots,
        under_way=model.taken,
        waiting=model.waiting,
        answer_seconds=model.pace.seconds(model.host.policy.clock.monotonic()),
    )
