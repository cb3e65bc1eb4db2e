"""Ask, run the tools that the model calls, ask again: bounded in rounds, in time and in size."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any, Self, TypeAlias, TypeVar

from msgspec.structs import replace

from neuroroute.closing import AsyncClosing
from neuroroute.errors import (
    LMStudioError,
    ModelInvalidRequestError,
    StreamInterruptedError,
    ToolArgumentsError,
    ToolError,
    ToolRefusedError,
    ToolRoundsError,
    ToolUnknownError,
)
from neuroroute.messages import AnyMessage, ToolCall, ToolMessage
from neuroroute.pipe.events import Tell, ToolRan
from neuroroute.responses import ModelResponse, Note, StreamingChunk
from neuroroute.streams import CompletionStream
from neuroroute.tools.results import bounded
from neuroroute.tools.running import call as run_function
from neuroroute.tools.running import takes
from neuroroute.tools.toolbox import CheckedCall, Toolbox
from neuroroute.wire.toolcalls import canonical

T = TypeVar("T")
Verdict: TypeAlias = bool | str | None
OnToolCall: TypeAlias = Callable[[ToolCall], Verdict | Awaitable[Verdict]]
"""Is shown each call before it runs. True or None approve it; False, or a reason as text, refuse it."""

Ask: TypeAlias = Callable[[list[AnyMessage] | None], Awaitable[ModelResponse]]
"""Asks with this history, or with what the caller gave."""

SAME_CALL_LIMIT = 3
"""A call that was made so often with the same arguments goes round in circles."""


class ToolLoop:
    """One run: which tools there are, and what was called already. A call is run at most once."""

    def __init__(
        self,
        tools: Toolbox,
        *,
        max_rounds: int,
        on_tool_call: OnToolCall | None = None,
        tell: Tell | None = None,
    ) -> None:
        """Checks everything.

        Args:
            tools: all of which can be run.
            max_rounds: of tools.
            on_tool_call: may refuse a call.
            tell: tells observers of each call.

        Raises:
            ModelInvalidRequestError: names what is wrong.
        """
        rounds: object = max_rounds
        if type(rounds) is not int or rounds < 1:
            raise ModelInvalidRequestError(f"max_rounds is {rounds!r:.60}; it must be a whole number of at least 1")
        if on_tool_call is not None and not takes(on_tool_call, 1):
            raise ModelInvalidRequestError("on_tool_call must be a function that takes a ToolCall")
        self._tools = tools
        self._rounds_left = max_rounds
        self._max_rounds = max_rounds
        self._on_tool_call = on_tool_call
        self._tell = tell
        self._made: Counter[tuple[str, bytes]] = Counter()
        self._notes: list[Note] = []
        self._running: list[asyncio.Task[Any]] = []
        self._left = False

    async def run(self, ask: Ask, ask_typed: Ask | None = None) -> ModelResponse:
        """The first answer that calls nothing, with the notes of all.

        Args:
            ask: asks with the tools.
            ask_typed: asks without them for an answer of a type, which takes the place of the last one in words: the
                grammar of a ``response_format`` would let the model call nothing.

        Raises:
            ToolRoundsError: the model did not come to an end.
            LMStudioError: a request failed; ``partial.messages`` has what was done until then.
        """
        began = perf_counter()
        response = await ask(None)
        while (messages := await self.answered(response)) is not None:
            response = await _asked(ask, response, messages)
        if ask_typed is not None:
            response = await _asked(ask_typed, response, response.messages[:-1])
            self._tell_all(response)
        response.processing_time = perf_counter() - began
        return response

    async def answered(self, response: ModelResponse) -> list[AnyMessage] | None:
        """The history with the results of the calls of this answer; None if it calls nothing.

        The notes of the answers before it become its own.

        Raises:
            ToolRoundsError: no round is left, or a call was made too often; ``partial`` is the response.
            StreamInterruptedError: :meth:`leave` was called meanwhile.
        """
        self._tell_all(response)
        calls = response.tool_calls
        if not calls:
            return None
        if not self._rounds_left:
            raise _ended(f"the model still asks for tools after max_rounds={self._max_rounds} rounds", response)
        self._rounds_left -= 1
        for call in calls:
            key = (call.function.name, canonical(call.function.arguments))
            self._made[key] += 1
            if self._made[key] >= SAME_CALL_LIMIT:
                why = f"the model called {key[0]!r:.80} {SAME_CALL_LIMIT} times with the same arguments"
                raise _ended(why, response)
        return [*response.messages, *await self._results(response)]

    def leave(self) -> None:
        """Cancels the tools that run; whoever waits for them is told. In the thread of the event loop only."""
        self._left = True
        for task in self._running:
            task.cancel()

    def _tell_all(self, response: ModelResponse) -> None:
        self._notes += [note for note in response.notes if note not in self._notes]
        response.notes = (*self._notes,)

    async def _results(self, response: ModelResponse) -> list[ToolMessage]:
        """The calls' results in their order. They are approved one by one, and run side by side."""
        calls = response.tool_calls
        approved = [(await self._together([self._approved(call)]))[0] for call in calls]
        return await self._together([self._result(response, *pair) for pair in zip(calls, approved, strict=True)])

    async def _together(self, works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """Runs these side by side, where :meth:`leave` can end them."""
        running = [asyncio.create_task(work) for work in works]
        self._running = [*running]
        try:
            done = await asyncio.gather(*running)
        except BaseException:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._check_left()  # if so the tasks were cancelled, not who waits for them
            raise
        finally:
            self._running = []
        self._check_left()
        return done

    def _check_left(self) -> None:
        if self._left:
            raise StreamInterruptedError("the stream was left before its end")

    async def _approved(self, call: ToolCall) -> CheckedCall | ToolError:
        """The call, found right; or why it is not run."""
        try:
            checked = self._tools.check(call.function.name, call.function.arguments)
        except (ToolUnknownError, ToolArgumentsError) as error:
            return error
        # In a thread where it is not async, like a tool: it may well ask somebody, or the model.
        verdict = None if self._on_tool_call is None else await run_function(partial(self._on_tool_call, call), {})
        if verdict is None or verdict is True:
            return checked
        if verdict is False:
            return ToolRefusedError("the call was refused")
        if isinstance(verdict, str):
            return ToolRefusedError(f"the call was refused: {verdict}")
        raise TypeError(f"on_tool_call must return True, None, False or a reason, not {type(verdict).__name__}")

    async def _result(self, response: ModelResponse, call: ToolCall, approved: CheckedCall | ToolError) -> ToolMessage:
        began, code = perf_counter(), None
        try:
            if isinstance(approved, ToolError):
                raise approved
            text = await self._tools.run(approved)
        except ToolError as error:
            code = error.code
            told = f"Error: {error.message}." + (f" {error.hint}" if error.hint else "")
            text = bounded(told, self._tools.max_result_bytes)
        if self._tell is not None:
            name = "" if isinstance(approved, ToolUnknownError) else call.function.name
            took = (perf_counter() - began) * 1000
            of = response.request_id
            self._tell(
                ToolRan(host=response.host, model=response.model, request_id=of, name=name, duration_ms=took, code=code)
            )
        return ToolMessage(tool_call_id=call.id, content=text, name=call.function.name or None)


class ToolStream(AsyncClosing):
    """The chunks of every answer of the loop, one after the other; only the last chunk of all has ``done=True``.

    ::

        async with adapter.stream_tools("How warm is it in Paris?", tools=[get_weather], max_rounds=3) as stream:
            async for chunk in stream:
                print(chunk.chunk, end="")
        print(stream.response.messages)

    Leaving it early closes the connection, and cancels the tools that run.
    """

    def __init__(self, loop: ToolLoop, opened: Callable[[list[AnyMessage] | None], CompletionStream]) -> None:
        self._loop = loop
        self._opened = opened
        self._stream = opened(None)  # so that wrong input raises where the caller wrote it
        self._chunks = self._all()

    @property
    def response(self) -> ModelResponse:
        """The answer at hand, folded; the last one once the last chunk was taken."""
        return self._stream.response

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamingChunk:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """Leaves it: nothing more is asked, nothing more is run."""
        self.close()
        with suppress(RuntimeError):  # another task takes a chunk this moment: that ends now, with an error
            await self._chunks.aclose()

    def close(self) -> None:
        """What :meth:`aclose` does, for where nothing can be awaited; in the thread of the event loop only."""
        self._loop.leave()
        self._stream.close()

    async def _all(self) -> AsyncGenerator[StreamingChunk, None]:
        last = StreamingChunk(done=True)
        before: ModelResponse | None = None
        messages: list[AnyMessage] | None = None
        while True:
            try:
                async with self._stream as stream:
                    async for chunk in stream:
                        if chunk.done:
                            last = chunk
                        else:
                            yield chunk
            except LMStudioError as error:
                raise _with_results(error, before, messages) from error.__cause__
            before = self._stream.response
            messages = await self._loop.answered(before)
            if messages is None:
                yield last
                return
            self._stream = self._opened(messages)


async def _asked(ask: Ask, response: ModelResponse, messages: list[AnyMessage]) -> ModelResponse:
    try:
        return await ask(messages)
    except LMStudioError as error:
        raise _with_results(error, response, messages) from error.__cause__


def _with_results(
    error: LMStudioError, response: ModelResponse | None, messages: list[AnyMessage] | None
) -> LMStudioError:
    """The error of a later request: unless it has an answer of its own, it carries the last with the results."""
    if error.partial is None and response is not None and messages is not None:
        error.partial = replace(response, messages=messages)
    return error


def _ended(why: str, response: ModelResponse) -> ToolRoundsError:
    error = ToolRoundsError(why, model=response.model, host=response.host)
    error.partial = response
    return error
