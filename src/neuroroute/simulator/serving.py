"""A small HTTP server on the loopback, usable with and without asyncio: what simulator, recorder and replay share."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiohttp import web

from neuroroute.simulator.received import Received
from neuroroute.simulator.sending import STATUS
from neuroroute.simulator.threads import WithOrAsyncWith

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from aiohttp.web_protocol import RequestHandler

T = TypeVar("T")


class LoopbackServer(WithOrAsyncWith):
    """Listens while its ``with`` or ``async with`` block runs, and keeps what it was sent.

    In a plain ``with`` it runs in a thread with an event loop of its own. Entered again, it listens on the same port:
    a server that went away and came back.
    """

    requests: list[Received]
    """What it was sent, oldest first."""
    port: int
    """The port it listens on; 0 before it does, if any free one will do."""
    on_end: Callable[[Received], object] | None = None
    """Called with each request when its exchange has ended, in the thread that the server runs in."""

    def __init__(self, *, port: int = 0, keepalive_timeout: float = 5.0) -> None:
        self.requests = []
        self.port = port
        self.keepalive_timeout = keepalive_timeout
        self._server: _Connections | None = None
        self._listener: asyncio.Server | None = None
        self._exchanges: set[asyncio.Task[Any] | None] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False

    @property
    def origin(self) -> str:
        """The server's address: ``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL to give to a client: ``http://127.0.0.1:PORT/v1``."""
        return f"{self.origin}/v1"

    @property
    def open_connections(self) -> int:
        """How many connections clients hold, idle ones included."""
        return len(self._server.connections) if self._server else 0

    async def wait_for_requests(self, count: int, timeout: float = 1.0) -> None:
        """Waits until so many requests have come in all, on whatever event loop and in whatever thread it runs.

        Args:
            count: How many.
            timeout: Seconds after which a ``TimeoutError`` is raised.
        """
        async with asyncio.timeout(timeout):
            while len(self.requests) < count:  # noqa: ASYNC110 - they are counted in another thread
                await asyncio.sleep(0.001)

    # ── One exchange ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, request: web.BaseRequest, received: Received) -> web.StreamResponse:
        """Answers one request; each server has its own way."""
        raise NotImplementedError

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self._server is not None  # noqa: S101 - it is what called
        received = Received(
            request.method,
            request.path,
            request.query_string,
            request.headers,
            await request.content.read(),
            self._server.numbers[request.protocol],
        )
        self.requests.append(received)
        task = asyncio.current_task()
        self._exchanges.add(task)
        closed_early = False
        try:
            return await self._serve(request, received)
        except asyncio.CancelledError:
            closed_early = not self._stopping
            raise
        except ConnectionError:
            closed_early = True
            return web.Response()  # raising it would be logged as a fault of ours
        finally:
            self._exchanges.discard(task)
            received.status = request.get(STATUS)
            received.end(closed_early=closed_early)
            if self.on_end is not None:
                self.on_end(received)

    # ── Its event loop ──────────────────────────────────────────────────────────────────────────────────────────────

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts a task that ends when the server does."""
        task = asyncio.get_running_loop().create_task(work)
        self._exchanges.add(task)
        task.add_done_callback(self._exchanges.discard)
        return task

    def _in_loop(self, act: Callable[[], None]) -> None:
        """Does something where the server runs, and waits until it is done; at once where it runs here, or nowhere."""
        if self._loop is None or _running_loop() is self._loop:
            act()
            return
        done: Future[None] = Future()

        def do() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits below
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(do)
        done.result()

    # ── Its life ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Self:
        self._stopping = False
        # handler_cancellation is what tells a handler at once that its client has left
        self._server = _Connections(
            self._handle, handler_cancellation=True, keepalive_timeout=self.keepalive_timeout, access_log=None
        )
        self._loop = asyncio.get_running_loop()
        self._listener = await self._loop.create_server(self._server, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        if self._listener is None or self._server is None:
            return
        self._listener.close()
        running = [task for task in self._exchanges if task]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._server.pre_shutdown()
        await self._server.shutdown(1.0)
        await self._listener.wait_closed()
        self._server = self._listener = self._loop = None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Connections(web.Server):
    """Numbers the connections as they come."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.numbers: dict[RequestHandler, int] = {}
        self._count = itertools.count(1)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        self.numbers[handler] = next(self._count)
        super().connection_made(handler, transport)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self.numbers.pop(handler, None)
        super().connection_lost(handler, exc)
