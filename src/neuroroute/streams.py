"""An answer as its caller takes it: whole, as a stream that raises, or as the specification's, which never does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

import msgspec

from neuroroute.assembly import assembled
from neuroroute.closing import AsyncClosing
from neuroroute.errors import LMStudioError, ModelContentFilteredError, ModelNotFoundError, StreamInterruptedError
from neuroroute.requests import ChatRequest
from neuroroute.responses import ModelResponse, StreamingChunk
from neuroroute.shapes.answers import set_parsed
from neuroroute.shapes.partial import PartialJSON

if TYPE_CHECKING:
    from neuroroute.pipe.reply import Reply


class CompletionStream(AsyncClosing):
    """Chunks of an answer; raises typed errors, which carry what came so far in ``partial``.

    ::

        async with adapter.stream("Tell me a story.") as stream:
            async for chunk in stream:
                print(chunk.chunk, end="")
        print(stream.response.tokens)

    Leaving it early closes the connection, so that the server stops generating.
    """

    __slots__ = (
        "_chunks",
        "_done",
        "_failure",
        "_make",
        "_reply",
        "_request",
        "_response",
        "_started",
        "_value",
        "_value_chunks",
    )

    def __init__(self, request: ChatRequest, make: Callable[[ChatRequest], Awaitable[Reply]]) -> None:
        self._request = request
        self._make = make
        self._reply: Reply | None = None
        self._chunks: list[StreamingChunk] = []
        self._response: ModelResponse | None = None
        self._done = False
        self._failure: LMStudioError | None = None
        self._started = 0.0
        self._value: PartialJSON | None = None
        self._value_chunks = 0

    @property
    def response(self) -> ModelResponse:
        """The chunks taken so far, folded; whole once the last chunk was taken."""
        return self._response or self._folded()

    @property
    def partial_value(self) -> Any:
        """With a ``response_format``, as much of the typed answer as is certain so far, as plain data; else None.

        Members that are complete, and the last text as far as it came; the same object grows from look to look.
        """
        if self._request.options["response_format"] is None:
            return None
        if self._value is None:
            self._value = PartialJSON()
        for chunk in self._chunks[self._value_chunks :]:
            self._value.feed(chunk.chunk)
        self._value_chunks = len(self._chunks)
        return self._value.value

    async def whole(self) -> ModelResponse:
        """Reads to the end.

        Raises:
            LMStudioError: the answer failed or broke off, now or before; or the stream was left before its end.
        """
        if not self._done:
            reply = self._reply or await self._begin()
            try:
                while await reply.read():
                    pass
                self._chunks += reply.ready
                reply.ready.clear()
                self._last()
            except LMStudioError as error:
                raise self._failed(error) from error.__cause__
        if self._response is None:
            raise self._failure or self._placed(StreamInterruptedError("the stream was left before its end"))
        return self._response

    def __aiter__(self) -> CompletionStream:
        return self

    async def __anext__(self) -> StreamingChunk:
        reply = self._reply
        if reply is not None and reply.ready:
            chunk = reply.ready.popleft()
            self._chunks.append(chunk)
            return chunk
        return await self._next()

    async def __aenter__(self) -> Self:
        if self._reply is None and not self._done:
            await self._begin()
        return self

    async def aclose(self) -> None:
        """Leaves the stream; the connection is closed unless the answer had ended."""
        self.close()

    def __del__(self) -> None:
        self.close()  # a loop was left with break

    def close(self) -> None:
        """What :meth:`aclose` does, for where nothing can be awaited; in the thread of the event loop only."""
        self._done = True
        if self._reply is not None:
            self._reply.close()

    async def _next(self) -> StreamingChunk:
        if self._done:
            raise StopAsyncIteration
        reply = self._reply or await self._begin()
        try:
            while not reply.ready:
                if not await reply.read():
                    return self._last()
        except LMStudioError as error:
            raise self._failed(error) from error.__cause__
        chunk = reply.ready.popleft()
        self._chunks.append(chunk)
        return chunk

    async def _begin(self) -> Reply:
        self._started = perf_counter()
        try:
            self._reply = reply = await self._make(self._request)
        except LMStudioError as error:
            self._done = True
            self._failure = self._placed(error)
            raise self._failure from error.__cause__
        if self._done:  # somebody closed it while its first chunk was waited for
            reply.close()
            self._failure = self._placed(StreamInterruptedError("the stream was left before its end"))
            raise self._failure
        self._compare_models(reply)
        return reply

    def _last(self) -> StreamingChunk:
        response = self._folded()
        if response.finish_reason == "content_filter":
            raise ModelContentFilteredError("the server's filter ended the answer")
        if (shape := self._request.options["response_format"]) is not None:
            set_parsed(response, shape)
        self._response = response
        self._done = True
        return StreamingChunk(
            "",
            True,
            response.model,
            response.finish_reason,
            function_call=response.function_call,
            usage=response.tokens,
        )

    def _failed(self, error: LMStudioError) -> LMStudioError:
        """The error of an answer that had begun: it carries what came, and is final."""
        assert self._reply is not None  # noqa: S101
        self.close()
        self._reply.answer.finish()  # what was held back in case that it was a tag is text, now
        self._chunks += self._reply.ready
        self._reply.ready.clear()
        error.partial = self._folded()
        error.retryable = False
        error.attempts = self._reply.attempts
        self._response = None
        self._failure = self._placed(error)
        return self._failure

    def _placed(self, error: LMStudioError) -> LMStudioError:
        error.model = error.model or self._request.model
        error.host = error.host or self._request.host or None
        return error

    def _compare_models(self, reply: Reply) -> None:
        note = self._request.different_model(reply.answer.model)
        if note is None:
            return
        if self._request.options["strict_model"]:
            raise self._failed(ModelNotFoundError(note.message, hint="Load the model that you asked for."))
        self._request.notes.append(note)

    def _folded(self) -> ModelResponse:
        took = perf_counter() - self._started if self._started else 0.0
        return assembled(self._request, self._reply, self._chunks, took)


class ChunkStream(AsyncClosing):
    """The specification's form: never raises for a server's failure.

    Its last chunk, and only that, has ``done=True``, and ``error=True`` with ``error_details`` if the answer failed.
    The connection is given back before that chunk is handed out, so ``break`` leaks nothing. The calls of an answer
    also come as one chunk of text before it: ``[Function Call]: {...}``, or ``[Tool Call]: [...]`` with tools.
    """

    __slots__ = ("_last", "_stream")

    def __init__(self, stream: CompletionStream) -> None:
        self._stream = stream
        self._last: StreamingChunk | None = None
        """The last chunk, while that which tells of calls is handed out before it."""

    def __aiter__(self) -> ChunkStream:
        return self

    async def __anext__(self) -> StreamingChunk:
        last, self._last = self._last, None
        if last is not None:
            return last
        try:
            chunk = await self._stream.__anext__()
        except LMStudioError as error:
            return StreamingChunk("", True, error.model or "", error=True, error_details=str(error), exception=error)
        if chunk.done and (told := _told_call(self._stream.response)):
            self._last = chunk
            return told
        return chunk

    async def aclose(self) -> None:
        """Leaves the stream; the connection is closed unless the answer had ended."""
        self.close()

    def close(self) -> None:
        """What :meth:`aclose` does, for where nothing can be awaited; in the thread of the event loop only."""
        self._stream.close()


def _told_call(response: ModelResponse) -> StreamingChunk | None:
    """The calls of an answer as the specification's streams tell them: as text, once they are complete."""
    if response.finish_reason == "length":
        return None  # the last one was cut off
    if call := response.function_call:
        text = f"[Function Call]: {_encode(call).decode()}"
        return StreamingChunk(text, False, response.model, function_call=call)
    if response.tool_calls:
        return StreamingChunk(f"[Tool Call]: {_encode(response.tool_calls).decode()}", False, response.model)
    return None


_encode = msgspec.json.Encoder().encode
