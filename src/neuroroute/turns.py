"""Turns of a conversation: one at a time, and as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from threading import Lock
from typing import Any, Self, TypeAlias, cast
from weakref import WeakKeyDictionary

from neuroroute.closing import AsyncClosing
from neuroroute.errors import ModelBusyError, StreamInterruptedError
from neuroroute.responses import ModelResponse, StreamingChunk
from neuroroute.streams import CompletionStream
from neuroroute.toolloop import ToolStream

Turn: TypeAlias = AsyncGenerator[StreamingChunk | CompletionStream | ToolStream, None]
"""First the stream itself, then its chunks."""


class TurnLock:
    """One turn at a time, in the order in which they were asked for; never in two event loops at once."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._at_work = Lock()  # the locks of two event loops know nothing of each other

    @property
    def taken(self) -> bool:
        """Whether a turn is being taken."""
        return self._at_work.locked()

    @asynccontextmanager
    async def held(self, limit_ms: float | None) -> AsyncGenerator[None, None]:
        """Holds it.

        Args:
            limit_ms: how long to wait for the turns before.

        Raises:
            ModelBusyError: they did not end in that time, or one is taken in another event loop.
        """
        lock = self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        try:
            async with asyncio.timeout(None if limit_ms is None else limit_ms / 1000):
                await lock.acquire()
        except TimeoutError:
            why = "the turn before has not ended"
            raise ModelBusyError(why, hint="Read its stream to the end, or close it.") from None
        try:
            if not self._at_work.acquire(blocking=False):
                why = "the conversation takes a turn in another event loop"
                raise ModelBusyError(why, hint="Use it in one event loop, or branch() it.")
            try:
                yield
            finally:
                self._at_work.release()
        finally:
            lock.release()


class TurnStream(AsyncClosing):
    """The chunks of a turn's answer. Leaving it early closes the connection and leaves the history as it was."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._stream: CompletionStream | ToolStream | None = None
        self._left = False

    @property
    def response(self) -> ModelResponse:
        """The chunks taken so far, folded; whole once the last chunk was taken.

        Raises:
            RuntimeError: the turn has not begun.
        """
        if self._stream is None:
            raise RuntimeError("the turn has not begun: take its first chunk, or enter it with async with")
        return self._stream.response

    @property
    def partial_value(self) -> Any:
        """With a ``response_format``, as much of the typed answer as is certain so far, as plain data; else None."""
        return self._stream.partial_value if isinstance(self._stream, CompletionStream) else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamingChunk:
        await self._begin()
        return cast("StreamingChunk", await anext(self._turn))

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def aclose(self) -> None:
        """Leaves the turn."""
        self.close()
        with suppress(RuntimeError):  # another task takes a chunk this moment: that ends now, with an error
            await self._turn.aclose()

    def close(self) -> None:
        """Closes the connection, for where nothing can be awaited; in the thread of the event loop only."""
        self._left = True
        if self._stream is not None:
            self._stream.close()

    async def _begin(self) -> None:
        if self._stream is None:
            try:
                stream = cast("CompletionStream | ToolStream", await anext(self._turn))
            except StopAsyncIteration:
                raise StreamInterruptedError("the turn was left, or failed, before it began") from None
            if self._left:
                await self._turn.aclose()
                raise StreamInterruptedError("the turn was left before it began")
            self._stream = stream
