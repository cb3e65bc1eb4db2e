"""The circuit breaker: a server that fails is left alone for a while, then asked by one request alone.

::

               half of at least 5 attempts in 60 s failed
     closed ─────────────────────────────────────────────► open ◄───────────────┐
       ▲                                                     │                  │ the probe failed:
       │                                       30 s later, by the next attempt  │ open for longer
       │ the probe had its first chunk                       ▼                  │
       └──────────────────────────────────────────────── half_open ─────────────┘

=========== =================== =========================== ========================== ==========================
state       an attempt          it succeeds                 it fails                   it is left, or not counted
=========== =================== =========================== ========================== ==========================
closed      goes                counted                     counted; open if too many  forgotten
open        CircuitOpenError    late: ignored               late: ignored              ignored
half_open   one goes at a time  the probe closes it         the probe opens it         the probe's permit is back
=========== =================== =========================== ========================== ==========================

``force_open()`` leads from everywhere to an open that only ``reset()`` ends; ``reset()`` leads from everywhere to
closed. Only this file touches the state. A permit carries the generation in which it was given: what is told of an
earlier one is ignored. A probe that is heard of no more loses its turn when its lease ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from neuroroute.errors import (
    AdapterClosedError,
    CircuitOpenError,
    LMStudioError,
    MalformedResponseError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    StreamInterruptedError,
    is_loading,
)
from neuroroute.pipe.events import BreakerState, bare
from neuroroute.pipe.policies import BreakerPolicy
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.pipe.window import SlidingWindow
from neuroroute.requests import ChatRequest

if TYPE_CHECKING:
    from neuroroute.pipe.hosts import Hosts

COUNTED = (
    ModelUnavailableError,
    ModelTimeoutError,
    NetworkError,
    StreamInterruptedError,
    MalformedResponseError,
)
"""Failures on the server's side; a caller's mistakes and 429 never count."""

_ONE_EVENT = ("crashed", "unloaded", "no_models")
"""Reasons that fail all requests of a model at once: one event, which counts once."""

_USED = -1
"""No generation: of a permit that was told of."""

_PROBE_MS = 1000.0
"""When to come back while a probe is under way; nobody knows how long it takes."""


def counts(error: LMStudioError) -> bool:
    """Whether a failure is the server's: while a model loads, waiting is not failing, and a closed adapter is ours."""
    return isinstance(error, COUNTED) and not is_loading(error) and not isinstance(error, AdapterClosedError)


OnChange: TypeAlias = Callable[[BreakerState, BreakerState, "LMStudioError | None"], None]
"""Is told the state before, the state after, and the failure that caused it."""


class Permit:
    """Leave to make one attempt; :meth:`Breaker.judge` is told once how that went, what it is told later is ignored."""

    __slots__ = ("events", "generation", "probe", "slow")

    def __init__(self, generation: int, events: int, *, probe: bool) -> None:
        self.events = events
        """How many events had failed requests of the model when it was given."""
        self.generation = generation
        """The breaker's, when it was given; each permit of a probe has one of its own."""
        self.probe = probe
        self.slow = False
        """Its first chunk took too long."""


