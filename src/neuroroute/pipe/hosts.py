"""The hosts of an adapter, and which of them a request goes to."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from functools import partial

from neuroroute.details import ModelDetails, merged
from neuroroute.errors import LMStudioError
from neuroroute.hostlist import HostSettings
from neuroroute.pipe.affinity import Affinity
from neuroroute.pipe.choice import Fit, best, expected_seconds, has_free_slot, price_of_loading, to_load_on
from neuroroute.pipe.host import Host
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.pace import Pace
from neuroroute.pipe.places import Places, only
from neuroroute.pipe.policies import HostPolicy
from neuroroute.requests import ChatRequest

SLOW_LISTING_SECONDS = 0.25
"""How long other hosts may take to list their models, once one has ..."""
NEW_LISTING_SECONDS = 1.0
"""... and one of which nothing is known yet, the first time."""


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

    def token_of(self, url: str) -> str | None:
        """The token of the host at this base URL, if it has one of its own."""
        host = self._hosts.get(url)
        return None if host is None else host.settings.api_token

    def of(self, request: ChatRequest) -> Host:
        """The host that a request goes to."""
        return self._hosts[request.url]

    def model(self, request: ChatRequest) -> HostedModel:
        """The model that a request asks, on its host."""
        return self._hosts[request.url].model(request.model)

    def places(self, model: str) -> list[HostedModel]:
        """Everywhere that a model may be asked, the best first."""
        return [place for tier in self._places.of(model) for place in tier.places]

    def may_have(self, model: str) -> bool:
        """Whether a host lists the model, or tells too little to say that it has not."""
        tiers = self._places.of(model)
        return not (tiers and tiers[0].absent)

    def is_loaded(self, model: str) -> bool:
        """Whether a host is known that has it in memory."""
        return any(place.loaded for place in self.places(model))

    def hosts_for(self, model: str) -> list[Host]:
        """The hosts to load a model on: those that have it loaded before those that have it, then the emptiest."""
        tiers = self._places.of(model)
        hosts = dict.fromkeys(place.host for tier in tiers for place in tier.places) if tiers else self.all
        loaded = {place.host for place in self.places(model) if place.loaded}
        return sorted(hosts, key=lambda host: (host.down, host not in loaded, host.loaded_models))

    def only_place(self, model: str) -> HostedModel | None:
        """The place where a model may be asked; None where there are several, or none."""
        tiers = self._places.of(model)
        return tiers[0].places[0] if len(tiers) == 1 and len(tiers[0].places) == 1 else None

    def choose(
        self, request: ChatRequest, tried: Collection[HostedModel] = (), suits: Fit | None = None
    ) -> HostedModel | None:
        """Where a request goes.

        Has the model loaded before could load it; where the conversation was answered last, if a slot is free there;
        else whoever is expected to answer first. Those that failed a moment ago come after those that did not. When
        every breaker refuses, the one that is due soonest lets one request through at once.

        Args:
            request: for its model, and the conversation that it goes on with.
            tried: where it was sent before.
            suits: whether the model can do there what the request needs; where none can, that is no matter.

        Returns:
            None where it was tried everywhere, or there is no host.
        """
        now = self.policy.clock.monotonic()
        usual = self.pace.seconds(now)
        cost = partial(expected_seconds, now=now, usual=1.0 if usual is None else usual)
        last = self._affinity.place(request)

        def can(place: HostedModel) -> bool:
            return place not in tried and not place.breaker.refuses

        def fit(place: HostedModel) -> bool:
            return can(place) and not place.in_trouble(now)

        tiers = self._places.of(request.model)
        if suits is not None:
            tiers = only(tiers, suits) or tiers
        for tier in tiers:
            if last is not None and last in tier.members and fit(last) and has_free_slot(last):
                return last
            among, price = (tier.places, cost) if not tier.loads else (to_load_on(tier.places, fit), price_of_loading)
            for which in (fit, can):
                if (place := best(among, price, which, self.policy.random)) is not None:
                    return place
        return None if tried else self._due_soonest(request.model)

    def assign(self, request: ChatRequest) -> None:
        """Where a request may go, for whoever asks before that is chosen: a host that has its model, if one has."""
        tiers = self._places.of(request.model)
        host = tiers[0].places[0].host if tiers else self.all[0]
        request.url, request.host = host.url, host.name

    async def models(self, *, max_age: float = 0.0) -> list[ModelDetails]:
        """The models of all hosts that are in service, each model once.

        A host that is slow to tell is not waited for once another has told: what it listed last counts.

        Args:
            max_age: seconds that may have passed since they were listed.

        Raises:
            LMStudioError: no host gives a listing: the error of the first.
        """
        if len(self.all) == 1:
            return await self.all[0].listings.models(max_age=max_age)
        there = [host for host in self.all if not (host.down or host.draining)] or [*self.all]
        asked = {host: asyncio.ensure_future(_listing(host, max_age)) for host in there}
        pending = set(asked.values())
        try:
            while pending and not any(task.done() and isinstance(task.result(), list) for task in asked.values()):
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            late = [host for host in there if asked[host] in pending]
            if late:
                new = any(not (host.has_listed or host.kept_waiting) for host in late)
                _, pending = await asyncio.wait(pending, timeout=NEW_LISTING_SECONDS if new else SLOW_LISTING_SECONDS)
                for host in late:
                    host.kept_waiting = asked[host] in pending
        finally:
            for task in asked.values():
                task.cancel()  # the listing itself goes on
        told = {host: host.listings.last for host in there if asked[host] in pending and host.has_listed}
        failures: list[LMStudioError] = []
        for host in there:
            if asked[host] not in pending:
                listing = asked[host].result()
                if isinstance(listing, LMStudioError):
                    failures.append(listing)
                else:
                    told[host] = listing
        if len(failures) == len(there):
            raise failures[0]
        return merged({host.name: told[host] for host in there if host in told})

    def refuses(self, model: str) -> bool:
        """Whether every place of a model would refuse a request now."""
        return all(place.breaker.refuses for place in self.places(model))

    def answered(self, request: ChatRequest, place: HostedModel) -> None:
        """A place has begun to answer a request."""
        place.answers()
        place.host.answers()
        self._affinity.keep(request, place)

    def _due_soonest(self, model: str) -> HostedModel | None:
        places = self.places(model)
        if not places:
            return None
        soonest = min(places, key=lambda place: place.breaker.refuses_for)
        if len(places) > 1:
            soonest.breaker.probe_soon()
        return soonest


async def _listing(host: Host, max_age: float) -> list[ModelDetails] | LMStudioError:
    """What a host lists, or why it does not."""
    try:
        return await host.listings.models(max_age=max_age)
    except LMStudioError as error:
        host.not_seen(error, down=False)
        return error
