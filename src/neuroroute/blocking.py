"""SyncLMStudioAdapter: the verbs of the adapter, declared, not written again.

One event loop in a thread of its own runs them all, so that one adapter may be used from many threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast

from neuroroute.adapter import LMStudioAdapter
from neuroroute.base import Adapter
from neuroroute.budget import ContextBudget
from neuroroute.conversation import Conversation
from neuroroute.errors import NetworkError
from neuroroute.messages import AnyMessage
from neuroroute.responses import ModelResponse, StreamingChunk
from neuroroute.streams import ChunkStream, CompletionStream
from neuroroute.toolloop import ToolStream
from neuroroute.turns import TurnStream

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A")
S = TypeVar("S", bound=CompletionStream | ChunkStream | ToolStream | TurnStream)


class _Life:
    """The loop and thread of one process."""

    __slots__ = ("lock", "loop", "thread")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None

    def running(self) -> asyncio.AbstractEventLoop:
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.loop.run_forever, name="neuroroute", daemon=True)
            self.thread.start()
        return self.loop


class _LoopThread:
    """An event loop in a daemon thread, started on first use; after a fork, the child starts one of its own.

    A fork copies no thread but the one that forks, and a lock as it was, perhaps held for ever.
    """

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}

    def _life(self) -> _Life:
        process = os.getpid()
        return self._lives.get(process) or self._lives.setdefault(process, _Life())

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """The coroutine's result; what interrupts the caller (Ctrl-C) cancels it."""
        life = self._life()
        with life.lock:  # so that no call begins while stop() ends them
            future = asyncio.run_coroutine_threadsafe(coroutine, life.running())
        try:
            return future.result()
        except CancelledError:
            raise NetworkError("the adapter was closed in another thread", retryable=False, hint="") from None
        except BaseException:
            future.cancel()
            raise

    def call_soon(self, action: Callable[[], None]) -> None:
        """Runs the action in the loop's thread, if that is still there."""
        loop = self._life().loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it stopped this very moment
                loop.call_soon_threadsafe(action)

    def stop(self) -> None:
        """Ends the thread, and the calls of other threads with it; a later use starts another."""
        life = self._life()
        with life.lock:
            loop, thread = life.loop, life.thread
            life.loop = life.thread = None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _cancel_others() -> None:
    """Cancels all that the loop still does, and waits until it has ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _SyncStream(Generic[S]):
    def __init__(self, stream: S, thread: _LoopThread) -> None:
        self._stream: S = stream
        self._thread = thread

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamingChunk:
        chunk = self._thread.run(self._take())
        if chunk is None:
            raise StopIteration
        return chunk

    def __enter__(self) -> Self:
        self._thread.run(self._stream.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A loop was left with break. Not waited for: this may run in any thread, the event loop's own included.
        self._thread.call_soon(self._stream.close)

    def close(self) -> None:
        """Leaves the stream; the connection is closed unless the answer had ended."""
        self._thread.run(self._stream.aclose())

    async def _take(self) -> StreamingChunk | None:
        # A coroutine may not raise StopAsyncIteration into a future.
        async for chunk in self._stream:
            return chunk
        return None


class SyncCompletionStream(_SyncStream[CompletionStream]):
    """Chunks of an answer, blocking; raises typed errors, which carry what came so far in ``partial``."""

    @property
    def response(self) -> ModelResponse:
        """The chunks taken so far, folded; whole once the last chunk was taken."""
        return self._stream.response


class SyncChunkStream(_SyncStream[ChunkStream]):
    """The specification's form of a stream, blocking: a failure is its last chunk, never raised."""


class SyncToolStream(_SyncStream[ToolStream]):
    """The chunks of a loop of tools, blocking."""

    @property
    def response(self) -> ModelResponse:
        """The answer at hand, folded; the last one once the last chunk was taken."""
        return self._stream.response


