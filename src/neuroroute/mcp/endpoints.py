"""Where an MCP server is reached: a command whose stdin and stdout speak the protocol, or an address (HTTP)."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

_log = logging.getLogger("neuroroute.mcp")

_CONNECT_WITHIN = 30.0  # seconds; how long an answer may take is the tool's limit
_LAST_LINES = 20
_LONGEST_LINE = 2000
_LAST_WORDS_WITHIN = 1.0  # seconds; a grandchild may hold the pipe open for ever


class LastLines:
    """What a process writes to its stderr, read in a thread so that the process never waits for us.

    Each line is logged, too, at DEBUG.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._thread: threading.Thread | None = None

    @contextmanager
    def pipe(self) -> Generator[TextIO]:
        """The end to write to; closed on leaving."""
        reading, writing = os.pipe()
        self._thread = threading.Thread(target=self._read, args=(reading,), name="neuroroute mcp stderr", daemon=True)
        self._thread.start()
        with open(writing, "w", encoding="utf-8") as file:  # noqa: PTH123 - it has no path
            yield file

    def so_far(self) -> list[str]:
        """The last lines until now."""
        return list(self._lines)

    def to_the_end(self) -> list[str]:
        """The last lines of a process that has ended."""
        if self._thread is not None:
            self._thread.join(_LAST_WORDS_WITHIN)
        return self.so_far()

    def _read(self, reading: int) -> None:
        with open(reading, encoding="utf-8", errors="replace") as file:
            while line := file.readline(_LONGEST_LINE):
                if line := line.strip():
                    self._lines.append(line)
                    _log.debug("stderr: %s", line)


class Command(msgspec.Struct, frozen=True):
    """A program to run; the process ends with the session."""

    command: str
    """The program's name or path."""
    arguments: tuple[str, ...]
    env: Mapping[str, str] | None
    """Beside PATH, HOME and the like. The rest of our environment, which may hold secrets, is not passed on."""
    cwd: Path | None

    @property
    def label(self) -> str:
        """How errors name it: without its arguments, which may hold secrets."""
        return repr(self.command)

    @property
    def hint(self) -> str:
        """What to look at when it does not start."""
        return "Does it run by itself, and does it speak MCP over stdin and stdout?"

    @asynccontextmanager
    async def connected(self, stderr: LastLines) -> AsyncGenerator[TransportStreams]:
        """The running process's streams of messages.

        Raises:
            OSError: it cannot be run.
        """
        from mcp import StdioServerParameters, stdio_client

        env = None if self.env is None else dict(self.env)
        program = StdioServerParameters(command=self.command, args=list(self.arguments), env=env, cwd=self.cwd)
        async with AsyncExitStack() as stack:
            with stderr.pipe() as file:  # closed here once the process has its own, so that it ends with the process
                streams = await stack.enter_async_context(stdio_client(program, file))
            yield streams


class Address(msgspec.Struct, frozen=True):
    """A server that runs by itself, spoken to over streamable HTTP."""

    url: str
    headers: Mapping[str, str] | None
    """Sent with every request."""

    @property
    def label(self) -> str:
        """How errors name it: without user, password and query, which may be secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def hint(self) -> str:
        """What to look at when it cannot be opened."""
        return "Is it running, is this its streamable HTTP endpoint (often /mcp), does it want a token in headers?"

    @asynccontextmanager
    async def connected(self, stderr: LastLines) -> AsyncGenerator[TransportStreams]:
        """The streams of messages; connections are made as they are needed."""
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        del stderr  # there is none over HTTP
        timeout = httpx2.Timeout(_CONNECT_WITHIN, read=None)
        async with (
            httpx2.AsyncClient(headers=self.headers, timeout=timeout) as http,
            streamable_http_client(self.url, http_client=http) as streams,
        ):
            yield streams


Endpoint: TypeAlias = Command | Address