class Breaker:
    """The circuit breaker of one model on one host."""

    def __init__(
        self, policy: BreakerPolicy, monotonic: Callable[[], float], random: Random, on_change: OnChange
    ) -> None:
        """Closed.

        Args:
            policy: when it opens, and for how long.
            monotonic: the time, in seconds that only go forward.
            random: the source of jitter.
            on_change: is told every transition, once it is made.
        """
        self.policy = policy
        self._now = monotonic
        self._random = random
        self._on_change = on_change
        self._state: BreakerState = "closed"
        self._generation = 0
        self._window = SlidingWindow(policy.window / 1000)
        self._forced = False
        self._due = 0.0
        """When it lets a probe through."""
        self._openings = 0
        """How often it opened since it was last closed."""
        self._lease = 0.0
        """Until when the probe has its turn; 0: no probe is out."""
        self._cause: LMStudioError | None = None
        self._events = 0
        """How many times the model was gone, by what attempts told."""

    @property
    def state(self) -> BreakerState:
        """``closed``, ``open`` or ``half_open``; an open breaker becomes half-open by the attempt that probes."""
        return self._state

    def __repr__(self) -> str:
        now = self._now()
        if self._state == "closed":
            calls, failures, _ = self._window.counts(now)
            return f"<Breaker closed, {failures} of {calls} failed>"
        if self._state == "half_open":
            return f"<Breaker half_open, {'a probe is out' if now < self._lease else 'no probe is out'}>"
        if self._forced:
            return "<Breaker open, by force>"
        left = self._due - now
        return f"<Breaker open, {left:.0f} s left>" if left > 0 else "<Breaker open, the next request probes>"

    def force_open(self) -> None:
        """Lets nothing through until :meth:`reset`."""
        self._forced = True
        self._go("open", None)

    def reset(self) -> None:
        """Closes it, and forgets what failed."""
        self._close()

    @property
    def refuses(self) -> bool:
        """Whether an attempt would be refused now."""
        if self._state == "closed":
            return False
        if self._state == "half_open":
            return self._now() < self._lease
        return self._forced or self._now() < self._due

    @property
    def refuses_for(self) -> float:
        """Seconds until an attempt may go through; of one that was opened by force, for ever."""
        if not self.refuses:
            return 0.0
        return math.inf if self._forced else (self._lease if self._state == "half_open" else self._due) - self._now()

    def check(self) -> None:
        """Takes nothing.

        Raises:
            CircuitOpenError: an attempt would be refused now.
        """
        if self.refuses:
            raise self.refusal()

    def admit(self) -> Permit:
        """A permit for one attempt.

        Raises:
            CircuitOpenError: it is refused.
        """
        self.check()
        if self._state == "closed":
            return Permit(self._generation, self._events, probe=False)
        if self._state == "open":
            self._go("half_open", None)
        else:
            self._generation += 1  # whatever became of the probe before, it is too late to tell
        self._lease = self._now() + self.policy.probe_lease / 1000
        return Permit(self._generation, self._events, probe=True)

    def judge(self, permit: Permit, error: LMStudioError | None) -> None:
        """An attempt is over; whether its error counts is decided here. None: it had its answer."""
        if not self._use(permit):
            return
        if error is not None and not counts(error):
            self._return(permit)
        elif not permit.probe:
            if error is None or self._is_news(error, permit):
                self._count(error, slow=permit.slow)
        elif error is None and not permit.slow:
            self._close()
        else:
            self._open(error)

    def give_back(self, permit: Permit) -> None:
        """Nothing is known of an attempt: it was left before its answer."""
        if self._use(permit):
            self._return(permit)

    def probe_soon(self) -> None:
        """The server was seen to be up: if it is open (and not by force), the next attempt may probe."""
        if self._state == "open":
            self._due = min(self._due, self._now())

    def refusal(self) -> CircuitOpenError:
        """The error of an attempt that is refused."""
        if self._forced:
            hint = "Close it with adapter.breaker.reset()."
            return CircuitOpenError("circuit breaker open: it was opened by force", hint=hint)
        wait_ms = max((self._due - self._now()) * 1000, 0.0) if self._state == "open" else _PROBE_MS
        what = "too many of its last answers were slow"
        if self._cause is not None:
            what = f"too many of its last answers failed (the last: {self._cause.code}, {self._cause.message})"
        hint = f"In about {round(wait_ms / 1000, 1):g} s one request is let through to see whether the server is back."
        error = CircuitOpenError(f"circuit breaker open: {what}", retry_after_ms=wait_ms, hint=hint)
        error.__cause__ = self._cause
        return error

    def _use(self, permit: Permit) -> bool:
        """Whether this is told for the first time, and not too late."""
        generation, permit.generation = permit.generation, _USED
        return generation == self._generation

    def _is_news(self, error: LMStudioError, permit: Permit) -> bool:
        """Whether this tells of an event that no other attempt told of before."""
        if not isinstance(error, ModelUnavailableError) or error.reason not in _ONE_EVENT:
            return True
        if permit.events < self._events:  # it was under way when the model went
            return False
        self._events += 1
        return True

    def _return(self, permit: Permit) -> None:
        if permit.probe:
            self._lease = 0.0

    def _count(self, error: LMStudioError | None, *, slow: bool) -> None:
        now = self._now()
        self._window.add(now, failed=error is not None, slow=slow and error is None)
        calls, failures, slows = self._window.counts(now)
        if calls < self.policy.minimum_calls:
            return
        if error is not None and failures >= self.policy.failure_ratio * calls:
            self._open(error)
        elif slow and slows >= self.policy.slow_ratio * calls:
            self._open(None)

    def _open(self, cause: LMStudioError | None) -> None:
        first, most = self.policy.open_for / 1000, self.policy.max_open_for / 1000
        wait = first
        if self._openings:
            doubled = min(first * 2.0 ** min(self._openings, 64), most)
            wait = self._random.uniform(max(doubled / 2, first), doubled)
        self._openings += 1
        self._due = self._now() + wait
        self._go("open", cause)

    def _close(self) -> None:
        self._forced = False
        self._openings = 0
        self._go("closed", None)

    def _go(self, state: BreakerState, cause: LMStudioError | None) -> None:
        before, self._state = self._state, state
        self._generation += 1
        self._lease = 0.0
        if state != "half_open":
            self._cause = None if cause is None else bare(cause)
            self._window.clear()
        if before != state:
            self._on_change(before, state, self._cause)


def breaker(hosts: Hosts, clock: Clock, slow_first_chunk: float | None) -> Layer:
    """The layer: one attempt, judged when it is over; a probe with its first chunk, since all others wait for it."""
    slow_after = None if slow_first_chunk is None else slow_first_chunk / 1000

    async def layer(request: ChatRequest, send: Send) -> Reply:
        model = hosts.model(request)
        of_model = model.breaker
        permit = of_model.admit()
        began = clock.monotonic() if slow_after is not None else 0.0
        try:
            reply = await send(request)
        except LMStudioError as error:
            if model.mending:
                of_model.give_back(permit)
            of_model.judge(permit, error)
            raise
        except BaseException:
            if request.is_late():
                of_model.judge(permit, ModelTimeoutError("no answer within the deadline"))
            of_model.give_back(permit)
            raise
        if slow_after is not None and request.streaming:
            permit.slow = clock.monotonic() - began > slow_after
        if permit.probe:
            of_model.judge(permit, None)
        else:
            reply.when_judged(partial(of_model.judge, permit))
        return reply

    return layer