class SyncTurnStream(_SyncStream[TurnStream]):
    """The chunks of a turn's answer, blocking."""

    @property
    def response(self) -> ModelResponse:
        """The chunks taken so far, folded; whole once the last chunk was taken."""
        return self._stream.response


def _blocking(
    verb: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]:
    @wraps(verb)
    def blocking(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", self.loop_thread.run(verb(self.asynchronous, *args, **kwargs)))

    return cast("Callable[Concatenate[Any, P], R]", blocking)


def _wrapping(
    verb: Callable[Concatenate[A, P], T], kind: Callable[[T, _LoopThread], R]
) -> Callable[Concatenate[Any, P], R]:
    """A verb that does not wait, but gives something that does."""

    @wraps(verb)
    def wrapping(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        return kind(verb(self.asynchronous, *args, **kwargs), self.loop_thread)

    return cast("Callable[Concatenate[Any, P], R]", wrapping)


class SyncConversation:
    """:class:`~neuroroute.Conversation` for code without asyncio; its verbs take what those take, and block."""

    def __init__(self, asynchronous: Conversation, loop_thread: _LoopThread) -> None:
        self.asynchronous = asynchronous
        self.loop_thread = loop_thread

    ask = _blocking(Conversation.ask)
    stream = _wrapping(Conversation.stream, SyncTurnStream)
    run_tools = _blocking(Conversation.run_tools)
    stream_tools = _wrapping(Conversation.stream_tools, SyncTurnStream)

    @property
    def id(self) -> str:
        """Under which it is kept in a store."""
        return self.asynchronous.id

    @property
    def messages(self) -> tuple[AnyMessage, ...]:
        """The whole history, also what is not sent any more."""
        return self.asynchronous.messages

    @property
    def budget(self) -> ContextBudget:
        """Tokens that the history takes, and that are left."""
        return self.asynchronous.budget

    def branch(self) -> SyncConversation:
        """Another conversation that goes on from here, under an id of its own."""
        return SyncConversation(self.asynchronous.branch(), self.loop_thread)

    def load(self) -> Self:
        """Reads it from its store, if there is one."""
        self.loop_thread.run(self.asynchronous.load())
        return self

    def __enter__(self) -> Self:
        return self.load()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left open: every turn was saved when it ended."""

    def __repr__(self) -> str:
        return f"<Sync{repr(self.asynchronous).removeprefix('<')}"


class SyncLMStudioAdapter(Adapter):
    """:class:`~neuroroute.LMStudioAdapter` for code without asyncio; safe in threads, and after a fork.

    ::

        with SyncLMStudioAdapter("llama3") as adapter:
            print(adapter.generate_completion("What are the three laws of robotics?").text)

    Made as that one is. Its verbs take what those take, and block.
    """

    loop_thread: _LoopThread

    generate_completion = _blocking(LMStudioAdapter.generate_completion)
    stream = _wrapping(LMStudioAdapter.stream, SyncCompletionStream)
    generate_completion_stream = _wrapping(LMStudioAdapter.generate_completion_stream, SyncChunkStream)
    run_tools = _blocking(LMStudioAdapter.run_tools)
    stream_tools = _wrapping(LMStudioAdapter.stream_tools, SyncToolStream)
    conversation = _wrapping(LMStudioAdapter.conversation, SyncConversation)
    context_length = _blocking(LMStudioAdapter.context_length)
    list_models = _blocking(LMStudioAdapter.list_models)
    is_available = _blocking(LMStudioAdapter.is_available)

    def _prepare(self) -> None:
        self.loop_thread = _LoopThread()

    @property
    def asynchronous(self) -> LMStudioAdapter:
        """The same adapter for asyncio; it shares everything with this one."""
        adapter = LMStudioAdapter.__new__(LMStudioAdapter)
        adapter.__dict__.update(self.__dict__)
        return adapter

    def close(self) -> None:
        """Closes the connections and ends the thread, those of siblings too; the next call starts anew."""
        self.loop_thread.run(self.asynchronous.aclose())
        self.loop_thread.stop()

    aclose = close

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
