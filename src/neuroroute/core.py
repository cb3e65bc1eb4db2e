"""What an adapter shares with its siblings, and the list of layers."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from neuroroute.assembly import assembled
from neuroroute.checks import InputChecks
from neuroroute.details import DownloadedModel, LoadedModel, ModelDetails, Surface
from neuroroute.errors import AdapterClosedError, ModelTimeoutError
from neuroroute.estimates import TokenEstimates
from neuroroute.fleet.health import FIRST_LOOK_SECONDS, Health
from neuroroute.fleet.lifecycle import load, unload
from neuroroute.limits import milliseconds
from neuroroute.messages import MessageReader
from neuroroute.models.downloads import download
from neuroroute.models.lifecycle import Lifecycle
from neuroroute.models.server import ModelServer
from neuroroute.pipe.admit import admit
from neuroroute.pipe.background import Background
from neuroroute.pipe.breaker import breaker
from neuroroute.pipe.cache import ResponseCache, caching
from neuroroute.pipe.capable import capable
from neuroroute.pipe.continuing import continuing
from neuroroute.pipe.deadline import deadline
from neuroroute.pipe.events import Observer, Tell, teller
from neuroroute.pipe.following import following
from neuroroute.pipe.guarding import Guard, guarding
from neuroroute.pipe.hedge import hedge
from neuroroute.pipe.host import Host
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.learning import learning
from neuroroute.pipe.loading import loading
from neuroroute.pipe.loadonce import loadonce
from neuroroute.pipe.observe import watching
from neuroroute.pipe.policies import BreakerPolicy, HostPolicy, RetryPolicy
from neuroroute.pipe.progress import OnProgress
from neuroroute.pipe.reloading import reloading
from neuroroute.pipe.reply import Clock, Layer, Reply, Send, pipe
from neuroroute.pipe.retry import retry
from neuroroute.pipe.route import route
from neuroroute.pipe.selecting import selecting
from neuroroute.pipe.trimming import trimming
from neuroroute.requests import ChatRequest
from neuroroute.settings import Resolved, Settings

if TYPE_CHECKING:
    from neuroroute.pipe.transport import Transport


LISTING_MS = 5000.0
"""How long a listing may take that a request asks for on its way."""


class Core:
    """What an adapter shares with its siblings: settings, the pipe, the connections at its end."""

    def __init__(
        self,
        *,
        settings: Settings,
        tls: ssl.SSLContext | None,
        proxy: str | None,
        retry_policy: RetryPolicy,
        breaker_policy: BreakerPolicy,
        checks: InputChecks | None,
        guards: Sequence[Guard],
        cache: ResponseCache | None,
        slots: int | None,
        observers: Sequence[Observer],
        clock: Clock,
        random: Random,
        max_request_bytes: int,
        max_response_bytes: int,
    ) -> None:
        self.reader = MessageReader()
        self.max_request_bytes = max_request_bytes
        self.checks = checks
        self._settings = settings
        self._resolved: Resolved | None = None
        self._tls = tls
        self._proxy = proxy
        self._max_response_bytes = max_response_bytes
        self._clock = clock
        self._random = random
        self._servers: dict[str, ModelServer] = {}
        self._transport: Transport | None = None
        background = Background()
        self.health = Health(self._look, clock, random, background)
        tell = teller([*observers, self.health.take])
        self.tell = tell if observers else None  # for what stands above the pipe
        self.hosts = Hosts(
            HostPolicy(
                breaker=breaker_policy,
                retry_budget=retry_policy.budget,
                slots=slots,
                clock=clock,
                random=random,
                tell=tell,
                background=background,
                list_models=self._list,
            )
        )
        self.hosts.use(settings.hosts)
        self.estimates = TokenEstimates()
        above, below = watching(observers, tell, clock)
        if guards:
            above.append(guarding(guards, assembled, tell))
        if cache is not None:
            above.append(caching(cache, selecting(self.hosts), background, tell))
        self._send: Send = self._folded(above, below, retry_policy, breaker_policy, tell)

    def _folded(
        self,
        above: Sequence[Layer],
        below: Sequence[Layer],
        retry_policy: RetryPolicy,
        breaker_policy: BreakerPolicy,
        tell: Tell,
    ) -> Send:
        """The pipe: the layers that were asked for around those that are always there."""
        hosts, clock = self.hosts, self._clock
        return pipe(
            *above,
            continuing(hosts, tell),
            deadline(clock),
            learning(self.estimates),
            selecting(hosts),
            trimming(hosts),
            retry(retry_policy, clock, self._random, hosts, tell),
            reloading(hosts, self._reload, tell),
            hedge(hosts, tell),
            route(hosts, tell),
            capable(hosts, clock),
            following(),
            loading(hosts, tell),
            loadonce(hosts),
            admit(hosts, clock),
            breaker(hosts, clock, breaker_policy.slow_first_chunk),
            *below,
            transport=lambda request: self.transport.send(request),
        )

    @property
    def transport(self) -> Transport:
        """The connections. aiohttp is imported here, so that importing this package stays light."""
        if self._transport is None:
            from neuroroute.pipe.transport import Transport

            self._transport = Transport(
                api_token=self._settings.api_token,
                token_of=self.hosts.token_of,
                tls=self._tls,
                proxy=self._proxy,
                max_response_bytes=self._max_response_bytes,
            )
        return self._transport

    async def settings(self, within_ms: float | None = None) -> Resolved:
        """Where requests go; a configuration manager is asked until it has answered once, each time within a limit."""
        if self._resolved is None:
            resolved = await self._settings.resolved(within_ms)
            if resolved.hosts != self._settings.hosts:
                self.hosts.use(resolved.hosts)
            self.health.watch(self.hosts.all)
            self._resolved = resolved
        return self._resolved

    async def reply(self, request: ChatRequest) -> Reply:
        """Sends a request down the pipe."""
        request.closings = self.transport.pools.closings()
        resolved = self._resolved
        if resolved is None or self.health.unseen:
            began = time.monotonic()
            resolved = await self.settings(request.options["timeout_ms"])
            await self._first_look(request, request.options["timeout_ms"] or resolved.timeout_ms)
            request.spent = time.monotonic() - began
        if request.options["timeout_ms"] is None:
            request.options["timeout_ms"] = resolved.timeout_ms
        if len(self.hosts.all) > 1:
            self.health.look_soon()
        self.hosts.assign(request)
        return await self._send(request)

    async def _first_look(self, request: ChatRequest, timeout_ms: float) -> None:
        """Waits until it is known what the hosts have, where that is not known yet; not for long, and in good time."""
        if not self.health.unseen:
            return
        within = min(FIRST_LOOK_SECONDS, timeout_ms / 4000)
        await self.health.first_look(lambda: self.hosts.is_loaded(request.model), within)
        if request.closings != self.transport.pools.closings():
            raise AdapterClosedError("the adapter was closed meanwhile")

    async def load(
        self,
        asked: str,
        config: Mapping[str, Any],
        timeout_ms: float,
        on_progress: OnProgress | None = None,
        host: Host | None = None,
    ) -> LoadedModel:
        """Has a model loaded: by this host, else by one of those that have it."""
        if host is None and len(self.hosts.all) > 1:
            await self.hosts.models()
        hosts = self.hosts.hosts_for(asked) if host is None else [host]
        return await load(list(map(self._lifecycle, hosts)), asked, config, timeout_ms, on_progress)

    async def unload(self, asked: str, host: Host | None = None) -> tuple[str, ...]:
        """Has a model taken out of memory: of this host, else of all."""
        if host is not None or len(self.hosts.all) == 1:
            return await self._lifecycle(host or self.hosts.all[0]).unload(asked)
        return await unload(list(map(self._lifecycle, self.hosts.all)), await self.hosts.models(), asked)

    def _lifecycle(self, host: Host) -> Lifecycle:
        return Lifecycle(host, self.server(host.url))

    async def download(
        self, host: Host, model: str, quantization: str | None, timeout_ms: float | None, on_progress: OnProgress | None
    ) -> DownloadedModel:
        """Has a host download a model."""
        return await download(host, self.server(host.url), model, quantization, timeout_ms, on_progress)

    async def count(self, model: str, path: str, body: bytes) -> int | None:
        """Tokens as the first host that has the model, and can, counts them; None where none can."""
        within_ms = LISTING_MS / len(hosts := self.hosts.hosts_for(model))
        for host in hosts:
            if (count := await self.server(host.url).count(path, body, within_ms)) is not None:
                return count
        return None

    async def _reload(self, host: Host, model: str, context_length: int | None, timeout_ms: float) -> LoadedModel:
        config = {} if context_length is None else {"context_length": context_length}
        return await self._lifecycle(host).load(model, config, timeout_ms)

    async def listing(self, timeout_ms: float | None = None) -> list[ModelDetails]:
        """The models of all hosts, within the time limit (milliseconds).

        Raises:
            LMStudioError: no host gives a listing: the error of the first.
        """
        resolved = await self.settings()
        limit = timeout_ms or resolved.timeout_ms
        if len(self.hosts.all) == 1:
            models = await self.server(self.hosts.all[0].url).list_models(limit)
            self.hosts.all[0].listings.take(models)
            return models
        try:
            async with asyncio.timeout(limit / 1000):
                return await self.hosts.models()
        except TimeoutError as error:
            raise ModelTimeoutError(f"no host gave a listing within {milliseconds(limit)} ms") from error

    def server(self, url: str) -> ModelServer:
        """Whoever answers at this base URL, and what is known of its APIs."""
        server = self._servers.get(url)
        if server is None:
            server = self._servers[url] = ModelServer(partial(self._ask, url), url, self._clock.monotonic)
        return server

    def _ask(
        self, host_url: str, method: str, url: str, body: bytes | None, timeout_ms: float
    ) -> Awaitable[tuple[int, bytes]]:
        return self.transport.ask(host_url, method, url, body, timeout_ms)

    def _list(self, url: str) -> Awaitable[list[ModelDetails]]:
        return self.server(url).list_models(LISTING_MS)

    async def _look(self, host: Host) -> Surface:
        """The listing, and the greeting where it is not known yet who that is: what tells that a host is up."""
        await host.listings.models()
        return await self.server(host.url).surface(LISTING_MS)

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        if self._transport is not None:
            self._transport.pools.close_soon()
        await self.hosts.background.aclose()
        if self._transport is not None:
            await self._transport.pools.aclose()


class SystemClock:
    """Time as it is."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)
