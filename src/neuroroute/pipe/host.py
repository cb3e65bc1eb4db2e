"""A host, and what is known of it: its models, its retry budget, its listing, whether it is up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from neuroroute.details import ModelDetails, Surface
from neuroroute.errors import LMStudioError, ModelUnavailableError
from neuroroute.hostlist import HostSettings
from neuroroute.limits import Limit
from neuroroute.pipe.events import HostChanged, HostState, bare
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.pipe.listings import Listings
from neuroroute.pipe.pace import Trouble
from neuroroute.pipe.policies import HostPolicy
from neuroroute.pipe.retrybudget import RetryBudget

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
        self.kept_waiting = False
        """It was slow to list its models, and is not waited for again."""
        self._waiting: set[Limit] = set()
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
        return self.loading > 0 or any(model.was_seen_loading for model in self._models.values())

    @property
    def models(self) -> tuple[HostedModel, ...]:
        """The models that were asked for there, with their breakers and slots."""
        return tuple(self._models.values())

    @property
    def loaded_models(self) -> int:
        """How many models it had in memory when it was last asked."""
        return sum(bool(model.loaded) for model in self.listings.last)

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
        """Sends it no new requests; those that are under way go on, those that wait for a slot go elsewhere."""
        self._go("draining", value=True)
        for model in self._models.values():
            model.send_away(partial(ModelUnavailableError, f"{self.name} is drained"))

    def resume(self) -> None:
        """Sends it requests again."""
        self._go("draining", value=False)

    def seen(self, surface: Surface, seconds: float) -> None:
        """It was looked at, and answered."""
        self.surface, self.look_seconds, self.failure = surface, seconds, None
        self._go("down", value=False)

    def answers(self) -> None:
        """It answered something, which proves that it is up."""
        self.failure = None
        self._go("down", value=False)

    def not_seen(self, failure: LMStudioError, *, down: bool) -> None:
        """It was looked at in vain."""
        self.look_seconds, self.failure = None, bare(failure)
        self.failure.host = self.name
        if down:
            self._go("down", value=True)
            for limit in tuple(self._waiting):
                limit.fire()

    def when_down(self, limit: Limit) -> Callable[[], None]:
        """Has a limit fired when the host goes down; gives what ends that."""
        self._waiting.add(limit)
        return partial(self._waiting.discard, limit)

    def _go(self, what: str, *, value: bool) -> None:
        before = self.state
        if getattr(self, what) == value:
            return
        setattr(self, what, value)
        self._changed()
        if self.state != before:
            self.policy.tell(HostChanged(host=self.name, model="", before=before, after=self.state))

    def _listed(self, models: list[ModelDetails]) -> None:
        is_news = not self.has_listed or models != self.listings.last
        for known in self._models.values():
            if (found := next((model for model in models if model.answers_to(known.name)), None)) is not None:
                known.learn(found)
        self.trouble.ends()
        if is_news:
            self.has_listed = True
            self._changed()
        self.answers()
