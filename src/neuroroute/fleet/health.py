"""Whether the hosts of a fleet are up: each is asked for its listing now and then, while there are requests.

An adapter that idles asks nobody. Nothing here runs a completion, loads a model, or feeds a breaker.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import TypeAlias

from neuroroute.details import Surface
from neuroroute.errors import (
    LMStudioError,
    ModelNotFoundError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
)
from neuroroute.pipe.background import Background
from neuroroute.pipe.events import Event, FailedOver
from neuroroute.pipe.host import Host
from neuroroute.pipe.reply import Clock

EVERY_SECONDS = 5.0
"""How long a host that answered is not looked at; one that did not, twice as long each time ..."""
LONGEST_SECONDS = 60.0
"""... but no longer than this."""
AGAIN_SECONDS = 1.0
"""How long after a look that failed without proof that the host is down."""
JITTER = 0.2
"""The share by which that is shorter or longer, so that hosts are not all looked at at once."""
FIRST_LOOK_SECONDS = 1.0
"""How long the first request waits for what the hosts have, at most."""
GRACE_SECONDS = 0.1
"""How long it waits for the others, once one has the model, so that a first burst is spread over all."""
SLOW_LOOKS = 3
"""A host that is slow to answer is down only after so many looks in a row; one that refuses is so at once."""

_TELLING = (NetworkError, ModelNotFoundError, ModelUnavailableError)
"""Errors of requests after which what is known of a host may be wrong."""

Look: TypeAlias = Callable[[Host], Awaitable[Surface]]
"""Asks a host who it is and what it has; raises LMStudioError."""


class Health:
    """Looks after the hosts."""

    def __init__(self, look: Look, clock: Clock, random: Random, background: Background) -> None:
        self._look = look
        self._clock = clock
        self._random = random
        self._background = background
        self._line: list[tuple[float, int, Host]] = []
        """Who is looked at next, first."""
        self._due: dict[Host, float] = {}
        """When each is; what stands in the line for another time was looked at out of turn."""
        self._failed: dict[Host, int] = {}
        self.unseen: set[Host] = set()
        """Hosts that nobody has looked at yet, where there are several to choose from."""

    def watch(self, hosts: tuple[Host, ...]) -> None:
        """From now on these are looked after; each is due."""
        self._line.clear()
        self._failed = dict.fromkeys(hosts, 0)
        for host in hosts:
            self._look_at(host, self._clock.monotonic())
        self.unseen = set(hosts) if len(hosts) > 1 else set()

    def look_soon(self) -> None:
        """Begins to look at those that are due, in the background."""
        now = self._clock.monotonic()
        while self._line and self._line[0][0] <= now:
            due, _, host = heapq.heappop(self._line)
            if due == self._due.get(host):
                self._begin(host)

    def take(self, event: Event) -> None:
        """What happens to requests: a host that was not there for one, or lost its model, is looked at now."""
        if isinstance(event, FailedOver) and isinstance(event.error, _TELLING):
            for host in self._failed:
                if host.name == event.host:
                    self._begin(host)

    async def first_look(self, has_model: Callable[[], bool], within: float = FIRST_LOOK_SECONDS) -> None:
        """Waits until all hosts have told what they have: so many seconds at most, less once one has the model."""
        pending = set(map(self._begin, self.unseen))
        now = asyncio.get_running_loop().time
        ends, found = now() + within, False
        while pending and (left := ends - now()) > 0:
            _, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not found and has_model():
                found, ends = True, min(ends, now() + GRACE_SECONDS)
        self.unseen.clear()

    async def look(self, host: Host) -> None:
        """Looks at a host now, and has it told whether it is up."""
        began = time.monotonic()
        try:
            surface = await self._look(host)
        except LMStudioError as error:
            self._failed[host] = self._failed.get(host, 0) + 1
            host.not_seen(error, down=self._is_down(host, error))
        else:
            self._failed[host] = 0
            host.seen(surface, time.monotonic() - began)
        finally:
            self._look_at(host, self._clock.monotonic() + self._pause(host))
        self.unseen.discard(host)

    def _look_at(self, host: Host, due: float) -> None:
        self._due[host] = due
        heapq.heappush(self._line, (due, id(host), host))

    def _begin(self, host: Host) -> asyncio.Task[None]:
        return self._background.begin((self, host), partial(self.look, host))

    def _is_down(self, host: Host, error: LMStudioError) -> bool:
        """Whether nobody is there: not where an error answered, or where a model loads and all else is slow."""
        if error.status is not None:
            return False
        if isinstance(error, ModelTimeoutError):
            return not host.is_loading and self._failed[host] >= SLOW_LOOKS
        return True

    def _pause(self, host: Host) -> float:
        failed = self._failed.get(host, 0)
        if failed and not host.down:
            return AGAIN_SECONDS
        pause = min(EVERY_SECONDS * 2.0 ** min(failed, 16), LONGEST_SECONDS)
        return pause * self._random.uniform(1 - JITTER, 1 + JITTER)
