"""``POST /api/v1/chat``: what it takes, and an answer as its body and events. Pure: nothing is sent here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from neuroroute.simulator.answers import McpCall, split
from neuroroute.simulator.chat import prompt_tokens
from neuroroute.simulator.events import event
from neuroroute.simulator.loosely import as_array, as_object
from neuroroute.simulator.sending import Piece
from neuroroute.simulator.wordings import object_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from neuroroute.simulator.answers import Answer
    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.style import Style
    from neuroroute.simulator.wordings import ErrorCase

KEYS = (
    *("model", "input", "system_prompt", "integrations", "stream", "temperature", "top_p", "top_k", "min_p"),
    *("repeat_penalty", "max_output_tokens", "reasoning", "context_length", "store", "previous_response_id"),
)
"""The fields that a request may have; any other is refused."""


def messages_of(body: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The request as the messages of a chat, after what was said before."""
    given = body["input"]
    parts = [{"type": "text", "content": given}] if isinstance(given, str) else as_array(given)
    content = [
        {"type": "image_url", "image_url": {"url": as_object(part).get("data_url", "")}}
        if as_object(part).get("type") == "image"
        else {"type": "text", "text": str(as_object(part).get("content", ""))}
        for part in parts
    ]
    system = body.get("system_prompt")
    first = [{"role": "system", "content": system}] if isinstance(system, str) else []
    earlier = [message for message in before if not (first and message["role"] == "system")]
    return [*first, *earlier, {"role": "user", "content": content}]


def refused_reasoning(model: SimulatedModel, setting: object) -> ErrorCase | None:
    """What is said to a setting that the model does not list; None: nothing."""
    if setting is None or setting in model.reasoning:
        return None
    listed = ", ".join(f"'{one}'" for one in model.reasoning)
    message = f"Reasoning setting '{setting}' is not supported by model '{model.key}'. Supported settings: {listed}."
    return object_error(
        "native_reasoning_value",
        message,
        endpoint="native",
        type="invalid_request",
        param="reasoning",
        code="invalid_value",
    )


def stale_response(id: str) -> ErrorCase:  # noqa: A002 - the field's name
    """A response that is not stored, or no more."""
    message = (
        f"Could not find stored response for previous_response_id '{id}'. Responses older than 30 days are "
        "automatically deleted."
    )
    return object_error(
        "native_stale_response", message, endpoint="native", type="invalid_request", param="previous_response_id"
    )


@dataclass(slots=True)
class Telling:
    """One answer as it is told: what was said so far is what ``chat.end`` has."""

    instance: str
    prompt: int
    response_id: str | None = None
    load_seconds: float | None = None
    output: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @classmethod
    def of(cls, instance: str, messages: Sequence[Mapping[str, Any]]) -> Telling:
        """Nothing was said yet."""
        return cls(instance, prompt_tokens({"messages": messages}))

    def said(self, *kinds: str) -> str:
        """What was said so far in items of these kinds."""
        return "".join(item["content"] for item in self.output if item["type"] in kinds)

    def result(self, style: Style | None, answer: Answer | None) -> dict[str, Any]:
        """The aggregated answer."""
        thought = len(self.said("reasoning").split())
        stats: dict[str, Any] = {
            "input_tokens": self.prompt,
            "total_output_tokens": thought + len(self.said("message").split()),
            "reasoning_output_tokens": thought,
            "tokens_per_second": style.tokens_per_second if style else 0.0,
            "time_to_first_token_seconds": style.first_token if style else 0.0,
        }
        if self.load_seconds is not None:
            stats["model_load_time_seconds"] = self.load_seconds
        body: dict[str, Any] = {
            "model_instance_id": (answer and answer.model) or self.instance,
            "output": self.output,
            "stats": {**stats, **(answer.stats if answer else {})},
        }
        if self.response_id is not None:
            body["response_id"] = self.response_id
        return body

    def steps(self, answer: Answer, style: Style) -> Iterator[tuple[str, str | McpCall]]:
        """What is said, delta by delta, and the calls: kind and content; each is noted when the next is asked for."""
        for kind, content in _steps(answer, style):
            yield kind, content
            if isinstance(content, McpCall):
                self.output.append(_item(content))
            elif self.output and self.output[-1]["type"] == kind:
                self.output[-1]["content"] += content
            else:
                self.output.append({"type": kind, "content": content})


