"""The verbs of the adapter that count tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_series, is_text
from neuroroute.messages import ChatMessage
from neuroroute.modelverbs import ModelVerbs
from neuroroute.options import checked
from neuroroute.pipe.learning import is_plain
from neuroroute.requests import ChatRequest
from neuroroute.tools.toolbox import Toolbox, ToolItem
from neuroroute.wire.counting import asked_count

_OF_OTHERS = ("functions", "function_call", "response_format", "previous", "integrations", "store", "context_length")
"""Options that other routes and forms have, and ``/v1/chat/completions`` with tools has not."""


class CountVerbs(ModelVerbs):
    """What an adapter can tell of tokens."""

    async def count_tokens(
        self,
        text_or_messages: str | Iterable[ChatMessage | Mapping[str, Any]],
        tools: Iterable[ToolItem] | Toolbox = (),
    ) -> int:
        """How many tokens a text has, or a request with these messages as its prompt.

        Exact where the server can count (llama.cpp, so the embedded engine); LM Studio cannot, there it is an estimate,
        which learns from what the model's answers tell. It takes at most 5 seconds, and runs no completion; a server
        that is down, or does not know, leaves the estimate.

        Args:
            text_or_messages: a text is counted as it is; messages with all that the chat template puts around them,
                and with this adapter's ``system_message`` where they have none.
            tools: what the request would offer; only with messages.

        Raises:
            ModelInvalidRequestError: a message or a tool is wrong.
        """
        what = self._counted(text_or_messages, tools)
        await self._core.settings()
        model = self._defaults["model"] or self._model_id
        count = await self._core.count(model, *asked_count(what))
        estimate = self._core.estimates.of(model)
        if isinstance(what, str):
            return estimate.text(what) if count is None else count
        if count is None:
            offered = "" if what.offer is None else what.offer.tools.wire.decode()
            return sum(map(estimate.message, what.messages)) + estimate.text(offered)
        if is_plain(what):
            estimate.learn(what.messages, count)
        return count

    def _counted(self, given: Any, tools: Any) -> str | ChatRequest:
        """What is to be counted, found right."""
        toolbox = Toolbox.of(tools)
        if is_text(given):
            if toolbox:
                raise ModelInvalidRequestError("tools are counted with messages; a text alone offers none")
            try:
                given.encode()
            except UnicodeEncodeError as error:
                why = "the text holds a lone surrogate (half of a UTF-16 pair), which is not Unicode text"
                raise ModelInvalidRequestError(why) from error
            return given
        if not is_series(given):
            kind = type(given).__name__
            raise ModelInvalidRequestError(f"text_or_messages must be a text or a list of messages, not a {kind}")
        options = {**dict.fromkeys(_OF_OTHERS), "api": "chat", "tool_choice": None, "messages": [*given]}
        options["tools"] = toolbox or None
        return self._unchecked("", {**self._defaults, **checked(options, "count_tokens")}, streaming=False)
