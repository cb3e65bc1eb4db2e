"""What an adapter shares with its siblings, and the list of layers."""

from __future__ import annotations

import asyncio
import ssl
import time
from random import Random
from typing import TYPE_CHECKING

from neuroroute.details import ModelDetails
from neuroroute.messages import MessageReader
from neuroroute.models import list_models
from neuroroute.pipe.admit import admit
from neuroroute.pipe.deadline import deadline
from neuroroute.pipe.reasoning import reasoning
from neuroroute.pipe.reply import Clock, Reply, Send, pipe
from neuroroute.pipe.retry import RetryPolicy, retry
from neuroroute.requests import ChatRequest
from neuroroute.settings import Resolved, Settings

if TYPE_CHECKING:
    from neuroroute.pipe.transport import Transport


class Core:
    """What an adapter shares with its siblings: settings, the pipe, the connections at its end."""

    def __init__(
        self,
        *,
        settings: Settings,
        tls: ssl.SSLContext | None,
        proxy: str | None,
        policy: RetryPolicy,
        slots: int | None,
        clock: Clock,
        random: Random,
        max_request_bytes: int,
        max_response_bytes: int,
    ) -> None:
        self.reader = MessageReader()
        self.max_request_bytes = max_request_bytes
        self._settings = settings
        self._resolved: Resolved | None = None
        self._tls = tls
        self._proxy = proxy
        self._max_response_bytes = max_response_bytes
        self._transport: Transport | None = None
        self._send: Send = pipe(
            deadline(clock),
            reasoning(self.listing),
            retry(policy, clock, random),
            admit(slots),
            transport=lambda request: self.transport.send(request),
        )

    @property
    def base_url(self) -> str:
        """The base URL, as far as it is known before a configuration manager was asked."""
        return self._resolved.base_url if self._resolved else self._settings.base_url

    @property
    def transport(self) -> Transport:
        """The connections. aiohttp is imported here, so that importing this package stays light."""
        if self._transport is None:
            from neuroroute.pipe.transport import Transport

            self._transport = Transport(
                api_token=self._settings.api_token,
                tls=self._tls,
                proxy=self._proxy,
                max_response_bytes=self._max_response_bytes,
            )
        return self._transport

    async def settings(self, within_ms: float | None = None) -> Resolved:
        """Where requests go; a configuration manager is asked until it has answered once, each time within a limit."""
        if self._resolved is None:
            self._resolved = await self._settings.resolved(within_ms)
        return self._resolved

    async def reply(self, request: ChatRequest) -> Reply:
        """Sends a request down the pipe."""
        resolved = self._resolved
        if resolved is None:
            began = time.monotonic()
            resolved = await self.settings(request.options["timeout_ms"])
            request.spent = time.monotonic() - began
        request.url, request.host, timeout_ms = resolved
        if request.options["timeout_ms"] is None:
            request.options["timeout_ms"] = timeout_ms
        return await self._send(request)

    async def listing(self, timeout_ms: float | None = None) -> list[ModelDetails]:
        """The server's models, within the time limit (milliseconds)."""
        resolved = await self.settings()
        return await list_models(self.transport.get, resolved.base_url, timeout_ms or resolved.timeout_ms)

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        if self._transport is not None:
            await self._transport.aclose()


class SystemClock:
    """Time as it is."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)
