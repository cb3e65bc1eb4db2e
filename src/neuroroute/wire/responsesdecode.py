"""What ``/v1/responses`` answers, as chunks.

Source: https://lmstudio.ai/docs/developer/openai-compat/responses, https://www.openresponses.org/specification
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from neuroroute.jsontypes import is_array, is_mapping
from neuroroute.responses import Folded, TokenUsage
from neuroroute.wire.decoder import NO_ERROR, Put
from neuroroute.wire.failures import UNDECODABLE, failure_in_success
from neuroroute.wire.items import ItemDecoder, as_count, as_object, as_text
from neuroroute.wire.toolcalls import WireCall, WireFunction


class _Item(msgspec.Struct, gc=False):
    """A message, a thought or a call."""

    type: Any = None
    call_id: Any = None
    name: Any = None
    arguments: Any = None
    content: Any = None
    summary: Any = None


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    delta: Any = None
    text: Any = None
    output_index: Any = None
    item: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    response: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Response(msgspec.Struct, gc=False):
    output: list[_Item] | None = None
    id: Any = None
    model: Any = None
    status: Any = None
    usage: Any = None
    incomplete_details: Any = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Head(msgspec.Struct, gc=False):
    """What is known of an answer when it begins."""

    id: Any = None
    model: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_item = msgspec.json.Decoder(_Item).decode
_decode_response = msgspec.json.Decoder(_Response).decode
_decode_head = msgspec.json.Decoder(_Head).decode

_WORDS = frozenset(("response.output_text.delta", "response.refusal.delta"))
_SAID = ("response.output_text.done", "response.reasoning_text.done")
"""All of a part, which may have streamed by."""
_THOUGHTS = frozenset(
    ("response.reasoning_text.delta", "response.reasoning_summary_text.delta", "response.reasoning.delta")
)
_ENDS = frozenset(("response.completed", "response.incomplete"))
_CUT = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Why an answer is incomplete, as a finish reason."""


