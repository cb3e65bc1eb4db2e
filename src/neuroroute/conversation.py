"""A conversation that keeps its own history: one turn at a time, trimmed to what the model holds, saved if wanted."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias, Unpack, cast
from uuid import uuid4
from weakref import WeakKeyDictionary

from neuroroute.budget import ContextBudget
from neuroroute.details import ModelDetails
from neuroroute.errors import LMStudioError, ModelBusyError, ModelInvalidRequestError
from neuroroute.history import History
from neuroroute.messages import AnyMessage, ChatMessage, MessageReader, UserMessage
from neuroroute.options import CommonOptions, RequestOptions
from neuroroute.responses import ModelResponse, Note
from neuroroute.store import ConversationStore
from neuroroute.streams import CompletionStream
from neuroroute.toolloop import OnToolCall, ToolStream
from neuroroute.tools.toolbox import Toolbox, ToolItem
from neuroroute.trimming import trimmed
from neuroroute.turns import Turn, TurnStream
from neuroroute.wire.adapt import adapted

Summarise: TypeAlias = Callable[[list[AnyMessage], int], "list[AnyMessage] | Awaitable[list[AnyMessage]]"]
"""Is given the history and how many tokens it may have; gives the history to go on with."""
Trim: TypeAlias = Literal["oldest"] | Summarise | None
Prompt: TypeAlias = str | UserMessage
Options: TypeAlias = dict[str, Any]

_TRIM_TO = 0.7
"""Trimmed to this share, so that not every further turn drops one more: each drop makes the model read all anew."""
_ANY_TURN: Options = {"messages": [UserMessage(content="?")]}


class Verbs(NamedTuple):
    """How an adapter is asked: each takes options, ``messages`` among them."""

    model_id: str
    reader: MessageReader
    defaults: Options
    """The adapter's own options."""
    details: Callable[[str | None], Awaitable[ModelDetails | None]]
    ask: Callable[[Options], Awaitable[ModelResponse]]
    stream: Callable[[Options], CompletionStream]
    run_tools: Callable[[Options], Awaitable[ModelResponse]]
    stream_tools: Callable[[Options], ToolStream]


class _Plan(NamedTuple):
    """A turn that is about to be taken."""

    history: History
    """What it goes on from: the history as it is, or a shorter one."""
    question: UserMessage
    options: Options
    notes: list[Note]


