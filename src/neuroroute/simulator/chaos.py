"""A proxy for TCP that makes a network fail, in front of any server."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from neuroroute.simulator.link import Link
from neuroroute.simulator.sockets import held_port
from neuroroute.simulator.threads import WithOrAsyncWith
from neuroroute.simulator.toxics import NetworkFault, Refuse, Toxic

if TYPE_CHECKING:
    import socket
    from types import TracebackType


class ChaosProxy(WithOrAsyncWith):
    """Passes bytes between clients and a server, and does to them what it is told; it knows nothing of HTTP.

    It listens on a port of the loopback while its ``with`` or ``async with`` block runs; in a plain ``with`` it runs in
    a thread of its own. Every method may be called from any thread.

    Args:
        upstream: The server: a URL, as in ``http://localhost:1234/v1``, or ``host:port``.
        *faults: What is to happen from the beginning, as for :meth:`set`.
        seed: Makes what is drawn (rates, jitter) the same each time; None: each time anew.
        port: The port to listen on; 0: any free one.

    Raises:
        ValueError: The upstream has no host.
    """

    connections: int
    """How many connections it has accepted."""
    applied: Counter[NetworkFault]
    """On how many connections each fault made a difference; for :class:`Refuse`, how often listening ended."""

    def __init__(self, upstream: str, *faults: NetworkFault, seed: int | None = None, port: int = 0) -> None:
        parts = urlsplit(upstream if "://" in upstream else f"http://{upstream}")
        if not parts.hostname:
            msg = f"the upstream {upstream!r} has no host; give a URL or host:port"
            raise ValueError(msg)
        self._server_address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        self._scheme, self._path = parts.scheme, parts.path
        self.port = port
        """The port it listens on."""
        self.connections = 0
        self.applied = Counter()
        self._faults = faults
        self._random = Random(seed)
        self._drawn: Counter[NetworkFault] = Counter()
        self._bytes_up = self._bytes_down = 0
        self._links: dict[asyncio.Task[None], Link] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._refusing = False

    @property
    def url(self) -> str:
        """Its address, with the upstream's path: ``http://127.0.0.1:PORT/v1``."""
        return f"{self._scheme}://127.0.0.1:{self.port}{self._path}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    @property
    def bytes_up(self) -> int:
        """How many bytes it has passed on to the server."""
        return self._bytes_up + sum(link.up.flow.passed for link in list(self._links.values()))

    @property
    def bytes_down(self) -> int:
        """How many bytes it has passed on to clients."""
        return self._bytes_down + sum(link.down.flow.passed for link in list(self._links.values()))

    # ── What is to happen ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def faults(self) -> tuple[NetworkFault, ...]:
        """What happens now."""
        return self._faults

    def set(self, *faults: NetworkFault) -> None:
        """Sets what happens from now on, in the place of what happened before; nothing: all is well again.

        Connections that are open feel it, too: what was held flows on, and what has passed more bytes than a fault
        allows is ended. A fault that stays, stays with the connections that it was drawn for.

        Args:
            *faults: Any of ``Latency``, ``Bandwidth``, ``Slicer``, ``Cut``, ``Reset``, ``Freeze``, ``SlowClose``,
                ``Blackhole``, ``Refuse``.

        Raises:
            OSError: It was refusing, and somebody else has taken its port meanwhile.
        """
        self._faults = faults
        self._drawn.clear()
        if self._loop is None:
            return
        if _running_loop() is self._loop:
            self._refresh()
            return
        done: Future[None] = Future()

        def refresh() -> None:
            try:
                self._refresh()
            except OSError as error:
                done.set_exception(error)  # it belongs to who waits below
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(refresh)
        done.result()

    def _refresh(self) -> None:
        refuses = Refuse() in self._faults
        if refuses and not self._refusing:
            self._stop_listening()
            self._socket = held_port(self.port)  # nobody else may take it meanwhile
            self.applied[Refuse()] += 1
        elif not refuses and self._accepting is None:
            self._start_listening()
        self._refusing = refuses
        for link in list(self._links.values()):
            link.change(self._toxics_of(link))

    def _toxics_of(self, link: Link) -> tuple[Toxic, ...]:
        toxics = [fault for fault in self._faults if not isinstance(fault, Refuse)]
        for toxic in toxics:
            if toxic not in link.lots:
                link.lots[toxic] = self._draw(toxic)
        return tuple(toxic for toxic in toxics if link.lots[toxic])

    def _draw(self, toxic: Toxic) -> bool:
        hit = self._random.random() < toxic.rate and self._drawn[toxic] != toxic.times
        self._drawn[toxic] += hit
        return hit

    # ── Connections ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _accept_all(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while listening is self._socket:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # the client has left already, or there are no more descriptors
                await asyncio.sleep(0.01)
                continue
            self.connections += 1
            link = Link(connection, self._server_address, self._random, self._count)
            link.change(self._toxics_of(link))
            task = loop.create_task(link.run())
            self._links[task] = link
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        link = self._links.pop(task)
        self._bytes_up += link.up.flow.passed
        self._bytes_down += link.down.flow.passed

    def _count(self, toxic: Toxic) -> None:
        self.applied[toxic] += 1

    # ── Its life ────────────────────────────────────────────────────────────────────────────────────────────────────

    # Not an asyncio.Server: it loses connections that it has accepted and not yet handed over when it is closed.

    def _start_listening(self) -> None:
        assert self._socket is not None  # noqa: S101 - it is held while the block runs
        self._socket.listen(128)
        self._accepting = asyncio.get_running_loop().create_task(self._accept_all(self._socket))

    def _stop_listening(self) -> asyncio.Task[None] | None:
        """Closes the socket; the task that is returned takes what was accepted already, and ends."""
        bound, self._socket = self._socket, None
        accepting, self._accepting = self._accepting, None
        if bound is None:
            return None
        if accepting is not None:
            loop = asyncio.get_running_loop()
            with suppress(NotImplementedError):  # Windows
                loop.remove_reader(bound)
            loop.call_soon(accepting.cancel)  # after what is accepted has reached it
        bound.close()
        return accepting

    async def __aenter__(self) -> Self:
        self._socket = held_port(self.port)
        self.port = self._socket.getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._refresh()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop = None
        if accepting := self._stop_listening():
            await asyncio.wait([accepting])
        await asyncio.sleep(0)  # a task that has not begun would not clean up
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # a connection whose making was cancelled is closed in the next turn


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