class ResponsesDecoder(ItemDecoder):
    """Decodes one response."""

    __slots__ = ("_argued", "_head", "_streamed")

    def __init__(self, put: Put, tools: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__(put, tools)
        self._head = _Head()
        self._streamed: set[Any] = set()
        """Places of the items that came piece by piece."""
        self._argued: set[Any] = set()
        """Places of the calls that are known, and of those whose arguments came."""

    def _event(self, data: bytes) -> None:
        event, data = self._decoded(_decode_event, data)
        kind = as_text(event.type)
        failed = event.error is not msgspec.UNSET and bytes(event.error) not in NO_ERROR
        if not kind or kind == "error" or failed:
            raise failure_in_success(data, why="an event has no 'type'", began=self.began)
        if kind in _WORDS:
            self._streamed.add(_place(event.output_index))
            self._speak(as_text(event.delta))
        elif kind in _THOUGHTS:
            self._streamed.add(_place(event.output_index))
            self._say("", as_text(event.delta))
        elif kind in _SAID and _place(event.output_index) not in self._streamed:
            self._speak(as_text(event.text)) if kind == _SAID[0] else self._say("", as_text(event.text))
        elif kind == "response.function_call_arguments.delta":
            self._argue(event.output_index, as_text(event.delta))
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._item(event, is_done=kind.endswith("done"))
        elif kind in _ENDS:
            self._end(event, data)
        elif kind == "response.failed":
            raise failure_in_success(_failed(event), why="it failed", began=self.began)
        elif event.response is not msgspec.UNSET and not self.model:
            self._begin(bytes(event.response))

    def _begin(self, response: bytes) -> None:
        try:
            self._head = _decode_head(response)
        except UNDECODABLE:
            return
        self.model = as_text(self._head.model)

    def _item(self, event: _Event, *, is_done: bool) -> None:
        try:
            item = _decode_item(b"null" if event.item is msgspec.UNSET else event.item)
        except UNDECODABLE:
            return
        if item.type == "message" and not is_done:
            self._next_message()
        elif item.type == "function_call":
            place = _place(event.output_index)
            if (place, "named") not in self._argued:
                self._argued.add((place, "named"))
                self._fragment(WireFunction(as_text(item.name)), place, as_text(item.call_id))
            if (place, "argued") not in self._argued and (arguments := as_text(item.arguments)):
                self._argue(place, arguments)

    def _argue(self, place: Any, arguments: str) -> None:
        """A piece of a call's arguments."""
        if arguments:
            self._argued.add((_place(place), "argued"))
            self._fragment(WireFunction(None, arguments), _place(place), None)

    def _fragment(self, function: WireFunction, place: Any, call_id: str | None) -> None:
        self._say("", "", self._calls.fragments([WireCall(function, place, call_id)]))

    def _end(self, event: _Event, data: bytes) -> None:
        told = b"" if event.response is msgspec.UNSET else bytes(event.response)
        try:
            response = _decode_response(told)
        except UNDECODABLE:
            response = _Response(id=self._head.id)  # the answer itself came before
        if response.output is None and not self.began:
            raise failure_in_success(data, why="it has no 'output'")
        self._whole = told
        self._response(response)
        self.ended = True

    def _whole_body(self, body: bytes) -> None:
        response, body = self._decoded(_decode_response, body)
        failed = response.error is not msgspec.UNSET and bytes(response.error) not in NO_ERROR
        if response.output is None or failed:
            raise failure_in_success(body, why="it has no 'output'")
        self._whole = body
        self._response(response)

    def _response(self, response: _Response) -> None:
        """Takes the whole response; of its words only those that did not stream by."""
        self.model = as_text(response.model) or self.model
        self.response_id = as_text(response.id) or None
        output = response.output or []
        if not self.began:
            for item in output:
                self._whole_item(item)
        self.usage = _usage(response.usage)
        details = as_object(response.incomplete_details)
        cut = "length" if response.status == "incomplete" else None
        called = any(item.type == "function_call" for item in output)
        self.finish_reason = _CUT.get(as_text(details.get("reason"))) or cut or ("tool_calls" if called else "stop")

    def _whole_item(self, item: _Item) -> None:
        if item.type == "message":
            self._next_message()
            self._speak("".join(_texts(item.content)))
        elif item.type == "reasoning":
            self._say("", "".join(_texts(item.content)) or "".join(_texts(item.summary)))
        elif item.type == "function_call":
            function = WireFunction(as_text(item.name), as_text(item.arguments))
            self._say("", "", self._calls.complete([WireCall(function, None, as_text(item.call_id))]))

    def _told(self, folded: Folded) -> dict[str, Any]:
        output: list[dict[str, Any]] = []
        if folded.reasoning and not self._thought:
            output.append({"type": "reasoning", "content": [{"type": "reasoning_text", "text": folded.reasoning}]})
        if content := self._content(folded):
            output.append(
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": content}]}
            )
        for call in self._sent_calls(folded):
            name, arguments = call.function.name, call.function.arguments
            output.append({"type": "function_call", "call_id": call.id, "name": name, "arguments": arguments})
        return {"object": "response", "status": "incomplete", "model": self.model, "output": output}


def _place(output_index: Any) -> Any:
    return output_index if isinstance(output_index, int | str) else None


def _texts(parts: Any) -> Iterable[str]:
    """The texts of a content, which may be a text itself."""
    if isinstance(parts, str):
        return [parts]
    return [
        as_text(part.get("text")) or as_text(part.get("refusal"))
        for part in (parts if is_array(parts) else ())
        if is_mapping(part)
    ]


def _failed(event: _Event) -> bytes:
    """The error in a response that failed, as an error of its own."""
    try:
        response = _decode_response(b"{}" if event.response is msgspec.UNSET else event.response)
    except UNDECODABLE:
        response = _Response()
    error = b"null" if response.error is msgspec.UNSET else bytes(response.error)
    return b'{"error":%b}' % (b'"the response failed"' if error in NO_ERROR else error)


def _usage(told: Any) -> TokenUsage | None:
    if not is_mapping(told):
        return None
    prompt, completion = as_count(told.get("input_tokens")), as_count(told.get("output_tokens"))
    return TokenUsage(
        prompt=prompt, completion=completion, total=as_count(told.get("total_tokens")) or prompt + completion
    )
