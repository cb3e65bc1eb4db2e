"""A model on a host: its breaker, its slots, its pace."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from neuroroute.details import LoadedModel, ModelDetails
from neuroroute.errors import LMStudioError, ModelAuthenticationError, NetworkError
from neuroroute.pipe.breaker import Breaker
from neuroroute.pipe.events import BreakerChanged, BreakerState
from neuroroute.pipe.gate import DEFAULT_SLOTS, Gate
from neuroroute.pipe.pace import Pace, Trouble

if TYPE_CHECKING:
    from neuroroute.pipe.host import Host


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
        self.absent = False
        """It was listed as not loaded, and nothing has answered since."""
        self._first_requests: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[None]] = WeakKeyDictionary()
        self._loads_until = -math.inf
        self._loaded_at = -math.inf
        self.host = host
        self.pace = Pace()
        """How long its answers take."""
        self._trouble = Trouble()
        self._slots = host.slots
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, Gate] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<HostedModel {self.name!r} at {self.host.name}: {self.breaker!r}, {list(self._gates.values())}>"

    @property
    def gate(self) -> Gate:
        """Its slots, for the running event loop."""
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = Gate(self.slots, self.host.policy.clock.monotonic)
        return gate

    @property
    def taken(self) -> int:
        """Requests that it answers now."""
        return sum(gate.taken for gate in list(self._gates.values()))

    @property
    def waiting(self) -> int:
        """Requests that wait for one of its slots."""
        return sum(gate.queue_length for gate in list(self._gates.values()))

    @property
    def slots(self) -> int:
        """How many requests it is asked at once."""
        return self._slots or DEFAULT_SLOTS

    @property
    def loaded(self) -> bool | None:
        """Whether it was in memory when the host was last asked; None: nobody knows."""
        return None if self.details is None else self.details.loaded

    @property
    def is_idle(self) -> bool:
        """Nothing would be lost by forgetting it."""
        return self.breaker.state == "closed" and all(gate.is_idle for gate in self._gates.values())

    def learn(self, details: ModelDetails) -> None:
        """Takes over what the server lists of it."""
        self.details, self.absent = details, details.loaded is False
        if not self.absent:
            self._is_loaded()
        instances = [instance for instance in details.instances if instance.id == self.name] or details.instances
        if not instances:
            return
        self.context_length = instances[0].context_length
        if self.host.slots is None and (parallel := instances[0].parallel):
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
            now = self.host.policy.clock.monotonic()
            if now - self._loaded_at >= self.breaker.policy.window / 1000:
                self.breaker.reset()  # what failed for want of it does not count; but a crash loop does
            self._loaded_at = now
            return result

        self.host.loading += 1
        try:
            return await self.host.policy.background.result((self.host, key), loaded)
        finally:
            self.host.loading -= 1

    @property
    def has_it(self) -> bool:
        """Whether the host listed it when it was last asked."""
        return self.host.details(self.name) is not None

    @property
    def was_seen_loading(self) -> bool:
        """Whether the server said that it loads it, and may still do so; then its host may be slow, and is not down."""
        return self._loads_until > self.host.policy.clock.monotonic()

    @property
    def is_loading(self) -> bool:
        """Whether a load of it is taken to be under way, so that no other need be begun."""
        return any(not first.done() for first in self._first_requests.values()) or self.was_seen_loading

    def seen_loading(self, milliseconds: float) -> None:
        """It was seen to load, and may do so for so long."""
        self._loads_until = self.host.policy.clock.monotonic() + milliseconds / 1000

    def load_under_way(self) -> asyncio.Task[Any] | None:
        """The load that was asked for and is under way."""
        key = self.name if self.details is None else self.details.key
        return self.host.policy.background.under_way((self.host, key))

    def first_request(self) -> asyncio.Future[None] | None:
        """Of a model that is not loaded: done when the request that has it loaded is over."""
        first = self._first_requests.get(asyncio.get_running_loop())
        return None if first is None or first.done() else first

    def begin_first_request(self) -> Callable[[], None]:
        """The others wait for this one, so that the server does not load it once for each; gives what ends that."""
        loop = asyncio.get_running_loop()
        first = self._first_requests[loop] = loop.create_future()

        def end() -> None:
            if self._first_requests.get(loop) is first:
                del self._first_requests[loop]
            _end(first)

        return end

    def _is_loaded(self) -> None:
        """Nobody need wait for the first request any more."""
        self.absent = False
        for loop, first in list(self._first_requests.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_end, first)

    def fails(self, error: LMStudioError) -> None:
        """It failed a request: for a while others are preferred, and to its whole host where nobody answered."""
        now, at_least = self.host.policy.clock.monotonic(), (error.retry_after_ms or 0.0) / 1000
        of_host = isinstance(error, (NetworkError, ModelAuthenticationError))
        (self.host.trouble if of_host else self._trouble).fails(now, at_least)

    def answers(self) -> None:
        """It had an answer."""
        self.absent = False
        self._loads_until = -math.inf
        self._trouble.ends()
        self.host.trouble.ends()

    def in_trouble(self, now: float) -> bool:
        """Whether it failed so lately that others are preferred."""
        return self._trouble.lasts(now) or self.host.trouble.lasts(now)

    def send_away(self, why: Callable[[], LMStudioError]) -> None:
        """Fails all who wait for one of its slots."""
        self._on_loops(lambda gate: gate.send_away(why))

    def _changed(self, before: BreakerState, after: BreakerState, cause: LMStudioError | None) -> None:
        if after == "open":
            self.send_away(self.breaker.refusal)
        self.host.policy.tell(
            BreakerChanged(host=self.host.name, model=self.name, before=before, after=after, cause=cause)
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


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
