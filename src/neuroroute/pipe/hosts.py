"""The hosts of an adapter, and which of them a request goes to."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from functools import partial

from neuroroute.details import ModelDetails, merged
from neuroroute.errors import LMStudioError
from neuroroute.hostlist import HostSettings
from neuroroute.pipe.affinity import Affinity
from neuroroute.pipe.choice import best, expected_seconds, has_free_slot
from neuroroute.pipe.host import Host
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.pace import Pace
from neuroroute.pipe.places import Places
from neuroroute.pipe.policies import HostPolicy
from neuroroute.requests import ChatRequest


class Hosts:
    """The hosts of an adapter, and which of them a request goes to."""

    def __init__(self, policy: HostPolicy) -> None:
        self.background = policy.background
        """What is done for many requests at once."""
        self.policy = policy
        self.pace = Pace()
        """How long an answer takes, whoever gives it."""
        self._places = Places()
        self._affinity = Affinity()
        self._hosts: dict[str, Host] = {}

    @property
    def all(self) -> tuple[Host, ...]:
        """Those that requests go to."""
        return self._places.hosts

    def use(self, settings: Sequence[HostSettings]) -> None:
        """From now on requests go to these."""
        self._places.hosts = tuple(map(self.host, settings))
        self._places.changed()

    def host(self, settings: HostSettings) -> Host:
        """The host of these settings; what is known of it stays."""
        host = self._hosts.get(settings.url)
        if host is None or host.settings != settings:
            host = self._hosts[settings.url] = Host(settings, self.policy, self._places.changed)
        return host

    def of(self, request: ChatRequest) -> Host:
        """The host that a request goes to."""
        return self._hosts[request.url]

    def model(self, request: ChatRequest) -> HostedModel:
        """The model that a request asks, on its host."""
        return self._hosts[request.url].model(request.model)

    def places(self, model: str) -> list[HostedModel]:
        """Everywhere that a model may be asked, the best first."""
        return [place for tier in self._places.of(model) for place in tier]

    def is_loaded(self, model: str) -> bool:
        """Whether a host is known that has it in memory."""
        return any(place.loaded for place in self.places(model))

    def host_for(self, model: str) -> Host:
        """The host to load a model on: one that has it loaded, else one that has it on disk and the fewest loaded."""
        if len(self.all) == 1:
            return self.all[0]
        tiers = self._places.of(model)
        hosts = [place.host for place in tiers[0]] if tiers else [*self.all]
        return min(hosts, key=lambda host: sum(bool(known.loaded) for known in host.listings.last))

    def only_place(self, model: str) -> HostedModel | None:
        """The place where a model may be asked; None where there are several, or none."""
        tiers = self._places.of(model)
        return tiers[0][0] if len(tiers) == 1 and len(tiers[0]) == 1 else None

    def choose(self, request: ChatRequest, tried: Collection[HostedModel] = ()) -> HostedModel | None:
        """Where a request goes.

        Has the model loaded before could load it; free slots before full ones; where the conversation was answered
        last; else whoever is expected to answer first. Those that failed a moment ago come after those that did not.
        When every breaker refuses, the one that is due soonest lets one request through at once.

        Args:
            request: for its model, and the conversation that it goes on with.
            tried: where it was sent before.

        Returns:
            None where it was tried everywhere, or there is no host.
        """
        now = self.policy.clock.monotonic()
        usual = self.pace.seconds(now)
        cost = partial(expected_seconds, now=now, usual=1.0 if usual is None else usual)
        last = self._affinity.place(request)
        if (previous := request.options["previous"]) is not None:  # who gave that answer may remember it
            there = (place for place in self.places(request.model) if place.host.name == previous.host)
            last = next(there, last)

        def can(place: HostedModel) -> bool:
            return place not in tried and not place.breaker.refuses

        def fit(place: HostedModel) -> bool:
            return can(place) and not place.in_trouble(now)

        for tier in self._places.of(request.model):
            if last is not None and last in tier and fit(last) and has_free_slot(last):
                return last
            for which in (fit, can):
                if (place := best(tier, cost, which, self.policy.random)) is not None:
                    return place
        return None if tried else self._due_soonest(request.model)

    def assign(self, request: ChatRequest) -> None:
        """Where a request may go, for whoever asks before that is chosen: a host that has its model, if one has."""
        tiers = self._places.of(request.model)
        host = tiers[0][0].host if tiers else self.all[0]
        request.url, request.host = host.url, host.name

    async def models(self, *, max_age: float = 0.0) -> list[ModelDetails]:
        """The models of all hosts that are not known to be down, each model once.

        Args:
            max_age: seconds that may have passed since they were listed.

        Raises:
            LMStudioError: no host gives a listing: the error of the first.
        """
        if len(self.all) == 1:
            return await self.all[0].listings.models(max_age=max_age)
        there = [host for host in self.all if not host.down] or self.all
        asked = [host.listings.models(max_age=max_age) for host in there]
        listed = dict(zip(there, await asyncio.gather(*asked, return_exceptions=True), strict=True))
        failures = [one for one in listed.values() if isinstance(one, BaseException)]
        if len(failures) == len(listed) or any(not isinstance(one, LMStudioError) for one in failures):
            raise failures[0]
        return merged({host.name: models for host, models in listed.items() if not isinstance(models, BaseException)})

    def send_to(self, request: ChatRequest, place: HostedModel) -> None:
        """The request goes there."""
        request.url, request.host = place.host.url, place.host.name

    def refuse(self, request: ChatRequest) -> bool:
        """Whether every place would refuse the request now."""
        return all(place.breaker.refuses for place in self.places(request.model))

    def answered(self, request: ChatRequest, place: HostedModel) -> None:
        """A place has begun to answer a request."""
        place.answers()
        self._affinity.keep(request, place)

    def _due_soonest(self, model: str) -> HostedModel | None:
        places = self.places(model)
        if not places:
            return None
        soonest = min(places, key=lambda place: place.breaker.refuses_for)
        if len(places) > 1:
            soonest.breaker.probe_soon()
        return soonest
