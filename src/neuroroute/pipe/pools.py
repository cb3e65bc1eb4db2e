"""Connections: each event loop that uses an adapter has its own, and they end with it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import aiohttp

from neuroroute.pipe.eventreply import EventReply

KEEPALIVE_SECONDS = 4.0
"""LM Studio closes an idle connection after 5 s; ours end before, so that seldom one is closed under us."""


class Pool(NamedTuple):
    """The connections of one event loop."""

    kept: aiohttp.ClientSession
    fresh: aiohttp.ClientSession
    """Opens a connection for each request, for those that a kept one failed."""
    streams: WeakSet[EventReply]
    """Streams that may still be open, to be told when the connections are closed under them."""


class Pools:
    """The connections of every event loop."""

    def __init__(self, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> None:
        self._headers = headers
        self._tls = tls
        self._pools: dict[asyncio.AbstractEventLoop, tuple[Pool, AsyncGenerator[Pool, None]]] = {}
        self._closings: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()

    def closings(self) -> int:
        """How often the connections of this event loop were closed."""
        return self._closings.get(asyncio.get_running_loop(), 0)

    def close_soon(self) -> None:
        """What set out before is not to open connections from now on."""
        loop = asyncio.get_running_loop()
        self._closings[loop] = self._closings.get(loop, 0) + 1

    async def aclose(self) -> None:
        """Closes every connection of this event loop."""
        opened = self._pools.get(asyncio.get_running_loop())
        if opened is not None:
            await opened[1].aclose()

    async def here(self) -> Pool:
        """Those of this event loop."""
        loop = asyncio.get_running_loop()
        opened = self._pools.get(loop)
        if opened is None:
            for closed in [other for other in self._pools if other.is_closed()]:
                del self._pools[closed]
            life = self._life(loop)
            opened = self._pools[loop] = (await anext(life), life)
        return opened[0]

    async def _life(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Pool, None]:
        """The connections of a loop, closed at the end.

        A generator, since those are what asyncio.run() ends with its loop: an adapter that nobody closed leaves no
        socket behind.
        """
        pool = Pool(self._session(force_close=False), self._session(force_close=True), WeakSet())
        try:
            yield pool
        finally:
            self._pools.pop(loop, None)
            self._closings[loop] = self._closings.get(loop, 0) + 1
            for stream in list(pool.streams):
                stream.break_off("the adapter was closed while the answer was coming")
            await pool.kept.close()
            await pool.fresh.close()

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # The connection pool is unbounded and never the queue.
            connector=aiohttp.TCPConnector(
                limit=0,
                ssl=self._tls or True,
                force_close=force_close,
                keepalive_timeout=None if force_close else KEEPALIVE_SECONDS,
                socket_factory=_socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            read_bufsize=1 << 18,
        )


sockets_opened: ContextVar[list[None]] = ContextVar("neuroroutesockets_opened")
"""Of this request; empty when it went out on a kept connection. (aiohttp tells, too, but its tracing costs 20 µs.)"""


def _socket(address: tuple[Any, ...]) -> socket.socket:
    sockets_opened.get([]).append(None)
    family, kind, protocol, _, _ = address
    return socket.socket(family, kind, protocol)
