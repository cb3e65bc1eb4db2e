"""The end of the pipe: HTTP by aiohttp, told to do nothing that is not asked of it."""

from __future__ import annotations

import asyncio
import io
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from importlib.metadata import version

import aiohttp
from yarl import URL

from neuroroute.errors import (
    AdapterClosedError,
    LMStudioError,
    MalformedResponseError,
    ModelEmptyResponseError,
    ModelTimeoutError,
)
from neuroroute.limits import limited, milliseconds
from neuroroute.pipe.eventreply import EventReply
from neuroroute.pipe.pools import Pool, Pools, sockets_opened
from neuroroute.pipe.reply import EndedReply, Reply
from neuroroute.pipe.strangers import STRANGERS, translated
from neuroroute.requests import ChatRequest
from neuroroute.responses import StreamingChunk
from neuroroute.wire.failures import failure

STALE_SECONDS = 0.25
"""How soon a connection shows that it had been closed; a request that fails later is not sent again unasked."""

_USER_AGENT = f"neuroroute/{version('neuroroute')}"

_LARGE_BODY = 1 << 20
"""aiohttp warns about plain bytes above this size."""


class WholeReply(EndedReply):
    """A whole answer: a reply of one chunk, its connection already given back."""

    __slots__ = ("answer", "attempts", "host", "ready")

    def __init__(self, body: bytes, request: ChatRequest) -> None:
        self.ready: deque[StreamingChunk] = deque()
        self.answer = request.endpoint.decoder(self.ready.append, request)
        self.answer.whole(body)
        if not self.answer.began:
            raise ModelEmptyResponseError("the answer has neither content nor reasoning nor a call")
        self.host = request.host
        self.attempts = 1


class Transport:
    """Connections to hosts; each event loop that uses it has its own."""

    def __init__(
        self,
        *,
        api_token: str | None = None,
        token_of: Callable[[str], str | None] | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
        max_response_bytes: int = 64 << 20,
    ) -> None:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": _USER_AGENT,
        }
        if api_token:
            headers["Authorization"] = f"Bearer {api_token}"
        self.pools = Pools(headers, tls)
        self._proxy = proxy
        self._max_bytes = max_response_bytes
        self._token_of = token_of
        self._targets: dict[tuple[str, str], tuple[URL, dict[str, str] | None]] = {}
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def send(self, request: ChatRequest) -> Reply:
        """One attempt: posts the request, gives the reply once its first meaningful chunk is here.

        Raises:
            LMStudioError: whatever went wrong; the connection is closed.
        """
        self._check_open(request)
        try:
            return await self._within_limit(request)
        except LMStudioError:
            self._check_open(request)
            raise

    def _check_open(self, request: ChatRequest) -> None:
        """What set out before the adapter was closed does not open connections anew, nor blame the server.

        Raises:
            AdapterClosedError: it was closed since.
        """
        if request.closings != self.pools.closings():
            raise AdapterClosedError("the adapter was closed meanwhile")

    async def _within_limit(self, request: ChatRequest) -> Reply:
        limit = request.options["first_token_timeout_ms"]
        if limit is None or not request.streaming:
            return await self._attempt(request)
        first_token = limited(limit / 1000)
        request.limits.append(first_token)
        try:
            return await self._attempt(request)
        except asyncio.CancelledError as error:
            if not first_token.passed():
                raise
            raise ModelTimeoutError(f"no first chunk within first_token_timeout_ms={milliseconds(limit)}") from error
        finally:
            first_token.end()

    async def ask(
        self, host_url: str, method: str, url: str, body: bytes | None, timeout_ms: float
    ) -> tuple[int, bytes]:
        """Status and body of what a host answers to anything but a completion.

        Args:
            host_url: the host's base URL.
            method: ``GET`` or ``POST``.
            url: what is asked for.
            body: what is sent with it.
            timeout_ms: how long that may take.

        Raises:
            LMStudioError: there was no answer.
        """
        timer = asyncio.timeout(timeout_ms / 1000)
        try:
            async with (
                timer,
                (await self.pools.here()).kept.request(
                    method,
                    url,
                    data=body,
                    headers=self._authorization(host_url),
                    proxy=self._proxy,
                    allow_redirects=False,
                ) as response,
            ):
                return response.status, await self._body(response)
        except LMStudioError:
            raise
        except STRANGERS as error:
            if timer.expired():
                raise ModelTimeoutError(f"no answer within {milliseconds(round(timeout_ms))} ms") from error
            raise translated(error) from error

    async def _attempt(self, request: ChatRequest) -> Reply:
        pool = await self.pools.here()
        response = await self._post(request, pool)
        try:
            if response.status >= 300:
                raise failure(response.status, await self._error_body(response), response.headers, time.time())
            if response.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
                stream = EventReply(response, request, self._max_bytes)
                pool.streams.add(stream)
                await stream.begin()
                return stream
            return WholeReply(await self._body(response), request)
        except BaseException as error:
            response.close()
            if isinstance(error, MalformedResponseError) and (coding := response.headers.get("Content-Encoding")):
                why = f"the answer is compressed ({coding:.20}), which was not asked for"
                raise MalformedResponseError(why) from error
            if isinstance(error, STRANGERS) and not isinstance(error, LMStudioError):
                raise translated(error) from error
            raise

    async def _post(self, request: ChatRequest, pool: Pool) -> aiohttp.ClientResponse:
        opened: list[None] = []
        sockets_opened.set(opened)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._posted(pool.kept, request)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # Closed under us while it idled: no byte of an answer came, so this was no attempt. What breaks later was
            # being worked on, and may be what the server died of.
            late = loop.time() - began > STALE_SECONDS
            if opened or late or isinstance(error, aiohttp.ClientConnectorError):
                raise translated(error, request.options["connect_timeout_ms"]) from error
        except (*STRANGERS, ValueError) as error:
            raise translated(error, request.options["connect_timeout_ms"]) from error
        try:
            return await self._posted(pool.fresh, request)
        except (*STRANGERS, ValueError) as error:
            raise translated(error, request.options["connect_timeout_ms"]) from error

    def _posted(self, session: aiohttp.ClientSession, request: ChatRequest) -> Awaitable[aiohttp.ClientResponse]:
        body = request.body
        limit: float = request.options["connect_timeout_ms"]
        if (timeout := self._timeouts.get(limit)) is None:
            timeout = self._timeouts[limit] = aiohttp.ClientTimeout(total=None, sock_connect=limit / 1000)
        place = (request.url, request.endpoint.path)
        if (target := self._targets.get(place)) is None:
            target = URL(request.endpoint.address(request.url)), self._authorization(request.url)
            self._targets[place] = target
        url, own = target
        extra: dict[str, str] | None = request.options["extra_headers"]
        if request.headers:
            extra = request.headers | (extra or {})
        return session.post(
            url,
            data=body if len(body) < _LARGE_BODY else io.BytesIO(body),
            headers=extra if own is None else own | (extra or {}),
            timeout=timeout,
            proxy=self._proxy,
            allow_redirects=False,
        )

    def _authorization(self, host_url: str) -> dict[str, str] | None:
        """The header of a host that has a token of its own."""
        token = None if self._token_of is None else self._token_of(host_url)
        return None if token is None else {"Authorization": f"Bearer {token}"}

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        while data := await response.content.readany():
            parts.append(data)
            size += len(data)
            if size > self._max_bytes:
                raise MalformedResponseError(f"the answer is larger than max_response_bytes={self._max_bytes}")
        return b"".join(parts)

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        """What can be read of it: its status alone says that the request failed."""
        try:
            return await self._body(response)
        except STRANGERS:
            return b""
