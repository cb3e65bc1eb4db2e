"""A session with an MCP server, in a thread with an event loop of its own.

The SDK's sessions must be left by the task that entered them. Here that is always the thread's one task, so that a
server may be opened in one task and closed in another, and its tools called from any event loop.
"""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

from neuroroute.errors import ConfigurationError, ToolFailedError
from neuroroute.mcp.endpoints import Endpoint, LastLines

if TYPE_CHECKING:
    import anyio
    from mcp import Client
    from mcp.types import CallToolResult, Tool

_CLOSE_WITHIN = 10.0  # seconds; the SDK ends a process that does not go by itself within 6


class Session:
    """One session, from its start on; it ends when it is stopped or its connection breaks.

    Args:
        endpoint: where the server is.
        start_timeout_ms: milliseconds until the server must have told its tools.
    """

    started: Future[list[Tool]]
    """The tools that the server has; or a ConfigurationError that says why it did not start."""
    ended: Future[None]

    def __init__(self, endpoint: Endpoint, start_timeout_ms: float) -> None:
        self.started = Future()
        self.ended = Future()
        for future in (self.started, self.ended):
            future.set_running_or_notify_cancel()  # so that a waiter who gives up cancels nothing
        self._endpoint = endpoint
        self._start_timeout_ms = start_timeout_ms
        self._stderr = LastLines()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None  # while it takes calls or may be stopped
        self._client: Client
        self._starting: anyio.CancelScope
        self._stop = asyncio.Event()
        self._stopped = False
        self._cause: BaseException | None = None
        threading.Thread(target=self._run, name=f"neuroroute mcp {endpoint.label}", daemon=True).start()

    def stop(self) -> Future[None]:
        """Ends the session, and a process with it; calls that still run fail."""
        with self._lock:
            self._stopped = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._leave)
        return self.ended

    async def call(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        """What the server's tool gives; may be called in any event loop.

        Raises:
            ToolFailedError: the server refused the call, or has ended.
            CancelledError: passes through, and the server is told.
        """
        with self._lock:
            if self._loop is None:
                raise self._gone()
            future = asyncio.run_coroutine_threadsafe(self._call(name, arguments), self._loop)
        answer = asyncio.wrap_future(future)
        try:
            await asyncio.wait([answer])  # raises for the caller's cancellation only, not for the session's end
        finally:
            answer.cancel()
        if answer.cancelled():
            raise self._gone()
        return answer.result()

    # In the thread:

    def _run(self) -> None:
        try:
            _load_sdk()
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 - whoever started it, or calls next, is told
            self._cause = _innermost(error)
        if not self.started.done():
            self.started.set_exception(self._not_started())
        self.ended.set_result(None)

    async def _live(self) -> None:
        import anyio
        from mcp import Client

        with anyio.CancelScope(deadline=anyio.current_time() + self._start_timeout_ms / 1000) as limit:
            with self._lock:
                if self._stopped:
                    return
                self._starting = limit
                self._loop = asyncio.get_running_loop()
            try:
                async with Client(self._endpoint.connected(self._stderr)) as self._client:
                    tools = await _listed(self._client)
                    limit.deadline = math.inf
                    self.started.set_result(tools)
                    await self._stop.wait()
                    limit.deadline = anyio.current_time() + _CLOSE_WITHIN
            finally:
                with self._lock:
                    self._loop = None
        await asyncio.sleep(0)  # calls handed over before that become tasks, which asyncio.run then cancels

    def _leave(self) -> None:
        if self.started.done():
            self._stop.set()
        else:
            self._starting.cancel()

    async def _call(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED

        try:
            return await self._client.call_tool(name, arguments)
        except Exception as error:
            if isinstance(error, MCPError) and error.code == CONNECTION_CLOSED:
                await asyncio.to_thread(self._stderr.to_the_end)  # its last words may still be on their way
                raise self._gone() from error
            raise ToolFailedError(f"the MCP server did not run it: {error}") from error

    # What to tell:

    def _gone(self) -> ToolFailedError:
        why = "was closed" if self._stopped else "has ended, or closed the connection"
        error = ToolFailedError(
            f"the MCP server {self._endpoint.label} {why}", details={"stderr": self._stderr.so_far()}
        )
        error.__cause__ = self._cause
        return error

    def _not_started(self) -> ConfigurationError:
        cause = self._cause
        if isinstance(cause, ConfigurationError):
            return cause
        hint = self._endpoint.hint
        if self._stopped:
            why = "it was closed meanwhile"
        elif cause is None:
            why = f"it did not tell its tools within {self._start_timeout_ms:g} ms"
            hint = "Allow more with start_timeout_ms."
        elif isinstance(cause, OSError):
            why = f"it cannot be run: {cause.strerror or cause}"
        else:
            why = str(cause) or type(cause).__name__
        said = self._stderr.to_the_end()
        last_words = ". It said last:\n" + "\n".join(f"  {line}" for line in said) if said else ""
        error = ConfigurationError(
            f"the MCP server {self._endpoint.label} did not start: {why}{last_words}",
            hint=("\n" if said else "") + hint,
            details={"stderr": said},
        )
        error.__cause__ = cause
        return error


def _load_sdk() -> None:
    try:
        from mcp import Client  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ConfigurationError(
            "MCP servers need the MCP SDK, version 2 or later", hint='Install it: pip install "neuroroute[mcp]"'
        ) from error


async def _listed(client: Client) -> list[Tool]:
    """All tools, page by page; an endless list runs into the limit of the start."""
    if client.server_capabilities.tools is None:
        return []
    page = await client.list_tools()
    tools = [*page.tools]
    while page.next_cursor is not None:
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools


def _innermost(error: BaseException) -> BaseException:
    """The first error in the groups that task groups make."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
