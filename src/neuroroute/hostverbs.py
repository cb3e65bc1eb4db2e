"""The verbs of the adapter that are about its hosts: looking at them, and taking one out of service."""

from __future__ import annotations

import asyncio

from neuroroute.base import Adapter
from neuroroute.errors import ModelInvalidRequestError, ModelTimeoutError
from neuroroute.fleet.status import HostStatus
from neuroroute.limits import milliseconds
from neuroroute.rules import number

DRAIN_LOOK_SECONDS = 0.05
"""How often it is looked whether a drained host is idle; its requests may run on several event loops."""

_MILLISECONDS = number(0, 1e12, open_low=True)


class HostVerbs(Adapter):
    """What an adapter can do with its hosts."""

    async def check_hosts(self) -> tuple[HostStatus, ...]:
        """Looks at every host now; how each stands.

        Asks each for its listing, and who it is; never runs a completion, never loads a model, never raises for a host
        that is down.

        Raises:
            ConfigurationError: the settings are wrong.
        """
        await self._core.settings()
        _ = self._core.transport  # what its first use takes is not the hosts' time
        await asyncio.gather(*(self._core.health.look(host) for host in self._core.hosts.all))
        return self.hosts

    async def drain(self, host: str, *, timeout_ms: float | None = None) -> None:
        """Sends a host no new requests, and waits until those are over that are under way.

        Args:
            host: its name; where it was given none, its name and port.
            timeout_ms: how long that may take. Default: as long as it takes.

        Raises:
            ModelInvalidRequestError: there is no such host.
            ModelTimeoutError: requests are still under way; the host gets no new ones all the same.
        """
        if timeout_ms is not None and not _MILLISECONDS(timeout_ms):
            raise ModelInvalidRequestError(f"timeout_ms is {timeout_ms!r:.60}; it must be milliseconds over 0, or None")
        await self._core.settings()
        drained = self._host(host)
        drained.drain()
        try:
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000):
                while drained.under_way:  # noqa: ASYNC110 - they may run on several event loops
                    await asyncio.sleep(DRAIN_LOOK_SECONDS)
        except TimeoutError as error:
            raise ModelTimeoutError(
                f"{drained.under_way} requests are still under way at {drained.name} after "
                f"{milliseconds(timeout_ms or 0)} ms",
                retryable=False,
                hint="It gets no new ones; call drain() again to go on waiting.",
            ) from error
