"""What is known of each host and its models: breakers, slots, the retry budget, the listing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from weakref import WeakKeyDictionary

import msgspec

from neuroroute.details import LoadedModel, ModelDetails
from neuroroute.errors import LMStudioError
from neuroroute.pipe.background import Background
from neuroroute.pipe.breaker import Breaker
from neuroroute.pipe.events import BreakerChanged, BreakerState, Tell
from neuroroute.pipe.gate import DEFAULT_SLOTS, Gate
from neuroroute.pipe.listings import Listings
from neuroroute.pipe.policies import BreakerPolicy
from neuroroute.pipe.reply import Clock
from neuroroute.pipe.retrybudget import RetryBudget
from neuroroute.requests import ChatRequest

SLOTS_KNOWN_SECONDS = 60.0
"""How long the number of slots that a server listed is taken for true."""

MOST_MODELS = 256
"""Models of a host that are remembered, so that made-up names do not fill the memory."""


class HostPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every host of an adapter."""

    breaker: BreakerPolicy
    retry_budget: float
    slots: int | None
    """As they were given; None: as many as the server lists."""
    clock: Clock
    random: Random
    tell: Tell
    background: Background
    list_models: Callable[[str], Awaitable[list[ModelDetails]]]
    """Lists the models of the host at a base URL."""


class HostedModel:
    """A model on a host."""

    def __init__(self, host: Host, name: str) -> None:
        self.name = name
        self.breaker = Breaker(host.policy.breaker, host.policy.clock.monotonic, host.policy.random, self._changed)
        self.has_answered = False
        """It was there once."""
        self.mending = 0
        """How many requests have it loaded again; what fails for want of it meanwhile tells nothing new."""
        self.context_length: int | None = None
        """Tokens that it was last seen loaded with."""
        self.details: ModelDetails | None = None
        """What the server last listed of it."""
        self.ask_details_at = -math.inf
        """When the server may be asked what it can do, where it has not told."""
        self._loaded_at = -math.inf
        self._host = host
        self._slots = host.policy.slots
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, Gate] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<HostedModel {self.name!r} at {self._host.name}: {self.breaker!r}, {list(self._gates.values())}>"

    @property
    def gate(self) -> Gate:
        """Its slots, for the running event loop."""
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = Gate(self._slots or DEFAULT_SLOTS, self._host.policy.clock.monotonic)
        return gate

    @property
    def is_idle(self) -> bool:
        """Nothing would be lost by forgetting it."""
        return self.breaker.state == "closed" and all(gate.is_idle for gate in self._gates.values())

    def learn(self, details: ModelDetails) -> None:
        """Takes over what the server lists of it."""
        self.details = details
        instances = [instance for instance in details.instances if instance.id == self.name] or details.instances
        if not instances:
            return
        self.context_length = instances[0].context_length
        if self._host.policy.slots is None and (parallel := instances[0].parallel):
            self._slots = parallel
            self._on_loops(lambda gate: gate.resize(parallel))

    async def loaded_by(self, key: str, load: Callable[[], Awaitable[LoadedModel]]) -> LoadedModel:
        """Has it loaded; who wants that while it is under way waits for the same load.

        Args:
            key: the model's own; there may be other names for it.
            load: what has it loaded.

        Raises:
            LMStudioError: it could not be loaded.
        """

        async def loaded() -> LoadedModel:
            result = await load()
            now = self._host.policy.clock.monotonic()
            if now - self._loaded_at >= self.breaker.policy.window / 1000:
                self.breaker.reset()  # what failed for want of it does not count; but a crash loop does
            self._loaded_at = now
            return result

        return await self._host.policy.background.result((self._host, key), loaded)

    def _changed(self, before: BreakerState, after: BreakerState, cause: LMStudioError | None) -> None:
        if after == "open":
            self._on_loops(lambda gate: gate.send_away(self.breaker.refusal))
        self._host.policy.tell(
            BreakerChanged(host=self._host.name, model=self.name, before=before, after=after, cause=cause)
        )

    def _on_loops(self, act: Callable[[Gate], None]) -> None:
        """On every gate, in the event loop that it is of."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        for loop, gate in list(self._gates.items()):
            if loop is running:
                act(gate)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(act, gate)


class Host:
    """A host, and what is known of it."""

    def __init__(self, url: str, name: str, policy: HostPolicy) -> None:
        self.url = url
        self.name = name
        self.policy = policy
        self.budget = RetryBudget(policy.retry_budget, policy.clock.monotonic)
        self.listings = Listings(policy.background, partial(policy.list_models, url), self._listed)
        self._models: dict[str, HostedModel] = {}

    def __repr__(self) -> str:
        return f"<Host {self.name}: {self.budget!r}, {len(self._models)} models>"

    def model(self, name: str) -> HostedModel:
        """What is known of a model; something is from now on."""
        model = self._models.get(name)
        if model is None:
            if len(self._models) >= MOST_MODELS:
                self._models = {name: one for name, one in self._models.items() if not one.is_idle}
            model = self._models[name] = HostedModel(self, name)
        return model

    def ask_for_slots(self) -> None:
        """Has the number of slots learnt, in the background, unless it is known."""
        if self.policy.slots is None:
            self.listings.ask(SLOTS_KNOWN_SECONDS)

    def _listed(self, models: list[ModelDetails]) -> None:
        for known in self._models.values():
            if (found := next((model for model in models if model.answers_to(known.name)), None)) is not None:
                known.learn(found)


class Hosts:
    """The hosts of an adapter."""

    def __init__(self, policy: HostPolicy) -> None:
        self.background = policy.background
        """What is done for many requests at once."""
        self._policy = policy
        self._hosts: dict[str, Host] = {}

    def host(self, url: str, name: str) -> Host:
        """The host at this base URL."""
        host = self._hosts.get(url)
        if host is None:
            host = self._hosts[url] = Host(url, name, self._policy)
        return host

    def of(self, request: ChatRequest) -> Host:
        """The host that a request goes to."""
        return self.host(request.url, request.host)

    def model(self, request: ChatRequest) -> HostedModel:
        """The model that a request asks, on its host."""
        return self.host(request.url, request.host).model(request.model)
