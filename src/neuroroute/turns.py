"""A turn of a conversation as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

from neuroroute.errors import StreamInterruptedError
from neuroroute.responses import ModelResponse, StreamingChunk
from neuroroute.streams import CompletionStream
from neuroroute.toolloop import ToolStream

Turn: TypeAlias = AsyncGenerator[StreamingChunk | CompletionStream | ToolStream, None]
"""First the stream itself, then its chunks."""


class TurnStream:
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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leaves the turn."""
        self._left = True
        self.close()
        with suppress(RuntimeError):  # another task takes a chunk this moment: that ends now, with an error
            await self._turn.aclose()

    def close(self) -> None:
        """Closes the connection, for where nothing can be awaited; in the thread of the event loop only."""
        if self._stream is not None:
            self._stream.close()

    async def _begin(self) -> None:
        if self._stream is None:
            self._stream = cast("CompletionStream | ToolStream", await anext(self._turn))
            if self._left:
                await self._turn.aclose()
                raise StreamInterruptedError("the turn was left before it began")
