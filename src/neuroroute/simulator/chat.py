"""``POST /v1/chat/completions``: an answer as the bodies and events of the real server. Pure: nothing is sent here."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from neuroroute.simulator.answers import split
from neuroroute.simulator.delivery import Events
from neuroroute.simulator.events import DONE, error_events, event
from neuroroute.simulator.loosely import as_array, as_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from neuroroute.simulator.answers import Answer
    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.profiles import ReasoningForm
    from neuroroute.simulator.style import Style


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to one request: what both modes say alike."""

    answer: Answer
    request: Mapping[str, Any]
    """As one to chat: whatever the route, it has ``messages``."""
    id: str
    created: int
    model: str
    style: Style
    source: SimulatedModel
    context: int
    """The context that its instance was loaded with."""

    @property
    def reasoning(self) -> str:
        """The reasoning, if it was not turned off."""
        return "" if self.style.silent else self.answer.reasoning

    @property
    def reasoning_form(self) -> ReasoningForm:
        """Where the reasoning is put."""
        return self.answer.reasoning_form or self.style.reasoning_form

    @property
    def content_chunks(self) -> list[str]:
        """The content, delta by delta, with a think block if the reasoning is left in it."""
        answer = self.answer
        if self.reasoning and self.reasoning_form == "think":
            return [*split(f"<think>{self.reasoning}</think>", answer.chunk_size), *answer.content_chunks()]
        return answer.content_chunks()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tool calls as a whole answer has them."""
        return [
            {
                "id": call[2] if len(call) > 2 else self._call_id(index),
                "type": "function",
                "function": {"name": call[0], "arguments": _arguments(call[1])},
            }
            for index, call in enumerate(self.answer.tool_calls)
        ]

    @property
    def finish_reason(self) -> str:
        """Why the model stopped."""
        return self.answer.finish_reason or ("tool_calls" if self.answer.tool_calls else "stop")

    @property
    def usage(self) -> Mapping[str, Any]:
        """What was scripted, else a count of words."""
        if self.answer.usage is not None:
            return self.answer.usage
        reasoning = _words(self.reasoning)
        said = "".join(self.content_chunks)
        arguments = " ".join(call["function"]["arguments"] for call in self.calls)
        prompt = prompt_tokens(self.request)
        inside = 0 if self.reasoning_form == "think" else reasoning
        completion = _words(said) + inside + _words(arguments)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }

    def _call_id(self, index: int) -> str:
        return str(100_000_000 + zlib.crc32(f"{self.id}/{index}".encode()) % 900_000_000)


def body(completion: Completion) -> dict[str, Any]:
    """The answer in one body."""
    answer = completion.answer
    message: dict[str, Any] = {"role": "assistant", "content": "".join(completion.content_chunks)}
    if completion.style.reasoning_form != "think":
        message["reasoning_content"] = ""
    message["tool_calls"] = completion.calls
    if completion.reasoning_form != "think" and completion.reasoning:
        message[completion.reasoning_form] = completion.reasoning
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": completion.finish_reason}
    return {
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created,
        "model": completion.model,
        "choices": [choice],
        "usage": completion.usage,
        "stats": answer.stats,
        "system_fingerprint": completion.model,
    }


def events(completion: Completion, also: Mapping[str, Any] | None = None) -> Events:
    """The answer as a stream of events; ``also`` stands beside the finish reason."""
    return Events(
        [framed(completion, msgspec.json.encode(_chunk(completion, delta))) for delta in _deltas(completion)],
        last_events(completion, _chunk(completion, {}, finish_reason=completion.finish_reason), also or {}),
        partial(failed, completion),
    )


def failed(completion: Completion, message: str, _sent: int, done: bool) -> list[bytes]:
    """What ends a stream that fails."""
    return error_events(message, done=done, framed=partial(framed, completion))


def _deltas(completion: Completion) -> Iterator[dict[str, Any]]:
    answer = completion.answer
    first = True
    if answer.role == "alone":
        yield {"role": "assistant"}
        first = False
    for delta in _said(completion):
        yield {"role": "assistant", **delta} if first or answer.role == "every" else delta
        first = False


def _said(completion: Completion) -> Iterator[dict[str, Any]]:
    answer = completion.answer
    if completion.reasoning_form != "think":
        for piece in split(completion.reasoning, answer.chunk_size):
            yield {completion.reasoning_form: piece}
    for piece in completion.content_chunks:
        yield {"content": piece}
    for index, call in enumerate(completion.calls):
        function = call["function"]
        if not completion.style.profile.argument_fragments:
            yield {"tool_calls": [{"index": index, **call}]}
            continue
        yield {"tool_calls": [{"index": index, **call, "function": {"name": function["name"], "arguments": ""}}]}
        for piece in split(function["arguments"], answer.chunk_size or 8):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _chunk(completion: Completion, delta: Mapping[str, Any], *, finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": completion.id,
        "object": "chat.completion.chunk",
        "created": completion.created,
        "model": completion.model,
        "system_fingerprint": completion.model,
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
    }


def last_events(completion: Completion, last: Mapping[str, Any], also: Mapping[str, Any]) -> list[bytes]:
    """What ends a stream: the chunk with the finish reason, the usage where it is asked for, ``[DONE]``."""
    chunks = [{**last, **also}]
    wanted = as_object(completion.request.get("stream_options")).get("include_usage")
    if wanted and completion.style.profile.stream_usage:
        chunks.append({**last, "choices": [], "usage": completion.usage})
    return [framed(completion, data) for data in (*map(msgspec.json.encode, chunks), DONE)]


def framed(completion: Completion, data: bytes, *, name: str = "") -> bytes:
    """One event, as the answer wants it to look."""
    return event(data, name=name, newline=completion.answer.newline, comment=completion.answer.comment)


def prompt_tokens(request: Mapping[str, Any]) -> int:
    """How long a prompt is: its words are its tokens here."""
    return sum(_words(text_of(message)) for message in request.get("messages", ()))


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, whatever the form of its content."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return " ".join(str(as_object(part).get("text", "")) for part in as_array(content))


def _arguments(given: Mapping[str, Any] | str) -> str:
    return given if isinstance(given, str) else msgspec.json.encode(given).decode()


def _words(text: str) -> int:
    return len(text.split())
