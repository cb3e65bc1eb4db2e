"""A conversation that keeps its own history: one turn at a time, trimmed to what the model holds, saved if wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias, Unpack

from neuroroute.budget import ContextBudget
from neuroroute.details import ModelDetails
from neuroroute.errors import LMStudioError, ModelBusyError, ModelInvalidRequestError
from neuroroute.estimates import TokenEstimate
from neuroroute.history import History
from neuroroute.jsontypes import is_text
from neuroroute.keeping import Keeper
from neuroroute.messages import AnyMessage, ChatMessage, MessageReader, UserMessage
from neuroroute.options import CommonOptions, RequestOptions
from neuroroute.planning import Trim, TurnPlan, checked_trim, planned
from neuroroute.responses import ModelResponse, StreamingChunk
from neuroroute.store import ConversationStore
from neuroroute.streams import CompletionStream
from neuroroute.toolloop import OnToolCall, ToolStream
from neuroroute.tools.toolbox import Toolbox, ToolItem
from neuroroute.turns import Turn, TurnLock, TurnStream
from neuroroute.wire.adapt import adapted

Prompt: TypeAlias = str | UserMessage
Options: TypeAlias = dict[str, Any]

_ANY_TURN: Options = {"messages": [UserMessage(content="?")]}


class Verbs(NamedTuple):
    """How an adapter is asked: each takes options, ``messages`` among them."""

    model_id: str
    reader: MessageReader
    defaults: Options
    """The adapter's own options."""
    estimate: TokenEstimate
    details: Callable[[str | None], Awaitable[ModelDetails | None]]
    ask: Callable[[Options], Awaitable[ModelResponse]]
    stream: Callable[[Options], CompletionStream]
    run_tools: Callable[[Options], Awaitable[ModelResponse]]
    stream_tools: Callable[[Options], ToolStream]


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
        if system_message is not None and not is_text(system_message):
            raise ModelInvalidRequestError(f"system_message is {system_message!r:.60}; it must be a text, or None")
        self._verbs = verbs
        self._system_message = system_message
        self._history = self._read(messages)
        self._keeper = Keeper(store, id)
        self._trim: Trim = checked_trim(trim)
        self._defaults = defaults
        self._budget = ContextBudget(max_context_tokens, verbs.estimate)
        self._unsaved = bool(self._history.messages)
        self._turns = TurnLock()

    @property
    def id(self) -> str:
        """Under which it is kept in a store."""
        return self._keeper.id

    @property
    def messages(self) -> tuple[AnyMessage, ...]:
        """The whole history, also what is not sent any more. Set it to go on from another; saved with the next turn."""
        return self._history.messages

    @messages.setter
    def messages(self, messages: Iterable[ChatMessage | Mapping[str, Any]]) -> None:
        self._go_on_from(self._read(messages))

    @property
    def budget(self) -> ContextBudget:
        """Tokens that the history takes, and that are left."""
        return self._budget

    def __repr__(self) -> str:
        return f"<Conversation {self.id} with {self._verbs.model_id!r}, {len(self.messages)} messages>"

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
        self._verbs.stream_tools(given | _ANY_TURN | {"response_format": None})
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
        self._verbs.stream_tools(given | _ANY_TURN)
        return TurnStream(self._taken(prompt, given, self._verbs.stream_tools))

    def undo(self) -> UserMessage | None:
        """Takes the last turn back, and gives what was asked in it; None: there is none. Saved with the next turn.

        Raises:
            ModelBusyError: a turn is being taken, as of :meth:`reset` and what can be set.
            ModelInvalidRequestError: it was not loaded from its store yet; likewise.
        """
        history, question = self._history.undone()
        self._go_on_from(history)
        return question

    def reset(self) -> None:
        """Forgets everything but the system messages. Saved with the next turn."""
        self._go_on_from(self._history.forgotten())
        self._budget.used = 0

    @property
    def system_message(self) -> str | None:
        """How the model is to behave; set it to say something else from the next turn on. None: nothing is said."""
        said = self._history.system
        return self._system_message if said is None else said

    @system_message.setter
    def system_message(self, text: str | None) -> None:
        self._go_on_from(self._history.instructed(text))
        self._system_message = text

    def branch(self) -> Conversation:
        """Another conversation that goes on from here, under an id of its own; neither sees the other's turns.

        Raises:
            ModelInvalidRequestError: it was not loaded from its store yet.
        """
        self._check_known()
        branched = Conversation(
            self._verbs,
            system_message=self._system_message,
            messages=(),
            store=self._keeper.store,
            id=None,
            trim=self._trim,
            max_context_tokens=self._budget.given,
            defaults=self._defaults,
        )
        branched._go_on_from(self._history)
        return branched

    async def load(self) -> Self:
        """Reads it from its store, if there is one that was not asked yet.

        What the conversation was made with (``messages``) holds only where the store has nothing.

        Raises:
            ConfigurationError: the store cannot be read.
        """
        async with self._turn(self._defaults):
            await self._load()
        return self

    async def save(self) -> None:
        """Saves what was changed since the last turn: by undo(), reset() and what was set. Every turn saves by itself.

        Raises:
            ConfigurationError: the store cannot be written.
            ConversationConflictError: somebody else saved it in between.
        """
        async with self._turn(self._defaults):
            await self._load()
            if self._unsaved:
                await self._saved(self._history)

    async def __aenter__(self) -> Self:
        return await self.load()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left open: every turn was saved when it ended."""

    def _go_on_from(self, history: History) -> None:
        if self._turns.taken:
            why = "a turn is being taken, which goes on from the history as it was"
            raise ModelBusyError(why, hint="Wait until it has ended, or close its stream.")
        self._check_known()
        self._unsaved = self._unsaved or history != self._history
        self._history = history

    def _check_known(self) -> None:
        if not self._keeper.known:
            raise ModelInvalidRequestError("what the store has was not loaded yet", hint="Call load() first.")

    def _read(self, messages: Iterable[ChatMessage | Mapping[str, Any]]) -> History:
        return History(tuple(adapted(self._verbs.reader.read(messages))[0]))

    async def _load(self) -> None:
        if not self._keeper.known and (saved := await self._keeper.load(self._read)) is not None:
            self._history, self._unsaved = saved, False

    def _turn(self, given: Options) -> AbstractAsyncContextManager[None]:
        """Waits for the turns before, no longer than a request may take."""
        return self._turns.held(self._setting(given, "timeout_ms"))

    def _setting(self, given: Options, name: str) -> Any:
        value = given.get(name)
        return self._verbs.defaults[name] if value is None else value

    def _options(self, options: Mapping[str, Any]) -> Options:
        if "messages" in options or "previous" in options:
            raise ModelInvalidRequestError("a conversation has its own messages; give the prompt alone")
        return {"system_message": self._system_message, **self._defaults, **options}

    def _with_tools(
        self, options: Mapping[str, Any], tools: Any, max_rounds: int, on_tool_call: OnToolCall | None
    ) -> Options:
        return self._options(options) | {"tools": tools, "max_rounds": max_rounds, "on_tool_call": on_tool_call}

    async def _planned(self, prompt: Prompt, given: Options) -> TurnPlan:
        await self._load()
        question = prompt if isinstance(prompt, UserMessage) else UserMessage(content=prompt)
        if not question.content:
            raise ModelInvalidRequestError("there is nothing to ask: the prompt is empty")
        model, reserve = self._setting(given, "model"), self._setting(given, "max_tokens")
        await self._budget.learn_limit(lambda: self._verbs.details(model))
        return await planned(
            self._history, question, given, trim=self._trim, budget=self._budget, reserve=reserve, read=self._read
        )

    async def _kept(self, response: ModelResponse, plan: TurnPlan) -> ModelResponse:
        """The turn becomes part of the history, here and in the store."""
        history = plan.history.followed_by(plan.question, response)
        try:
            await self._saved(history)
        except LMStudioError as error:
            error.partial = response  # the answer came, and must not be lost with it
            raise
        self._budget.used = response.tokens.total
        response.notes = (*response.notes, *plan.notes)
        return response

    async def _saved(self, history: History) -> None:
        try:
            await self._keeper.save(history, self._verbs.model_id)
        except asyncio.CancelledError:
            self._history = history if self._keeper.known else self._history
            raise
        self._history, self._unsaved = history, False

    async def _taken(
        self,
        prompt: Prompt,
        given: Options,
        opened: Callable[[Options], CompletionStream | ToolStream],
    ) -> Turn:
        """A turn: the stream itself first, then its chunks; the last one once the turn was kept."""
        last = StreamingChunk(done=True)
        async with self._turn(given):
            plan = await self._planned(prompt, given)
            stream = opened(plan.options)
            yield stream
            async with stream:
                async for chunk in stream:
                    if not chunk.done:
                        yield chunk
                    else:
                        await self._kept(stream.response, plan)
                        last = chunk
        yield last  # the turn is over: whoever takes it may take the next