class Conversation:
    """Keeps the history by itself.

    ::

        chat = adapter.conversation(system_message="You are a pirate.")
        print((await chat.ask("Who are you?")).text)
        print((await chat.ask("And what do you like?")).text)

    Turns are taken one at a time, in the order they were asked for. A turn that fails or is left leaves the history as
    it was. With a store it is loaded on the first turn (or with ``async with``, or :meth:`load`) and saved after each;
    where somebody else saved it in between, the turn fails with its answer in ``partial``, and the next goes on from
    what the store has.
    """

    def __init__(
        self,
        verbs: Verbs,
        *,
        system_message: str | None,
        messages: Iterable[ChatMessage | Mapping[str, Any]],
        store: ConversationStore | None,
        id: str | None,  # noqa: A002 - the word for it
        trim: Trim,
        max_context_tokens: int | None,
        defaults: Options,
    ) -> None:
        self._verbs = verbs
        self._system_message = system_message
        self._history = self._read(messages)
        self._store = store
        self._id = id or uuid4().hex
        self._trim: Trim = _checked_trim(trim)
        self._budget = ContextBudget(max_context_tokens)
        self._defaults = defaults
        self._version: int | None = None if store is not None and id is not None else 0
        """What the store knows; None where it has to be asked."""
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @property
    def id(self) -> str:
        """Under which it is kept in a store."""
        return self._id

    @property
    def messages(self) -> tuple[AnyMessage, ...]:
        """The whole history, also what is not sent any more. Set it to go on from another; saved with the next turn."""
        return self._history.messages

    @messages.setter
    def messages(self, messages: Iterable[ChatMessage | Mapping[str, Any]]) -> None:
        self._history = self._read(messages)

    @property
    def budget(self) -> ContextBudget:
        """Tokens that the history takes, and that are left."""
        return self._budget

    def __repr__(self) -> str:
        return f"<Conversation {self._id} with {self._verbs.model_id!r}, {len(self.messages)} messages>"

    async def ask(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> ModelResponse:
        """The answer to what the user says next; takes the options of ``generate_completion``, but for ``messages``.

        Raises:
            LMStudioError: the turn failed; the history is as it was.
        """
        given = self._options(options)
        self._verbs.stream(given | _ANY_TURN)  # wrong options raise now, before the turn waits
        async with self._turn(given):
            plan = await self._planned(prompt, given)
            return await self._kept(await self._verbs.ask(plan.options), plan)

    def stream(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> TurnStream:
        """The answer as it comes. The turn is over, and kept, when its last chunk is handed out."""
        given = self._options(options)
        self._verbs.stream(given | _ANY_TURN)
        return TurnStream(self._taken(prompt, given, self._verbs.stream))

    async def run_tools(
        self,
        prompt: Prompt,
        *,
        tools: Iterable[ToolItem] | Toolbox,
        max_rounds: int,
        on_tool_call: OnToolCall | None = None,
        **options: Unpack[CommonOptions],
    ) -> ModelResponse:
        """The answer after the tools that the model called; calls and results become part of the history."""
        given = self._with_tools(options, tools, max_rounds, on_tool_call)
        async with self._turn(given):
            plan = await self._planned(prompt, given)
            return await self._kept(await self._verbs.run_tools(plan.options), plan)

    def stream_tools(
        self,
        prompt: Prompt,
        *,
        tools: Iterable[ToolItem] | Toolbox,
        max_rounds: int,
        on_tool_call: OnToolCall | None = None,
        **options: Unpack[CommonOptions],
    ) -> TurnStream:
        """What :meth:`run_tools` does, with the chunks of every answer as they come."""
        given = self._with_tools(options, tools, max_rounds, on_tool_call)
        return TurnStream(self._taken(prompt, given, self._verbs.stream_tools))

    def undo(self) -> UserMessage | None:
        """Takes the last turn back, and gives what was asked in it; None: there is none. Saved with the next turn."""
        self._history, question = self._history.undone()
        return question

    def reset(self) -> None:
        """Forgets everything but the system messages. Saved with the next turn."""
        self._history = self._history.forgotten()
        self._budget.used = 0

    @property
    def system_message(self) -> str | None:
        """How the model is to behave; set it to say something else from the next turn on. None: nothing is said."""
        said = self._history.system
        return self._system_message if said is None else said

    @system_message.setter
    def system_message(self, text: str | None) -> None:
        self._system_message = text
        self._history = self._history.instructed(text)

    def branch(self) -> Conversation:
        """Another conversation that goes on from here, under an id of its own; neither sees the other's turns.

        Raises:
            ModelInvalidRequestError: it was not loaded from its store yet.
        """
        if self._version is None:
            raise ModelInvalidRequestError("the conversation was not loaded yet", hint="Call load() before branch().")
        branched = Conversation(
            self._verbs,
            system_message=self._system_message,
            messages=(),
            store=self._store,
            id=None,
            trim=self._trim,
            max_context_tokens=self._budget.given,
            defaults=self._defaults,
        )
        branched._history = self._history
        return branched

    async def load(self) -> Self:
        """Reads it from its store, if there is one that was not asked yet.

        What the conversation was made with (``messages``) holds only where the store has nothing.

        Raises:
            ConfigurationError: the store cannot be read.
        """
        async with self._turn({}):
            await self._load()
        return self

    async def __aenter__(self) -> Self:
        return await self.load()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left open: every turn was saved when it ended."""

    def _read(self, messages: Iterable[ChatMessage | Mapping[str, Any]]) -> History:
        return History(tuple(adapted(self._verbs.reader.read(messages))[0]))

    async def _load(self) -> None:
        if self._version is None and self._store is not None:
            saved = await self._store.load(self._id)
            self._version = 0 if saved is None else saved.version
            if saved is not None:
                self._history = self._read(saved.messages)

    @asynccontextmanager
    async def _turn(self, given: Options) -> AsyncGenerator[None, None]:
        """Waits for the turns before, no longer than a request may take."""
        lock = self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        limit_ms = self._setting(given, "timeout_ms")
        try:
            async with asyncio.timeout(None if limit_ms is None else limit_ms / 1000):
                await lock.acquire()
        except TimeoutError:
            why = "the turn before has not ended"
            raise ModelBusyError(why, hint="Read its stream to the end, or close it.") from None
        try:
            yield
        finally:
            lock.release()

    def _setting(self, given: Options, name: str) -> Any:
        value = given.get(name)
        return self._verbs.defaults[name] if value is None else value

    def _options(self, options: Mapping[str, Any]) -> Options:
        if "messages" in options:
            raise ModelInvalidRequestError("a conversation has its own messages; give the prompt alone")
        return {"system_message": self._system_message, **self._defaults, **options}

    def _with_tools(
        self, options: Mapping[str, Any], tools: Any, max_rounds: int, on_tool_call: OnToolCall | None
    ) -> Options:
        loop = {"tools": tools, "max_rounds": max_rounds, "on_tool_call": on_tool_call}
        given = self._options(options) | loop
        self._verbs.stream_tools(given | _ANY_TURN)  # wrong options raise now, before the turn waits
        return given

    async def _planned(self, prompt: Prompt, given: Options) -> _Plan:
        await self._load()
        question = prompt if isinstance(prompt, UserMessage) else UserMessage(content=prompt)
        if not question.content:
            raise ModelInvalidRequestError("there is nothing to ask: the prompt is empty")
        model, reserve = self._setting(given, "model"), self._setting(given, "max_tokens")
        await self._budget.learn_limit(lambda: self._verbs.details(model))
        history, notes = self._history, list[Note]()
        if self._trim is not None and not self._budget.fits([*history.sent(), question], reserve):
            history, notes = await self._shortened(question, reserve)
        return _Plan(history, question, given | {"messages": [*history.sent(), question]}, notes)

    async def _shortened(self, question: UserMessage, reserve: Any) -> tuple[History, list[Note]]:
        history = self._history
        budget = int(self._budget.room(reserve) * _TRIM_TO)
        if callable(self._trim):
            # In a thread where it is not async: it may well wait for an answer itself.
            waits = inspect.iscoroutinefunction(self._trim)
            summary: Any = (
                self._trim(history.sent(), budget)
                if waits
                else await asyncio.to_thread(self._trim, history.sent(), budget)
            )
            kept = await summary if inspect.isawaitable(summary) else summary
            return self._read(kept), [Note("HISTORY_SUMMARISED", "the history was too long, and summarised")]
        result = trimmed([*history.sent(), question], budget=budget, count=self._budget.estimate)
        if not result.dropped:  # the last turn alone is too long; the server will say so
            return history, []
        what = f"the history was too long: its {result.dropped} oldest turn(s) were not sent"
        return history.narrowed(result.messages[:-1]), [Note("HISTORY_TRIMMED", what)]

    async def _kept(self, response: ModelResponse, plan: _Plan) -> ModelResponse:
        """The turn becomes part of the history, here and in the store."""
        history = plan.history.followed_by(plan.question, response.messages)
        if self._store is not None:
            await self._saved(history, response)
        self._history = history
        # With tools the server counted their schemas, too; they are no part of the messages.
        self._budget.learn(response, ratio=not (plan.options.get("tools") or plan.options.get("functions")))
        response.notes = (*response.notes, *plan.notes)
        return response

    async def _saved(self, history: History, response: ModelResponse) -> None:
        assert self._store is not None  # noqa: S101
        version, self._version = self._version or 0, None  # until it is known, the store has to be asked again
        saving = asyncio.ensure_future(
            self._store.save(
                self._id, history.messages, model=self._verbs.model_id, title=history.title, version=version
            )
        )
        try:
            self._version = await asyncio.shield(saving)
        except asyncio.CancelledError:
            self._version, self._history = await saving, history  # it was saved all the same
            raise
        except LMStudioError as error:
            error.partial = response  # the answer came, and must not be lost with it
            raise

    async def _taken(
        self,
        prompt: Prompt,
        given: Options,
        opened: Callable[[Options], CompletionStream | ToolStream],
    ) -> Turn:
        """A turn: the stream itself first, then its chunks; the last one once the turn was kept."""
        async with self._turn(given):
            plan = await self._planned(prompt, given)
            stream = opened(plan.options)
            yield stream
            async with stream:
                async for chunk in stream:
                    if chunk.done:
                        await self._kept(stream.response, plan)
                    yield chunk


def _checked_trim(trim: Any) -> Trim:
    if trim is None or trim == "oldest" or callable(trim):
        return cast("Trim", trim)
    raise ModelInvalidRequestError(f"trim is {trim!r:.60}; it must be 'oldest', a function, or None")
