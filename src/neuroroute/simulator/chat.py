"""``POST /v1/chat/completions``: an answer as the bodies and events of the real server. Pure: nothing is sent here."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from neuroroute.simulator.answers import split
from neuroroute.simulator.loosely import as_array, as_object
from neuroroute.simulator.sending import Piece, Sending

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from neuroroute.simulator.answers import Answer, StreamFault
    from neuroroute.simulator.sending import Ending

_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to one request: what both modes say alike."""

    answer: Answer
    request: Mapping[str, Any]
    id: str
    created: int
    model: str

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
        reasoning = _words(self.answer.reasoning)
        said = "".join(self.answer.content_chunks())
        arguments = " ".join(call["function"]["arguments"] for call in self.calls)
        prompt = sum(_words(text_of(message)) for message in self.request.get("messages", ()))
        inside = 0 if self.answer.reasoning_form == "think" else reasoning
        completion = _words(said) + inside + _words(arguments)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }

    def _call_id(self, index: int) -> str:
        return str(100_000_000 + zlib.crc32(f"{self.id}/{index}".encode()) % 900_000_000)


def whole(completion: Completion) -> Sending:
    """The answer in one body."""
    answer = completion.answer
    body = msgspec.json.encode(_whole_body(completion))
    fault = answer.whole_fault
    sent = body if fault is None else body[: fault.after]
    ending: Ending = "clean" if fault is None or fault.kind == "end" else fault.kind
    return Sending(
        [Piece(sent, answer.delay_first)],
        status=answer.status,
        content_type=answer.content_type or "application/json; charset=utf-8",
        headers=answer.headers,
        length=len(sent) if ending == "clean" else len(body),
        delay=answer.delay,
        ending=ending,
    )


def _whole_body(completion: Completion) -> dict[str, Any]:
    answer = completion.answer
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(answer.content_chunks()),
        "reasoning_content": "",
        "tool_calls": completion.calls,
    }
    if answer.reasoning_form != "think" and answer.reasoning:
        message[answer.reasoning_form] = answer.reasoning
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


def streamed(completion: Completion) -> Sending:
    """The answer as a stream of events."""
    answer = completion.answer
    if answer.raw_chunks is not None:
        begun, end = list(answer.raw_chunks), list[bytes]()
    else:
        begun = [_event(completion, msgspec.json.encode(_chunk(completion, delta))) for delta in _deltas(completion)]
        end = _end(completion)
    ending: Ending = "clean"
    fault = answer.stream_fault
    if fault is not None:
        begun, end, ending = _break(completion, fault, begun, end)
    return Sending(
        [
            Piece(data, answer.delay_between if number else answer.delay_first)
            for number, data in enumerate([*begun, *end])
        ],
        status=answer.status,
        content_type=answer.content_type or "text/event-stream",
        headers=answer.headers,
        delay=answer.delay,
        ending=ending,
    )


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
    if answer.reasoning_form != "think":
        for piece in split(answer.reasoning, answer.chunk_size):
            yield {answer.reasoning_form: piece}
    for piece in answer.content_chunks():
        yield {"content": piece}
    for index, call in enumerate(completion.calls):
        function = call["function"]
        yield {"tool_calls": [{"index": index, **call, "function": {"name": function["name"], "arguments": ""}}]}
        for piece in split(function["arguments"], answer.chunk_size or 8):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _end(completion: Completion) -> list[bytes]:
    chunks = [_chunk(completion, {}, finish_reason=completion.finish_reason)]
    if as_object(completion.request.get("stream_options")).get("include_usage"):
        chunks.append({**_chunk(completion, {}), "choices": [], "usage": completion.usage})
    return [_event(completion, data) for data in (*map(msgspec.json.encode, chunks), _DONE)]


def _break(
    completion: Completion, fault: StreamFault, begun: Sequence[bytes], end: Sequence[bytes]
) -> tuple[list[bytes], list[bytes], Ending]:
    sent = list(begun[: fault.after])
    match fault.kind:
        case "no_done":
            return list(begun), list(end[:-1]), "clean"
        case "no_finish":
            return list(begun), list(end[-1:]), "clean"
        case "error":
            said = {"error": {"message": fault.message}, "message": fault.message}
            event = _event(completion, msgspec.json.encode(said), name="error")
            return sent, [event, _event(completion, _DONE)] if fault.done else [event], "clean"
        case "end":
            return sent, [], "clean"
        case "cut" | "reset" | "hang":
            return sent, [], fault.kind


def _chunk(completion: Completion, delta: Mapping[str, Any], *, finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": completion.id,
        "object": "chat.completion.chunk",
        "created": completion.created,
        "model": completion.model,
        "system_fingerprint": completion.model,
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
    }


def _event(completion: Completion, data: bytes, *, name: str = "") -> bytes:
    answer = completion.answer
    line_end = answer.newline.encode()
    lines = [b"event: " + name.encode()] if name else []
    lines += [b"data: " + data, b"", b""]
    if answer.comment is not None:
        lines = [b": " + answer.comment.encode(), b"", *lines]
    return line_end.join(lines)


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
