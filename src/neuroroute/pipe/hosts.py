"""What is known of each host and its models: breakers, slots, the retry budget, the listing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from functools import partial

from neuroroute.details import ModelDetails, Surface, merged
from neuroroute.errors import LMStudioError
from neuroroute.hostlist import HostSettings
from neuroroute.pipe.affinity import Affinity
from neuroroute.pipe.choice import best, expected_seconds, has_free_slot
from neuroroute.pipe.events import HostChanged, HostState, bare
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.listings import Listings
from neuroroute.pipe.pace import Pace, Trouble
from neuroroute.pipe.places import Places
from neuroroute.pipe.policies import HostPolicy
from neuroroute.pipe.retrybudget import RetryBudget
from neuroroute.requests import ChatRequest

SLOTS_KNOWN_SECONDS = 60.0
"""How long the number of slots that a server listed is taken for true."""

MOST_MODELS = 256
"""Models of a host that are remembered, so that made-up names do not fill the memory."""


class Host:
    """A host, and what is known of it."""

    def __init__(self, settings: HostSettings, policy: HostPolicy, changed: Callable[[], None]) -> None:
        self.settings = settings
        self.policy = policy
        self.slots = policy.slots if settings.slots is None else settings.slots
        """As they were given; None: as many as the server lists."""
        self.budget = RetryBudget(policy.retry_budget, policy.clock.monotonic)
        self.listings = Listings(policy.background, partial(policy.list_models, settings.url), self._listed)
        self.trouble = Trouble()
        self.loading = 0
        """How many loads are under way that were asked for here."""
        self.loads_until = -math.inf
        """Until when it may load a model that a request waits for."""
        self.has_listed = False
        """What it lists is known."""
        self.draining = False
        """It gets no new requests."""
        self.down = False
        """It did not answer when it was last looked at."""
        self.surface: Surface | None = None
        """Which APIs it has; None: it was not looked at."""
        self.look_seconds: float | None = None
        """How long it took to answer when it was last looked at."""
        self.failure: LMStudioError | None = None
        """Why it could not be looked at the last time."""
        self._models: dict[str, HostedModel] = {}
        self._changed = changed

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.state}: {self.budget!r}, {len(self._models)} models>"

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.settings.url

    @property
    def name(self) -> str:
        """What it is called; its name and port, unless it was given another."""
        return self.settings.name

    @property
    def state(self) -> HostState:
        """``unknown`` until it was looked at or listed its models; then ``up`` or ``down``, or ``draining``."""
        if self.draining:
            return "draining"
        if self.down:
            return "down"
        return "up" if self.has_listed else "unknown"

    @property
    def is_loading(self) -> bool:
        """Whether it is known to load a model: asked to, or seen to do so for a request that waits."""
        return self.loading > 0 or self.policy.clock.monotonic() < self.loads_until

    @property
    def models(self) -> tuple[HostedModel, ...]:
        """The models that were asked for there, with their breakers and slots."""
        return tuple(self._models.values())

    @property
    def under_way(self) -> int:
        """Requests that it answers now."""
        return sum(model.taken for model in self._models.values())

    def model(self, name: str) -> HostedModel:
        """What is known of a model; something is from now on."""
        model = self._models.get(name)
        if model is None:
            if len(self._models) >= MOST_MODELS:
                self._models = {name: one for name, one in self._models.items() if not one.is_idle}
                self._changed()  # what was forgotten is no place any more
            model = self._models[name] = HostedModel(self, name)
            if (details := self.details(name)) is not None:
                model.learn(details)
        return model

    def details(self, model: str) -> ModelDetails | None:
        """What it listed of a model when it was last asked; asks nothing."""
        return next((known for known in self.listings.last if known.answers_to(model)), None)

    def ask_for_slots(self) -> None:
        """Has the number of slots learnt, in the background, unless it is known."""
        if self.slots is None:
            self.listings.ask(SLOTS_KNOWN_SECONDS)

    def drain(self) -> None:
        """Sends it no new requests; those that are under way go on."""
        self._go("draining", value=True)

    def resume(self) -> None:
        """Sends it requests again."""
        self._go("draining", value=False)

    def seen(self, surface: Surface, seconds: float) -> None:
        """It was looked at, and answered."""
        self.surface, self.look_seconds, self.failure = surface, seconds, None
        self._go("down", value=False)

    def not_seen(self, failure: LMStudioError, *, down: bool) -> None:
        """It was looked at in vain."""
        self.look_seconds, self.failure = None, bare(failure)
        if down:
            self._go("down", value=True)

    def _go(self, what: str, *, value: bool) -> None:
        before = self.state
        if getattr(self, what) == value:
            return
        setattr(self, what, value)
        self._changed()
        self.policy.tell(HostChanged(host=self.name, model="", before=before, after=self.state))

    def _listed(self, models: list[ModelDetails]) -> None:
        before, known_already = self.state, self.has_listed and models == self.listings.last
        for known in self._models.values():
            if (found := next((model for model in models if model.answers_to(known.name)), None)) is not None:
                known.learn(found)
        self.trouble.ends()
        if known_already and not self.down:
            return
        self.has_listed, self.down = True, False
        self._changed()
        if before == "down":
            self.policy.tell(HostChanged(host=self.name, model="", before=before, after=self.state))


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
        """Where a request goes as far as can be told now, for whoever asks before it is sent."""
        place = self.only_place(request.model) or self.choose(request)
        if place is not None:
            self.send_to(request, place)
        else:
            request.url, request.host = self.all[0].url, self.all[0].name

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