def _steps(answer: Answer, style: Style) -> Iterator[tuple[str, str | McpCall]]:
    for call in (None, *answer.mcp_calls):
        thought = answer.reasoning if call is None else call.reasoning
        for piece in [] if style.silent else split(thought, answer.chunk_size):
            yield "reasoning", piece
        if call is not None:
            yield "tool_call", call
    for piece in answer.content_chunks():
        yield "message", piece


def _item(call: McpCall) -> dict[str, Any]:
    """A call as an item of the output."""
    if call.invalid is not None:
        return {"type": "invalid_tool_call", **_invalid(call)}
    return {"type": "tool_call", **_asked(call), "output": call.output, **_provider(call)}


def _asked(call: McpCall) -> dict[str, Any]:
    return {"tool": call.tool, "arguments": call.arguments}


def _provider(call: McpCall) -> dict[str, Any]:
    if "/" in call.provider:
        return {"provider_info": {"type": "plugin", "plugin_id": call.provider}}
    return {"provider_info": {"type": "ephemeral_mcp", "server_label": call.provider}}


def _invalid(call: McpCall) -> dict[str, Any]:
    more = {"arguments": call.arguments, **_provider(call)} if call.invalid == "arguments" else {}
    return {"reason": call.output, "metadata": {"type": f"invalid_{call.invalid}", "tool_name": call.tool, **more}}


def named(type: str, **fields: Any) -> bytes:  # noqa: A002 - the field's name
    """One event of a native stream."""
    return event(msgspec.json.encode({"type": type, **fields}), name=type)


def reading(style: Style, *, twice: bool) -> Iterator[Piece]:
    """The events while the prompt is read."""
    yield Piece(named("prompt_processing.start"))
    yield Piece(named("prompt_processing.progress", progress=0.0))
    yield Piece(named("prompt_processing.progress", progress=0.5), style.prefill / 2)
    yield Piece(named("prompt_processing.progress", progress=1.0), style.prefill / 2)
    for _ in range(2 if twice else 1):
        yield Piece(named("prompt_processing.end"))


def saying(telling: Telling, answer: Answer, style: Style) -> Iterator[Piece]:
    """The events while the answer is told, up to what its fault lets through."""
    left = answer.stream_fault.after if answer.stream_fault is not None else None
    open_kind = ""
    pause = answer.delay_first + style.delta
    for kind, content in telling.steps(answer, style):
        if kind != open_kind and open_kind:
            yield Piece(named(f"{open_kind}.end"))
        if isinstance(content, McpCall):
            open_kind = ""
            yield from _calling(content)
            continue
        if left == 0:
            return
        if kind != open_kind:
            open_kind = kind
            yield Piece(named(f"{kind}.start"))
        yield Piece(named(f"{kind}.delta", content=content), pause)
        pause = answer.delay_between + style.delta
        left = None if left is None else left - 1
    if open_kind:
        yield Piece(named(f"{open_kind}.end"))


def _calling(call: McpCall) -> Iterator[Piece]:
    """The events of a call. That a tool of no known name has but the last of them is a guess."""
    if call.invalid != "name":
        yield Piece(named("tool_call.start", tool=call.tool, **_provider(call)))
        yield Piece(named("tool_call.arguments", **_asked(call), **_provider(call)))
    if call.invalid is None:
        done = named("tool_call.success", **_asked(call), output=call.output, **_provider(call))
        yield Piece(done, call.seconds)
    else:
        yield Piece(named("tool_call.failure", **_invalid(call)), call.seconds)


def error_event(error: Mapping[str, Any]) -> bytes:
    """A failure as an event."""
    fields = {name: error[name] for name in ("type", "message", "code", "param") if error.get(name) is not None}
    return named("error", error=fields)
