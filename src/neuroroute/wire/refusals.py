"""Which options each route takes: what it does not is refused before anything is sent, by name.

``/api/v1/chat`` answers 400 to a field that it does not know; the OpenAI-compatible routes pass over it in silence,
which is worse. Sources: https://lmstudio.ai/docs/developer/rest/chat,
https://lmstudio.ai/docs/developer/openai-compat, LM Studio #2403 and #1396 (no structured output over /v1/responses).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.messages import AnyMessage, UserMessage
from neuroroute.options import DEFAULTS

_TOOLS = ("tools", "tool_choice", "functions", "function_call")
_NATIVE = ("integrations", "context_length", "store")
_SHAPED = ("response_format", "continue_stream")
_PENALTIES = ("frequency_penalty", "presence_penalty", "stop", "seed", "logit_bias", "draft_model")

NOT_TAKEN: dict[str, tuple[str, ...]] = {
    "chat": _NATIVE,
    "completions": (*_NATIVE, *_TOOLS, *_SHAPED, "reasoning", "previous", "merge_roles", "system_message"),
    "responses": (*_NATIVE, *_SHAPED, *_PENALTIES, "top_k", "min_p", "repeat_penalty", "ttl"),
    "native": (*_TOOLS, *_SHAPED, *_PENALTIES, "ttl"),
}
"""By ``api``. Others concern no route: limits, retries, what is done here."""


def check_route(options: Mapping[str, Any]) -> None:
    """Whether the route takes all that was asked for.

    Raises:
        ModelInvalidRequestError: it does not; names the option, and the routes that take it.
    """
    api = options["api"]
    for name in NOT_TAKEN[api]:
        value = options[name]
        if value is None or value is DEFAULTS[name] or value == DEFAULTS[name]:
            continue
        others = " or ".join(repr(other) for other, refused in NOT_TAKEN.items() if name not in refused)
        raise ModelInvalidRequestError(
            f"{name} is not taken by api={api!r}", hint=f"Leave {name} out, or ask with api={others}."
        )


def check_prompt(messages: Sequence[AnyMessage]) -> None:
    """Whether this is a prompt and nothing else: a text completion knows no roles.

    Raises:
        ModelInvalidRequestError: it is not.
    """
    if len(messages) != 1 or type(messages[0]) is not UserMessage or not isinstance(messages[0].content, str):
        raise ModelInvalidRequestError(
            "api='completions' takes a prompt of text alone, no history, no other roles, no images",
            hint="Write all of it into the prompt, in the form that the model was trained on, or ask with api='chat'.",
        )
