"""``POST /v1/responses``: an answer as its body and its events. Pure: nothing is sent here."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from neuroroute.simulator.answers import split
from neuroroute.simulator.chat import framed
from neuroroute.simulator.delivery import Events
from neuroroute.simulator.events import DONE, error_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from neuroroute.simulator.chat import Completion

_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""The fields of a request that its answer repeats, and what it says where they were not given."""


def body(completion: Completion) -> dict[str, Any]:
    """The answer in one body."""
    completion = _parsed(completion)
    incomplete = completion.finish_reason == "length"
    return {
        **_response(completion, "incomplete" if incomplete else "completed"),
        "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
        "output": [item for item, _ in _items(completion)],
        "usage": _usage(completion),
    }


def events(completion: Completion, _also: Mapping[str, Any] | None = None) -> Events:
    """The answer as a stream of events."""
    return _Telling(_parsed(completion)).events()


class _Telling:
    """The events of one answer, numbered."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion
        self._unknowns = completion.style.unknowns
        self._next = 0
        self._next_after: list[int] = []
        """The number of the event that comes after so many deltas."""

    def events(self) -> Events:
        begun = _response(self._completion, "in_progress")
        opening = [self._event(name, {"response": begun}) for name in ("response.created", "response.in_progress")]
        self._next_after.append(self._next)
        deltas: list[bytes] = []
        frame = b""
        for name, fields in self._told():
            frame += self._event(name, fields)
            if name.endswith(".delta"):
                deltas.append(frame)
                self._next_after.append(self._next)
                frame = b""
        last = body(self._completion)
        end = [frame, self._event(f"response.{last['status']}", {"response": last})]
        if self._unknowns.responses_done:
            end = [b"".join(end), framed(self._completion, DONE)]
        return Events(deltas, end, self._failed, opening)

    def _told(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every item from its beginning to its end."""
        for index, (item, pieces) in enumerate(_items(self._completion)):
            yield "response.output_item.added", {"output_index": index, "item": _begun(item)}
            at = {"item_id": item["id"], "output_index": index}
            yield from _call(at, item, pieces) if item["type"] == "function_call" else self._part(at, item, pieces)
            yield "response.output_item.done", {"output_index": index, "item": item}

    def _part(
        self, at: Mapping[str, Any], item: Mapping[str, Any], pieces: list[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The one part of a message or of reasoning."""
        part = item["content"][0]
        at = {**at, "content_index": 0}
        more: dict[str, Any] = {"logprobs": []} if item["type"] == "message" else {}
        yield "response.content_part.added", {**at, "part": {**part, "text": ""}}
        if item["type"] == "message" or self._unknowns.responses_reasoning_deltas:
            for piece in pieces:
                yield f"response.{part['type']}.delta", {**at, "delta": piece, **more}
        yield f"response.{part['type']}.done", {**at, "text": part["text"], **more}
        yield "response.content_part.done", {**at, "part": part}

    def _event(self, name: str, fields: Mapping[str, Any]) -> bytes:
        data = {"type": name, "sequence_number": self._next, **fields}
        self._next += 1
        return framed(self._completion, msgspec.json.encode(data), name=name)

    def _failed(self, message: str, sent: int, done: bool) -> list[bytes]:
        self._next = self._next_after[sent]
        match self._unknowns.responses_error:
            case "chat":
                return error_events(message, done=done, framed=partial(framed, self._completion))
            case "failed":
                error = {"code": "server_error", "message": message}
                said = {**_response(self._completion, "failed"), "error": error}
                last = self._event("response.failed", {"response": said})
            case "error":
                last = self._event("error", {"code": "unknown", "message": message, "param": None})
        return [last, *([framed(self._completion, DONE)] if done else [])]


def _call(at: Mapping[str, Any], item: Mapping[str, Any], pieces: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for piece in pieces:
        yield "response.function_call_arguments.delta", {**at, "delta": piece}
    yield "response.function_call_arguments.done", {**at, "arguments": item["arguments"], "name": item["name"]}


def _begun(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of which nothing was said yet."""
    empty: dict[str, Any] = {"arguments": ""} if item["type"] == "function_call" else {"content": []}
    return {**item, **empty, "status": "in_progress"}


def _items(completion: Completion) -> list[tuple[dict[str, Any], list[str]]]:
    """What was said, item by item, each with the pieces in which a stream says it."""
    answer, number = completion.answer, completion.id.removeprefix("resp_")
    items: list[tuple[dict[str, Any], list[str]]] = []
    if completion.reasoning and completion.reasoning_form != "think":
        part: dict[str, Any] = {"type": "reasoning_text", "text": completion.reasoning}
        item = {"id": f"rs_{number}", "type": "reasoning", "summary": [], "content": [part], "status": "completed"}
        items.append((item, split(completion.reasoning, answer.chunk_size)))
    pieces = completion.content_chunks
    if pieces or not completion.calls:
        part = {"type": "output_text", "text": "".join(pieces), "annotations": [], "logprobs": []}
        item = {"id": f"msg_{number}", "type": "message", "role": "assistant"}
        items.append(({**item, "status": "completed", "content": [part]}, pieces))
    for index, call in enumerate(completion.calls):
        item = {"id": f"fc_{number}_{index}", "type": "function_call", "status": "completed", "call_id": call["id"]}
        items.append(({**item, **call["function"]}, split(call["function"]["arguments"], answer.chunk_size or 8)))
    return items


def _response(completion: Completion, status: str) -> dict[str, Any]:
    asked = completion.request
    return {
        "id": completion.id,
        "object": "response",
        "created_at": completion.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": completion.model,
        "output": [],
        "reasoning": {"effort": asked["reasoning_effort"], "summary": None},
        "usage": None,
        **{name: asked.get(name, default) for name, default in _ECHOED.items()},
    }


def _usage(completion: Completion) -> Mapping[str, Any]:
    """What was scripted, else a count of words."""
    if completion.answer.usage is not None:
        return completion.answer.usage
    counted = completion.usage
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": counted["completion_tokens_details"]["reasoning_tokens"]},
        "total_tokens": counted["total_tokens"],
    }


def _parsed(completion: Completion) -> Completion:
    """The reasoning is an item of its own in every version that has this route, unless the answer says otherwise."""
    form = completion.answer.reasoning_form or "reasoning_content"
    return replace(completion, answer=replace(completion.answer, reasoning_form=form))
