"""SyncLMStudioAdapter: the verbs of the adapter, declared, not written again.

One event loop in a thread of its own runs them all, so that one adapter may be used from many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast

from neuroroute.adapter import LMStudioAdapter
from neuroroute.base import Adapter
from neuroroute.budget import ContextBudget
from neuroroute.conversation import Conversation
from neuroroute.loopthread import LoopThread
from neuroroute.messages import AnyMessage, ChatMessage, UserMessage
from neuroroute.responses import ModelResponse, StreamingChunk
from neuroroute.streams import ChunkStream, CompletionStream
from neuroroute.toolloop import ToolStream
from neuroroute.turns import TurnStream

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A")
S = TypeVar("S", bound=CompletionStream | ChunkStream | ToolStream | TurnStream)


class _SyncStream(Generic[S]):
    def __init__(self, stream: S, thread: LoopThread) -> None:
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

    @property
    def partial_value(self) -> Any:
        """With a ``response_format``, as much of the typed answer as is certain so far, as plain data; else None."""
        return self._stream.partial_value


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

    @property
    def partial_value(self) -> Any:
        """With a ``response_format``, as much of the typed answer as is certain so far, as plain data; else None."""
        return self._stream.partial_value


def _blocking(
    verb: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]:
    @wraps(verb)
    def blocking(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", self.loop_thread.run(verb(self.asynchronous, *args, **kwargs)))

    return cast("Callable[Concatenate[Any, P], R]", blocking)


def _wrapping(
    verb: Callable[Concatenate[A, P], T], kind: Callable[[T, LoopThread], R]
) -> Callable[Concatenate[Any, P], R]:
    """A verb that does not wait, but gives something that does."""

    @wraps(verb)
    def wrapping(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        return kind(verb(self.asynchronous, *args, **kwargs), self.loop_thread)

    return cast("Callable[Concatenate[Any, P], R]", wrapping)


class SyncConversation:
    """:class:`~neuroroute.Conversation` for code without asyncio; its verbs take what those take, and block."""

    def __init__(self, asynchronous: Conversation, loop_thread: LoopThread) -> None:
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
        """The whole history, also what is not sent any more. Set it to go on from another; saved with the next turn."""
        return self.asynchronous.messages

    @messages.setter
    def messages(self, messages: Iterable[ChatMessage | Mapping[str, Any]]) -> None:
        self.asynchronous.messages = messages

    @property
    def system_message(self) -> str | None:
        """How the model is to behave; set it to say something else from the next turn on. None: nothing is said."""
        return self.asynchronous.system_message

    @system_message.setter
    def system_message(self, text: str | None) -> None:
        self.asynchronous.system_message = text

    @property
    def budget(self) -> ContextBudget:
        """Tokens that the history takes, and that are left."""
        return self.asynchronous.budget

    def undo(self) -> UserMessage | None:
        """Takes the last turn back, and gives what was asked in it; None: there is none. Saved with the next turn."""
        return self.asynchronous.undo()

    def reset(self) -> None:
        """Forgets everything but the system messages. Saved with the next turn."""
        self.asynchronous.reset()

    def branch(self) -> SyncConversation:
        """Another conversation that goes on from here, under an id of its own."""
        return SyncConversation(self.asynchronous.branch(), self.loop_thread)

    def save(self) -> None:
        """Saves what was changed since the last turn; every turn saves by itself."""
        self.loop_thread.run(self.asynchronous.save())

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

    loop_thread: LoopThread

    generate_completion = _blocking(LMStudioAdapter.generate_completion)
    stream = _wrapping(LMStudioAdapter.stream, SyncCompletionStream)
    generate_completion_stream = _wrapping(LMStudioAdapter.generate_completion_stream, SyncChunkStream)
    run_tools = _blocking(LMStudioAdapter.run_tools)
    stream_tools = _wrapping(LMStudioAdapter.stream_tools, SyncToolStream)
    conversation = _wrapping(LMStudioAdapter.conversation, SyncConversation)
    embed = _blocking(LMStudioAdapter.embed)
    count_tokens = _blocking(LMStudioAdapter.count_tokens)
    context_length = _blocking(LMStudioAdapter.context_length)
    list_models = _blocking(LMStudioAdapter.list_models)
    find_model = _blocking(LMStudioAdapter.find_model)
    get_details = _blocking(LMStudioAdapter.get_details)
    get_capabilities = _blocking(LMStudioAdapter.get_capabilities)
    is_available = _blocking(LMStudioAdapter.is_available)
    load_model = _blocking(LMStudioAdapter.load_model)
    unload_model = _blocking(LMStudioAdapter.unload_model)
    download_model = _blocking(LMStudioAdapter.download_model)
    warm_up = _blocking(LMStudioAdapter.warm_up)
    check_hosts = _blocking(LMStudioAdapter.check_hosts)
    drain = _blocking(LMStudioAdapter.drain)

    def _prepare(self) -> None:
        self.loop_thread = LoopThread()

    @property
    def asynchronous(self) -> LMStudioAdapter:
        """The same adapter for asyncio; it shares everything with this one."""
        adapter = LMStudioAdapter.__new__(LMStudioAdapter)
        vars(adapter).update(vars(self))
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
