"""An answer as its caller takes it: whole, as a stream that raises, or as the specification's, which never does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Self

from neuroroute.details import same_model
from neuroroute.errors import LMStudioError, ModelContentFilteredError, ModelNotFoundError
from neuroroute.requests import ChatRequest
from neuroroute.responses import (
    Folded,
    ModelResponse,
    Note,
    StreamingChunk,
    TokenUsage,
    estimate_tokens,
    fold,
)

if TYPE_CHECKING:
    from neuroroute.pipe.reply import Reply


class CompletionStream:
    """Chunks of an answer; raises typed errors, which carry what came so far in ``partial``.

    ::

        async with adapter.stream("Tell me a story.") as stream:
            async for chunk in stream:
                print(chunk.chunk, end="")
        print(stream.response.tokens)

    Leaving it early closes the connection, so that the server stops generating.
    """

    __slots__ = ("_chunks", "_done", "_make", "_reply", "_request", "_response", "_started")

    def __init__(self, request: ChatRequest, make: Callable[[ChatRequest], Awaitable[Reply]]) -> None:
        self._request = request
        self._make = make
        self._reply: Reply | None = None
        self._chunks: list[StreamingChunk] = []
        self._response: ModelResponse | None = None
        self._done = False
        self._started = 0.0

    @property
    def response(self) -> ModelResponse:
        """The chunks taken so far, folded; whole once the last chunk was taken."""
        return self._response or self._folded()

    async def whole(self) -> ModelResponse:
        """Reads to the end.

        Raises:
            LMStudioError: the answer failed or broke off.
        """
        if not self._done:
            reply = self._reply or await self._begin()
            try:
                while await reply.read():
                    pass
                self._chunks += reply.ready
                reply.ready.clear()
                self._last(reply)
            except LMStudioError as error:
                raise self._failed(error) from error.__cause__
        return self.response

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
        if self._reply is None:
            await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

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
                    return self._last(reply)
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
            raise self._placed(error) from error.__cause__
        self._compare_models(reply)
        return reply

    def _last(self, reply: Reply) -> StreamingChunk:
        answer = reply.answer
        self._response = response = self._folded()
        if answer.finish_reason == "content_filter":
            raise ModelContentFilteredError("the server's filter ended the answer")
        self._done = True
        return StreamingChunk("", True, answer.model, answer.finish_reason, usage=response.tokens)

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
        return self._placed(error)

    def _placed(self, error: LMStudioError) -> LMStudioError:
        error.model = error.model or self._request.model
        error.host = error.host or self._request.host or None
        return error

    def _compare_models(self, reply: Reply) -> None:
        asked, answered = self._request.model, reply.answer.model
        if not answered or same_model(asked, answered):
            return
        if self._request.options["strict_model"]:
            raise self._failed(
                ModelNotFoundError(
                    f"{answered!r} answered instead of {asked!r}", hint="Load the model that you asked for."
                )
            )
        self._request.notes.append(Note("DIFFERENT_MODEL", f"{answered!r} answered although {asked!r} was asked for"))

    def _folded(self) -> ModelResponse:
        request, reply = self._request, self._reply
        folded = fold(self._chunks)
        took = perf_counter() - self._started if self._started else 0.0
        if reply is None:
            tokens = TokenUsage(estimated=True)
            return ModelResponse(text="", tokens=tokens, model="", processing_time=took, messages=[*request.messages])
        answer = reply.answer
        notes = request.notes
        if folded.reasoning and request.options["reasoning"] == "off":
            notes = [*notes, Note("REASONING_NOT_HONOURED", "the model reasoned although reasoning was off")]
        return ModelResponse(
            text=folded.text,
            tokens=_tokens(answer.usage, request, folded),
            model=answer.model,
            processing_time=took,
            messages=[*request.messages, folded.message()],
            reasoning=folded.reasoning,
            finish_reason=answer.finish_reason,
            tool_calls=folded.tool_calls,
            stats=answer.stats,
            attempts=reply.attempts,
            host=reply.host,
            notes=tuple(notes),
            raw_json=answer.raw(folded),
        )


class ChunkStream:
    """The specification's form: never raises for a server's failure.

    Its last chunk, and only that, has ``done=True``, and ``error=True`` with ``error_details`` if the answer failed.
    The connection is given back before that chunk is handed out, so ``break`` leaks nothing.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: CompletionStream) -> None:
        self._stream = stream

    def __aiter__(self) -> ChunkStream:
        return self

    async def __anext__(self) -> StreamingChunk:
        try:
            return await self._stream.__anext__()
        except LMStudioError as error:
            return StreamingChunk("", True, error.model or "", error=True, error_details=str(error), exception=error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leaves the stream; the connection is closed unless the answer had ended."""
        self.close()

    def close(self) -> None:
        """What :meth:`aclose` does, for where nothing can be awaited; in the thread of the event loop only."""
        self._stream.close()


def _tokens(counted: TokenUsage | None, request: ChatRequest, folded: Folded) -> TokenUsage:
    """The server's count; an estimate where it has none, or counts nothing for something (LM Studio #1602)."""
    if counted is not None and counted.prompt and (counted.completion or not (folded.text or folded.reasoning)):
        return counted
    prompt = sum(estimate_tokens(message.text) + 4 for message in request.messages)
    completion = estimate_tokens(folded.text + folded.reasoning)
    return TokenUsage(prompt=prompt, completion=completion, total=prompt + completion, estimated=True)
