"""LMStudioAdapter: every verb a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack, cast

import msgspec

from neuroroute.closing import AsyncClosing
from neuroroute.conversation import Conversation, Verbs
from neuroroute.embedverbs import EmbeddingVerbs
from neuroroute.errors import ModelInvalidRequestError
from neuroroute.messages import AnyMessage, ChatMessage
from neuroroute.options import CommonOptions, ConversationOptions, RequestOptions, checked
from neuroroute.planning import Trim
from neuroroute.responses import ModelResponse
from neuroroute.shapes.shape import AnswerShape
from neuroroute.store import ConversationStore
from neuroroute.streams import ChunkStream, CompletionStream
from neuroroute.structured import ask_typed as ask_until_typed
from neuroroute.toolloop import OnToolCall, ToolLoop, ToolStream
from neuroroute.tools.toolbox import Toolbox, ToolItem


class LMStudioAdapter(EmbeddingVerbs, AsyncClosing):
    """A model in LM Studio.

    ::

        async with LMStudioAdapter("llama3") as adapter:
            response = await adapter.generate_completion("What are the three laws of robotics?")
            print(response.text)

    Usable without ``async with`` (then ``await adapter.aclose()``), and made outside a running event loop: nothing
    connects before the first call. Used from a second event loop, it opens connections of its own there; from threads
    use :class:`~neuroroute.SyncLMStudioAdapter`.
    """

    async def generate_completion(
        self, prompt: str = "", options: RequestOptions | None = None, **more: Unpack[RequestOptions]
    ) -> ModelResponse:
        """The model's whole answer.

        Args:
            prompt: appended to ``messages`` as a user message.
            options: options as a dict, the older form.
            **more: options; see :class:`~neuroroute.RequestOptions`.

        Raises:
            TypeError: an unknown option; nothing was sent.
            ModelInvalidRequestError: a value is wrong (nothing was sent), or the server refused the request.
            LMStudioError: the answer failed; ``code`` says how, ``str()`` what to do.
        """
        request = self._request("generate_completion", prompt, options, more, streaming=False)
        shape: AnswerShape | None = request.options["response_format"]
        if shape is None or not request.options["reask"]:
            return await CompletionStream(request, self._core.reply).whole()

        async def ask(correction: Sequence[AnyMessage]) -> ModelResponse:
            made = request if not correction else self._followed_by(request, correction)
            return await CompletionStream(made, self._core.reply).whole()

        response = await ask_until_typed(ask, shape, request.options["reask"])
        response.messages = [*request.messages, response.messages[-1]]  # wrong answers are no part of the history
        return response

    def stream(
        self, prompt: str = "", options: RequestOptions | None = None, **more: Unpack[RequestOptions]
    ) -> CompletionStream:
        """The model's answer as it is made; takes what :meth:`generate_completion` takes.

        Wrong input raises here; a server's failure where the stream is read, with what came so far in ``partial``.
        """
        return CompletionStream(self._request("stream", prompt, options, more, streaming=True), self._core.reply)

    def generate_completion_stream(
        self, prompt: str = "", options: RequestOptions | None = None, **more: Unpack[RequestOptions]
    ) -> ChunkStream:
        """The model's answer as it is made, in the specification's form: a failure is its last chunk, never raised.

        Wrong input raises here all the same, before anything is sent.
        """
        request = self._request("generate_completion_stream", prompt, options, more, streaming=True)
        return ChunkStream(CompletionStream(request, self._core.reply))

    async def run_tools(
        self,
        prompt: str = "",
        *,
        tools: Iterable[ToolItem] | Toolbox,
        max_rounds: int,
        on_tool_call: OnToolCall | None = None,
        tool_timeout_ms: float | None = None,
        max_result_bytes: int | None = None,
        **options: Unpack[CommonOptions],
    ) -> ModelResponse:
        """Asks, runs the tools that the model calls, asks again, until it answers without a call.

        What the model gets wrong (an unknown tool, wrong arguments) and what fails (a tool that raises or takes too
        long, a call that was refused) is told to the model as the call's result, beginning ``Error:``. A
        ``tool_choice`` other than ``auto`` holds for the first request only.

        Args:
            prompt: appended to ``messages`` as a user message.
            tools: ``@tool`` functions or plain functions; calls of one answer run side by side.
            max_rounds: rounds of tools at most, so one request more than that.
            on_tool_call: is shown each call before it runs, and may refuse it; sync or async.
            tool_timeout_ms: how long a tool may take that has no limit of its own. Default: the ``Toolbox``'s, 60000.
            max_result_bytes: longer results are cut. Default: the ``Toolbox``'s, 65536.
            **options: as of :meth:`generate_completion`, for every request; a ``response_format`` for one more at the
                end, which offers no tools.

        Raises:
            ToolRoundsError: the model still called, or made one call three times; ``partial.messages`` goes on from
                there.
            LMStudioError: a request failed.
        """
        loop, options = self._tool_loop(tools, max_rounds, on_tool_call, tool_timeout_ms, max_result_bytes, options)

        typed = options.get("response_format", self._defaults["response_format"]) is not None
        untyped = options | {"response_format": None, "reask": 0} if typed else options
        last: ModelResponse | None = None

        async def ask(messages: list[AnyMessage] | None) -> ModelResponse:
            nonlocal last
            given = untyped if messages is None else _next_round(untyped, messages, last)
            last = await self.generate_completion(prompt if messages is None else "", given)
            return last

        async def ask_typed(messages: list[AnyMessage] | None) -> ModelResponse:
            return await self.generate_completion("", _next_round(options, messages or [], last) | {"tools": None})

        return await loop.run(ask, ask_typed if typed else None)

    def stream_tools(
        self,
        prompt: str = "",
        *,
        tools: Iterable[ToolItem] | Toolbox,
        max_rounds: int,
        on_tool_call: OnToolCall | None = None,
        tool_timeout_ms: float | None = None,
        max_result_bytes: int | None = None,
        **options: Unpack[CommonOptions],
    ) -> ToolStream:
        """What :meth:`run_tools` does, with the chunks of every answer as they come; takes no ``response_format``."""
        if options.get("response_format", self._defaults["response_format"]) is not None:
            why = "stream_tools takes no response_format: the answers in words would stream, too"
            raise ModelInvalidRequestError(why, hint="Use run_tools, or set response_format=None.")
        loop, options = self._tool_loop(tools, max_rounds, on_tool_call, tool_timeout_ms, max_result_bytes, options)

        last: CompletionStream | None = None

        def opened(messages: list[AnyMessage] | None) -> CompletionStream:
            nonlocal last
            given = options if last is None or messages is None else _next_round(options, messages, last.response)
            last = self.stream(prompt if messages is None else "", given)
            return last

        return ToolStream(loop, opened)

    def conversation(
        self,
        *,
        system_message: str | msgspec.UnsetType | None = msgspec.UNSET,
        messages: Iterable[ChatMessage | Mapping[str, Any]] = (),
        store: ConversationStore | None = None,
        id: str | None = None,  # noqa: A002 - the word for it
        trim: Trim = None,
        max_context_tokens: int | None = None,
        **defaults: Unpack[ConversationOptions],
    ) -> Conversation:
        """A conversation that keeps its history by itself.

        Args:
            system_message: how the model is to behave; None: nothing is said. Default: the adapter's.
            messages: how it begins.
            store: where it is kept; saved after each turn.
            id: under which it is kept, and loaded. Default: a new one.
            trim: what to do when the history no longer fits: ``"oldest"`` leaves out the oldest whole turns, a function
                ``(messages, tokens) -> messages``, sync or async, gives a shorter history. Default: nothing.
            max_context_tokens: what fits. Default: the context that the model was loaded with.
            **defaults: options for every turn.

        Raises:
            ModelInvalidRequestError: a wrong value, or a message that is none.
        """
        checked(defaults, "conversation")
        if defaults.get("api", self._defaults["api"]) == "completions":
            raise ModelInvalidRequestError("api is 'completions', which takes no history, and so no conversation")
        asked = (self._ask, self._stream, self._loop, self._loop_stream)
        estimate = self._core.estimates.of(defaults.get("model") or self._defaults["model"] or self._model_id)
        verbs = Verbs(self._model_id, self._core.reader, self._defaults, estimate, self._details, *asked)
        system = self._defaults["system_message"] if system_message is msgspec.UNSET else system_message
        return Conversation(
            verbs,
            system_message=system,
            messages=messages,
            store=store,
            id=id,
            trim=trim,
            max_context_tokens=max_context_tokens,
            defaults={**defaults},
        )

    # The verbs as a conversation takes them: by options alone.

    async def _ask(self, options: dict[str, Any]) -> ModelResponse:
        return await self.generate_completion("", cast("RequestOptions", options))

    def _stream(self, options: dict[str, Any]) -> CompletionStream:
        return self.stream("", cast("RequestOptions", options))

    async def _loop(self, options: dict[str, Any]) -> ModelResponse:
        return await self.run_tools("", **options)

    def _loop_stream(self, options: dict[str, Any]) -> ToolStream:
        return self.stream_tools("", **options)

    def _tool_loop(
        self,
        tools: Iterable[ToolItem] | Toolbox,
        max_rounds: int,
        on_tool_call: OnToolCall | None,
        tool_timeout_ms: float | None,
        max_result_bytes: int | None,
        options: Mapping[str, Any],
    ) -> tuple[ToolLoop, RequestOptions]:
        """The loop, and the options of its first request."""
        toolbox = Toolbox.of_runnable(tools, timeout_ms=tool_timeout_ms, max_result_bytes=max_result_bytes)
        loop = ToolLoop(toolbox, max_rounds=max_rounds, on_tool_call=on_tool_call, tell=self._core.tell)
        return loop, cast("RequestOptions", {**options, "tools": toolbox})

    async def aclose(self) -> None:
        """Closes the connections of this event loop, those of siblings too; the next call opens new ones."""
        await self._core.aclose()


def _next_round(options: RequestOptions, messages: list[AnyMessage], previous: ModelResponse | None) -> RequestOptions:
    """A call that was asked for was made; from now on the model may also answer."""
    return {**options, "messages": messages, "tool_choice": None, "previous": previous}
