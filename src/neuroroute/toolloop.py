"""Ask, run the tools that the model calls, ask again: bounded in rounds, in time and in size."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeAlias

import msgspec

from neuroroute.errors import (
    ModelInvalidRequestError,
    ToolArgumentsError,
    ToolError,
    ToolRefusedError,
    ToolRoundsError,
    ToolUnknownError,
)
from neuroroute.messages import AnyMessage, ToolCall, ToolMessage
from neuroroute.responses import ModelResponse, StreamingChunk
from neuroroute.streams import CompletionStream
from neuroroute.tools.toolbox import CheckedCall, Toolbox

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
    ) -> None:
        """Checks everything.

        Args:
            tools: all of which can be run.
            max_rounds: of tools.
            on_tool_call: may refuse a call.

        Raises:
            ModelInvalidRequestError: names what is wrong.
        """
        rounds: object = max_rounds
        if type(rounds) is not int or rounds < 1:
            raise ModelInvalidRequestError(f"max_rounds is {rounds!r:.60}; it must be a whole number of at least 1")
        if on_tool_call is not None and not callable(on_tool_call):
            raise ModelInvalidRequestError("on_tool_call must be a function that takes a ToolCall")
        self._tools = tools
        self._rounds_left = max_rounds
        self._max_rounds = max_rounds
        self._on_tool_call = on_tool_call
        self._made: Counter[tuple[str, str]] = Counter()

    async def run(self, ask: Ask) -> ModelResponse:
        """The first answer that calls nothing.

        Raises:
            ToolRoundsError: the model did not come to an end.
            LMStudioError: a request failed.
        """
        began = perf_counter()
        response = await ask(None)
        while (messages := await self.answered(response)) is not None:
            response = await ask(messages)
        response.processing_time = perf_counter() - began
        return response

    async def answered(self, response: ModelResponse) -> list[AnyMessage] | None:
        """The history with the results of the calls of this answer; None if it calls nothing.

        Raises:
            ToolRoundsError: no round is left, or a call was made too often; ``partial`` is the response.
        """
        calls = response.tool_calls
        if not calls:
            return None
        if not self._rounds_left:
            raise _ended(f"the model still asks for tools after max_rounds={self._max_rounds} rounds", response)
        self._rounds_left -= 1
        for call in calls:
            key = (call.function.name, _canonical(call.function.arguments))
            self._made[key] += 1
            if self._made[key] >= SAME_CALL_LIMIT:
                why = f"the model called {key[0]!r:.80} {SAME_CALL_LIMIT} times with the same arguments"
                raise _ended(why, response)
        return [*response.messages, *await self._results(calls)]

    async def _results(self, calls: Sequence[ToolCall]) -> list[ToolMessage]:
        """The calls' results in their order. They are approved one by one, and run side by side."""
        approved = [await self._approved(call) for call in calls]
        running = [asyncio.ensure_future(self._result(*pair)) for pair in zip(calls, approved, strict=True)]
        try:
            return await asyncio.gather(*running)
        except BaseException:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            raise

    async def _approved(self, call: ToolCall) -> CheckedCall | ToolError:
        """The call, found right; or why it is not run."""
        try:
            checked = self._tools.check(call.function.name, call.function.arguments)
        except (ToolUnknownError, ToolArgumentsError) as error:
            return error
        verdict: Any = None if self._on_tool_call is None else self._on_tool_call(call)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        if verdict is None or verdict is True:
            return checked
        if verdict is False:
            return ToolRefusedError("the call was refused")
        if isinstance(verdict, str):
            return ToolRefusedError(f"the call was refused: {verdict}")
        raise TypeError(f"on_tool_call must return True, None, False or a reason, not {type(verdict).__name__}")

    async def _result(self, call: ToolCall, approved: CheckedCall | ToolError) -> ToolMessage:
        try:
            if isinstance(approved, ToolError):
                raise approved
            text = await self._tools.run(approved)
        except ToolError as error:
            text = f"Error: {error.message}." + (f" {error.hint}" if error.hint else "")
        return ToolMessage(tool_call_id=call.id, content=text, name=call.function.name or None)


class ToolStream:
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leaves it: nothing more is asked, nothing more is run."""
        await self._chunks.aclose()
        await self._stream.aclose()

    def close(self) -> None:
        """Closes the connection at hand, for where nothing can be awaited; in the thread of the event loop only."""
        self._stream.close()

    async def _all(self) -> AsyncGenerator[StreamingChunk, None]:
        last = StreamingChunk(done=True)
        while True:
            async with self._stream as stream:
                async for chunk in stream:
                    if chunk.done:
                        last = chunk
                    else:
                        yield chunk
            messages = await self._loop.answered(self._stream.response)
            if messages is None:
                yield last
                return
            self._stream = self._opened(messages)


def _canonical(arguments: str) -> str:
    """The same for the same arguments, however they are written."""
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments), order="sorted").decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return arguments.strip()


def _ended(why: str, response: ModelResponse) -> ToolRoundsError:
    error = ToolRoundsError(why, model=response.model, host=response.host)
    error.partial = response
    return error
