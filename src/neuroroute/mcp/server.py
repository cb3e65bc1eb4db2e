"""MCPServer: the tools of an MCP server, to be put among any others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack
from urllib.parse import urlsplit

from neuroroute.closing import AsyncClosing
from neuroroute.errors import ConfigurationError, ModelInvalidRequestError
from neuroroute.jsontypes import is_series, is_text
from neuroroute.mcp.contents import as_text
from neuroroute.mcp.endpoints import Address, Command, Endpoint
from neuroroute.mcp.session import Session
from neuroroute.tools.functions import Tool, check_limit

if TYPE_CHECKING:
    import os

    from mcp.types import Tool as Offered

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64


class MCPOptions(TypedDict, total=False):
    """Options of :class:`MCPServer`."""

    prefix: str
    """Put before each tool's name, with ``_`` between: for servers whose tools have the same names."""
    only: Iterable[str] | None
    """The tools to take, by the server's own names; default: all."""
    timeout_ms: float | None
    """Milliseconds that a call may take; default: what the toolbox says."""
    start_timeout_ms: float
    """Milliseconds until the server must have told its tools; default 60000."""


class MCPServer(AsyncClosing):
    """An MCP server, whose tools a model may call like any other; needs ``pip install "neuroroute[mcp]"``.

    ::

        async with MCPServer.stdio("uvx", "mcp-server-time") as server:
            await adapter.run_tools("What time is it?", tools=[*server.tools, my_tool], max_rounds=3)

    Without asyncio, ``with`` does the same, blocking. It may be opened in one task and closed in another; its tools may
    be called from any event loop, and by :class:`~neuroroute.SyncLMStudioAdapter`. Closed, it may be opened again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        prefix: str = "",
        only: Iterable[str] | None = None,
        timeout_ms: float | None = None,
        start_timeout_ms: float = 60_000,
    ) -> None:
        if not is_text(prefix) or _NOT_IN_NAMES.search(prefix):
            raise ModelInvalidRequestError(f"prefix must be letters, digits, _ and -, not {prefix!r:.80}")
        if only is not None and not is_series(only):
            raise ModelInvalidRequestError(f"only must be a set of names, not a value of type {type(only).__name__}")
        if timeout_ms is not None:
            check_limit(timeout_ms, "timeout_ms")
        check_limit(start_timeout_ms, "start_timeout_ms")
        self._endpoint = endpoint
        self._prefix = prefix
        self._only = None if only is None else frozenset(only)
        self._timeout_ms = timeout_ms
        self._start_timeout_ms = start_timeout_ms
        self._session: Session | None = None
        self._tools: list[Tool[..., Any]] | None = None

    @classmethod
    def stdio(
        cls,
        command: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        **options: Unpack[MCPOptions],
    ) -> Self:
        """A server that is a program, run while it is open.

        Args:
            command: the program's name or path.
            *args: its arguments, each by itself.
            env: environment variables for it, beside PATH, HOME and the like; it does not get the rest of ours.
            cwd: the directory to run it in; default: ours.
            **options: see :class:`MCPOptions`.

        Raises:
            ModelInvalidRequestError: an option is wrong; names it.
        """
        for each in (command, *args):
            if not is_text(each):
                raise ModelInvalidRequestError(f"a command and its arguments are texts, not {type(each).__name__}")
        return cls(Command(command, args, env, None if cwd is None else Path(cwd)), **options)

    @classmethod
    def http(cls, url: str, headers: Mapping[str, str] | None = None, **options: Unpack[MCPOptions]) -> Self:
        """A server that runs by itself, over streamable HTTP.

        Args:
            url: its endpoint, such as ``http://localhost:8000/mcp``.
            headers: sent with every request, such as ``{"Authorization": "Bearer ..."}``.
            **options: see :class:`MCPOptions`.

        Raises:
            ModelInvalidRequestError: the address or an option is wrong; names it.
        """
        if not is_text(url) or not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
            raise ModelInvalidRequestError("url must be an address such as http://localhost:8000/mcp")
        return cls(Address(url, headers), **options)

    @property
    def tools(self) -> list[Tool[..., Any]]:
        """The server's tools, as they were when it was opened.

        Raises:
            ConfigurationError: it is not open.
        """
        if self._tools is None:
            raise ConfigurationError(
                f"the MCP server {self._endpoint.label} is not open",
                hint="Open it: async with MCPServer... as server (or with, where there is no asyncio).",
            )
        return list(self._tools)

    async def __aenter__(self) -> Self:
        session = self._begun()
        try:
            self._tools = self._made(session, await asyncio.wrap_future(session.started))
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """Ends the session, and the program with it: at the latest after 10 s, by force."""
        if (session := self._left()) is not None:
            await asyncio.wrap_future(session.stop())

    def __enter__(self) -> Self:
        session = self._begun()
        try:
            self._tools = self._made(session, session.started.result())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """What :meth:`aclose` does, blocking."""
        if (session := self._left()) is not None:
            session.stop().result()

    def __repr__(self) -> str:
        state = "not open" if self._tools is None else f"{len(self._tools)} tools"
        return f"<MCPServer {self._endpoint.label}, {state}>"

    def _begun(self) -> Session:
        if self._session is not None:
            raise ConfigurationError(f"the MCP server {self._endpoint.label} is open already", hint="Open it once.")
        self._session = Session(self._endpoint, self._start_timeout_ms)
        return self._session

    def _left(self) -> Session | None:
        session, self._session, self._tools = self._session, None, None
        return session

    def _made(self, session: Session, offered: list[Offered]) -> list[Tool[..., Any]]:
        """The tools that were asked for, each under a name that servers take."""
        if self._only is not None and (missing := self._only - {each.name for each in offered}):
            raise ConfigurationError(
                f"only names tools that the MCP server {self._endpoint.label} does not have: "
                f"{', '.join(map(repr, sorted(missing)))}",
                hint=f"It has: {', '.join(each.name for each in offered) or 'none'}.",
            )
        taken: dict[str, str] = {}
        tools: list[Tool[..., Any]] = []
        for each in offered:
            if self._only is not None and each.name not in self._only:
                continue
            tool = self._tool(session, each)
            if tool.name in taken:
                raise ConfigurationError(
                    f"the tools {taken[tool.name]!r} and {each.name!r} of the MCP server {self._endpoint.label} would "
                    f"both be {tool.name!r}",
                    hint="Take one of them with only={...}, and the other with a second MCPServer that has a prefix.",
                )
            taken[tool.name] = each.name
            tools.append(tool)
        return tools

    def _tool(self, session: Session, offered: Offered) -> Tool[..., Any]:
        async def call(**arguments: Any) -> str:
            return as_text(await session.call(offered.name, arguments))

        try:
            return Tool(
                call,
                name=tool_name(offered.name, self._prefix),
                description=offered.description or offered.title or "",
                parameters=offered.input_schema,
                timeout_ms=self._timeout_ms,
            )
        except ModelInvalidRequestError as error:
            raise ConfigurationError(
                f"the tool {offered.name!r} of the MCP server {self._endpoint.label} cannot be used: {error.message}",
                hint="Leave it out with only={...}.",
            ) from error


def tool_name(name: str, prefix: str = "") -> str:
    """A name that servers take: what they do not becomes ``_``, and what is longer than 64 is cut.

    Args:
        name: the MCP server's; dots and slashes are usual.
        prefix: put before it with ``_`` between, where there is one.
    """
    return _NOT_IN_NAMES.sub("_", f"{prefix}_{name}" if prefix else name)[:_LONGEST_NAME]
