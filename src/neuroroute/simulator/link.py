"""One connection through a chaos proxy: reads, waits and writes as its two flows say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from neuroroute.simulator.flow import End, Flow, Hold, Wait, Write
from neuroroute.simulator.sockets import reset_when_closed
from neuroroute.simulator.toxics import Blackhole, Toxic

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from random import Random

_READ = 1 << 16
_HELD = 1 << 20  # bytes of one direction that may wait before no more are read


class Link:
    """A client, the server, and the two flows between them.

    Args:
        client: The connection that was accepted.
        server: Host and port.
        random: Where jitter comes from.
        struck: Called once with each toxic that makes a difference.
    """

    def __init__(
        self,
        client: socket.socket,
        server: tuple[str, int],
        random: Random,
        struck: Callable[[Toxic], object],
    ) -> None:
        self.lots: dict[Toxic, bool] = {}
        """Which toxics were drawn for it, and which were not."""
        self.up = _Lane(Flow("upstream", random, self._strike))
        self.down = _Lane(Flow("downstream", random, self._strike))
        self._client = client
        self._writers: list[asyncio.StreamWriter] = []
        self._server = server
        self._toxics: tuple[Toxic, ...] = ()
        self._struck = struck
        self._seen: set[Toxic] = set()

    def change(self, toxics: tuple[Toxic, ...]) -> None:
        """Sets what happens to it from now on."""
        self._toxics = toxics
        self._wake()

    async def run(self) -> None:
        """Passes bytes until both directions have ended, or a fault ends it."""
        try:
            from_client, to_client = await self._streams(sock=self._client)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(self.up, from_client))
                from_server, to_server = await self._reach_server()
                tasks.create_task(self._read(self.down, from_server))
                tasks.create_task(self._pass_on(self.up, to_server))
                tasks.create_task(self._pass_on(self.down, to_client))
        except* (_Over, OSError):
            pass
        finally:
            for writer in self._writers:
                writer.transport.abort()  # nothing of ours is unsent: each write was waited for
            for writer in self._writers:
                with suppress(OSError):
                    await writer.wait_closed()

    async def _reach_server(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while any(isinstance(toxic, Blackhole) for toxic in self._toxics):
            self.up.news.clear()
            if isinstance(self.up.flow.next(self._toxics, 0.0), Hold):
                self._leave_with_client()
            await self.up.news.wait()
        try:
            host, port = self._server
            return await self._streams(host=host, port=port)
        except OSError:
            reset_when_closed(self._writers[0].transport)  # the nearest thing to a refusal that is left
            raise

    async def _streams(self, **where: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(**where)
        writer.transport.set_write_buffer_limits(0)  # drain() waits until all is with the system
        self._writers.append(writer)
        return reader, writer

    async def _read(self, lane: _Lane, reader: asyncio.StreamReader) -> None:
        now = asyncio.get_running_loop().time
        reset = False
        try:
            while data := await reader.read(_READ):
                lane.flow.receive(data, now())
                lane.news.set()
                while lane.flow.waiting >= _HELD:
                    lane.passed.clear()
                    await lane.passed.wait()
        except ConnectionError:
            reset = True
        lane.flow.end(now(), reset=reset)
        self._wake()

    async def _pass_on(self, lane: _Lane, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        while True:
            lane.news.clear()
            toxics = self._toxics
            match lane.flow.next(toxics, now()):
                case Write(size):
                    writer.write(lane.flow.take(size, toxics, now()))
                    await writer.drain()
                    lane.passed.set()
                    await asyncio.sleep(0)  # the other direction, and the receiver, get their turn
                case Wait(seconds):
                    await lane.wait(seconds)
                case Hold():
                    self._leave_with_client()
                    await lane.wait(None)
                case End("pass"):
                    with suppress(OSError):  # it has left already
                        writer.write_eof()
                    return
                case End(how):
                    if how == "reset":
                        for each in self._writers:
                            reset_when_closed(each.transport)
                    raise _Over

    def _leave_with_client(self) -> None:
        """What is held must not be held for nobody."""
        if self.up.flow.ended:
            raise _Over

    def _wake(self) -> None:
        self.up.news.set()
        self.down.news.set()

    def _strike(self, toxic: Toxic) -> None:
        if toxic not in self._seen:
            self._seen.add(toxic)
            self._struck(toxic)


class _Lane:
    """A flow, and what is waited for at its two ends."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.news = asyncio.Event()
        """Bytes came, or their end, or other faults."""
        self.passed = asyncio.Event()
        """Bytes have passed, so that there is room for more."""

    async def wait(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.news.wait()


class _Over(Exception):  # noqa: N818 - an end, not an error
    """The connection ends here."""
