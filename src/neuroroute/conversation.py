"""A conversation that keeps its own history: one turn at a time, trimmed to what the model holds, saved if wanted."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias, Unpack, cast
from uuid import uuid4

from neuroroute.budget import ContextBudget
from neuroroute.errors import LMStudioError, ModelInvalidRequestError
from neuroroute.messages import AnyMessage, ChatMessage, MessageReader, SystemMessage, UserMessage
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
_TITLE = 60
_ANY_TURN: Options = {"messages": [UserMessage(content="?")]}


class Verbs(NamedTuple):
    """How an adapter is asked: each takes options, ``messages`` among them."""

    model_id: str
    reader: MessageReader
    context_length: Callable[[str | None], Awaitable[int | None]]
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
    it was. With a store it is loaded on the first turn (or with ``async with``, or :meth:`load`) and saved after each.
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
        self._messages, _ = adapted(verbs.reader.read(messages))
        self._store = store
        self._id = id or uuid4().hex
        self._trim: Trim = _checked_trim(trim)
        self._budget = ContextBudget(max_context_tokens)
        self._defaults = defaults
        self._window = 0
        """Where the part of the history begins that is still sent."""
        self._version: int | None = None if store is not None and id is not None else 0
        """What the store knows; None before it was asked."""
        self._turn = asyncio.Lock()

    @property
    def id(self) -> str:
        """Under which it is kept in a store."""
        return self._id

    @property
    def messages(self) -> tuple[AnyMessage, ...]:
        """The whole history, also what is not sent any more. Set it to go on from another; saved with the next turn."""
        return tuple(self._messages)

    @messages.setter
    def messages(self, messages: Iterable[ChatMessage | Mapping[str, Any]]) -> None:
        self._messages, _ = adapted(self._verbs.reader.read(messages))
        self._window = 0

    @property
    def budget(self) -> ContextBudget:
        """Tokens that the history takes, and that are left."""
        return self._budget

    def __repr__(self) -> str:
        return f"<Conversation {self._id} with {self._verbs.model_id!r}, {len(self._messages)} messages>"

    async def ask(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> ModelResponse:
        """The answer to what the user says next; takes the options of ``generate_completion``, but for ``messages``.

        Raises:
            LMStudioError: the turn failed; the history is as it was.
        """
        given = self._options(options)
        self._verbs.stream(given | _ANY_TURN)  # wrong options raise now, before the turn waits
        async with self._turn:
            sent, notes = await self._prepared(prompt, given)
            return await self._kept(await self._verbs.ask(given | {"messages": sent}), sent, notes)

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
        async with self._turn:
            sent, notes = await self._prepared(prompt, given)
            return await self._kept(await self._verbs.run_tools(given | {"messages": sent}), sent, notes)

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
        last = next((at for at in reversed(range(len(self._messages))) if _asks(self._messages[at])), None)
        if last is None:
            return None
        question = self._messages[last]
        self._messages = self._messages[:last]
        self._window = min(self._window, last)
        return cast("UserMessage", question)

    def reset(self) -> None:
        """Forgets everything but the system messages. Saved with the next turn."""
        self._messages = [message for message in self._messages if isinstance(message, SystemMessage)]
        self._window = 0
        self._budget.used = 0

    @property
    def system_message(self) -> str | None:
        """How the model is to behave; set it to say something else from the next turn on. None: nothing is said."""
        said = next((message.text for message in self._messages if isinstance(message, SystemMessage)), None)
        return self._system_message if said is None else said

    @system_message.setter
    def system_message(self, text: str | None) -> None:
        self._system_message = text
        rest = [message for message in self._messages if not isinstance(message, SystemMessage)]
        dropped = len(self._messages) - len(rest)
        head = [] if text is None or not rest else [SystemMessage(content=text)]
        self._messages = [*head, *rest]
        self._window = max(self._window - dropped + len(head), 0)

    def branch(self) -> Conversation:
        """Another conversation that goes on from here, under an id of its own; neither sees the other's turns."""
        branched = Conversation(
            self._verbs,
            system_message=self._system_message,
            messages=self._messages,
            store=self._store,
            id=None,
            trim=self._trim,
            max_context_tokens=self._budget.limit,
            defaults=self._defaults,
        )
        branched._window = self._window
        return branched

    async def load(self) -> Self:
        """Reads it from its store, if there is one; what the store does not have begins empty.

        Raises:
            ConfigurationError: the store cannot be read.
        """
        if self._version is None and self._store is not None:
            saved = await self._store.load(self._id)
            self._version = 0 if saved is None else saved.version
            if saved is not None:
                self._messages, _ = adapted([*saved.messages, *self._messages])
        return self

    async def __aenter__(self) -> Self:
        return await self.load()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left open: every turn was saved when it ended."""

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

    async def _prepared(self, prompt: Prompt, given: Mapping[str, Any]) -> tuple[list[AnyMessage], list[Note]]:
        """The history to send, the prompt as its last message."""
        await self.load()
        question = prompt if isinstance(prompt, UserMessage) else UserMessage(content=prompt)
        if not question.content:
            raise ModelInvalidRequestError("there is nothing to ask: the prompt is empty")
        sent = [*self._sent_part(), question]
        await self._budget.learn_limit(lambda: self._verbs.context_length(given.get("model")))
        if self._trim is None or self._budget.fits(sent, given.get("max_tokens")):
            return sent, []
        return await self._shortened(sent, given.get("max_tokens"))

    def _sent_part(self) -> list[AnyMessage]:
        head = [message for message in self._messages[: self._window] if isinstance(message, SystemMessage)]
        return [*head, *self._messages[self._window :]]

    async def _shortened(self, sent: list[AnyMessage], reserve: Any) -> tuple[list[AnyMessage], list[Note]]:
        budget = int(self._budget.room(reserve) * _TRIM_TO)
        if callable(self._trim):
            summary = self._trim(sent[:-1], budget)
            kept = await summary if inspect.isawaitable(summary) else summary
            self._messages, self._window = self._verbs.reader.read(kept), 0
            return [*self._messages, sent[-1]], [Note("HISTORY_SUMMARISED", "the history was too long, and summarised")]
        result = trimmed(sent, budget=budget, count=self._budget.estimate)
        first = next((m for m in result.messages if not isinstance(m, SystemMessage)), sent[-1])
        self._window = next((at for at, m in enumerate(self._messages) if m is first), len(self._messages))
        what = f"the history was too long: its {result.dropped} oldest turn(s) were not sent"
        return list(result.messages), [Note("HISTORY_TRIMMED", what)]

    async def _kept(self, response: ModelResponse, sent: list[AnyMessage], notes: Sequence[Note]) -> ModelResponse:
        """The turn becomes part of the history, here and in the store."""
        question = sent[-1]
        at = next((at for at, message in enumerate(response.messages) if message is question), None)
        turn = [question, response.messages[-1]] if at is None else response.messages[at:]
        head = [m for m in response.messages[:1] if isinstance(m, SystemMessage) and not self._messages]
        messages = [*head, *self._messages, *turn]
        if self._store is not None:
            try:
                self._version = await self._store.save(
                    self._id, messages, model=self._verbs.model_id, title=_title(messages), version=self._version or 0
                )
            except LMStudioError as error:
                error.partial = response  # the answer came, and must not be lost with it
                raise
        self._messages = messages
        self._budget.learn(response)
        response.notes = (*response.notes, *notes)
        return response

    async def _taken(
        self,
        prompt: Prompt,
        given: Options,
        opened: Callable[[Options], CompletionStream | ToolStream],
    ) -> Turn:
        """A turn: the stream itself first, then its chunks; the last one once the turn was kept."""
        async with self._turn:
            sent, notes = await self._prepared(prompt, given)
            async with opened(given | {"messages": sent}) as stream:
                yield stream
                async for chunk in stream:
                    if chunk.done:
                        await self._kept(stream.response, sent, notes)
                    yield chunk


def _asks(message: AnyMessage) -> bool:
    return isinstance(message, UserMessage)


def _title(messages: Sequence[AnyMessage]) -> str:
    said = next((message.text for message in messages if isinstance(message, UserMessage)), "")
    line = " ".join(said.split())
    return line if len(line) <= _TITLE else line[: _TITLE - 1] + "…"


def _checked_trim(trim: Any) -> Trim:
    if trim is None or trim == "oldest" or callable(trim):
        return cast("Trim", trim)
    raise ModelInvalidRequestError(f"trim is {trim!r:.60}; it must be 'oldest', a function, or None")
