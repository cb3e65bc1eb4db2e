"""What ``/api/v1/chat`` answers, as chunks; and how far the server is before it does.

Source: https://lmstudio.ai/docs/developer/rest/streaming-events
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from neuroroute.details import ModelProgress, Phase
from neuroroute.jsontypes import is_mapping, is_number
from neuroroute.responses import Folded, ServerCall, Stats, TokenUsage
from neuroroute.wire.decoder import NO_ERROR, Put
from neuroroute.wire.failures import UNDECODABLE, failure_in_success
from neuroroute.wire.items import ItemDecoder, as_count, as_object, as_text


class _Told(msgspec.Struct, gc=False):
    """What events and items have in common. What is odd in a field that is not the text does not harm the answer."""

    type: Any = None
    tool: Any = None
    arguments: msgspec.Raw = msgspec.Raw()
    output: Any = None
    reason: Any = None
    provider_info: Any = None
    metadata: Any = None


class _Event(_Told, gc=False):
    """An event."""

    content: str | None = None
    model_instance_id: Any = None
    progress: Any = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Item(_Told, gc=False):
    """An item of the output."""

    content: Any = None


class _Result(msgspec.Struct, gc=False):
    output: list[_Item] | None = None
    model_instance_id: Any = None
    response_id: Any = None
    stats: Any = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_result = msgspec.json.Decoder(_Result).decode

_PHASES: dict[str, tuple[Phase, float | None]] = {
    "model_load.start": ("loading", 0.0),
    "model_load.progress": ("loading", None),
    "model_load.end": ("loaded", 1.0),
    "prompt_processing.start": ("processing_prompt", 0.0),
    "prompt_processing.progress": ("processing_prompt", None),
    "prompt_processing.end": ("processing_prompt", 1.0),
}
"""What each event tells, and how far that is; None: as its ``progress`` says."""


class NativeDecoder(ItemDecoder):
    """Decodes one native answer."""

    __slots__ = ("_asked", "_most", "_progressed", "_told_last", "server_calls")

    def __init__(
        self,
        put: Put,
        *,
        model: str = "",
        most: int = -1,
        progressed: Callable[[ModelProgress], None] | None = None,
    ) -> None:
        """Begins.

        Args:
            put: takes each chunk.
            model: the model that was asked, to name it while it loads.
            most: ``max_tokens``: an answer of so many was cut off, which the server does not tell.
            progressed: is told how far the server is before it answers.
        """
        super().__init__(put)
        self.server_calls = ()
        self._asked = model
        self._most = most
        self._progressed = progressed
        self._told_last: ModelProgress | None = None

    def _event(self, data: bytes) -> None:
        event, data = self._decoded(_decode_event, data)
        kind = as_text(event.type)
        if not kind or (event.error is not msgspec.UNSET and bytes(event.error) not in NO_ERROR):
            raise failure_in_success(data, why="an event has no 'type'", began=self.began)
        match kind:
            case "message.delta":
                self._speak(event.content or "")
            case "reasoning.delta":
                self._say("", event.content or "")
            case "message.start":
                self._next_message()
            case "chat.start":
                self.model = as_text(event.model_instance_id)
            case "tool_call.start":
                self.began = True  # the tool runs: asking again would run it twice
            case "tool_call.success" | "tool_call.failure":
                self.began = True
                self.server_calls = (*self.server_calls, _call(event))
            case "chat.end":
                self._end(event, data)
            case _ if kind in _PHASES:
                self._progress(*_PHASES[kind], event.progress)
            case _:
                pass  # starts and ends, and whatever later versions tell

    def _progress(self, phase: Phase, fraction: float | None, told: Any) -> None:
        if self._progressed is None:
            return
        if fraction is None:
            fraction = min(max(float(told), 0.0), 1.0) if is_number(told) else None
        progress = ModelProgress(model=self._asked, phase=phase, fraction=fraction)
        if progress != self._told_last:  # "end" has been seen to come twice
            self._told_last = progress
            self._progressed(progress)

    def _end(self, event: _Event, data: bytes) -> None:
        result = b"" if event.result is msgspec.UNSET else bytes(event.result)
        try:
            told = _decode_result(result)
        except UNDECODABLE:
            told = _Result()  # the answer itself came before
        if told.output is None and not self.began:
            raise failure_in_success(data, why="it has no 'output'")
        self._whole = result
        self._result(told)
        self.ended = True

    def _whole_body(self, body: bytes) -> None:
        result, body = self._decoded(_decode_result, body)
        if result.output is None or (result.error is not msgspec.UNSET and bytes(result.error) not in NO_ERROR):
            raise failure_in_success(body, why="it has no 'output'")
        self._whole = body
        self._result(result)

    def _result(self, result: _Result) -> None:
        """Takes the whole answer; of its words only those that did not stream by."""
        self.model = as_text(result.model_instance_id) or self.model
        self.response_id = as_text(result.response_id) or None
        output = result.output or []
        calls = tuple([_call(item) for item in output if item.type in ("tool_call", "invalid_tool_call")])
        self.server_calls = calls or self.server_calls
        if not self.began:
            for item in output:
                if item.type == "message":
                    self._next_message()
                    self._speak(as_text(item.content))
                elif item.type == "reasoning":
                    self._say("", as_text(item.content))
            if calls:
                self.began = True
        self.usage, self.stats = _measures(result.stats)
        cut = self.usage is not None and 0 < self._most <= self.usage.completion
        self.finish_reason = "length" if cut else "stop"

    def _told(self, folded: Folded) -> dict[str, Any]:
        said = (("reasoning", folded.reasoning), ("message", folded.text))
        output = [{"type": kind, "content": text} for kind, text in said if text]
        return {"model_instance_id": self.model, "output": output, "stats": {}}


def _call(told: _Told) -> ServerCall:
    """A call that the server ran, or did not since it was invalid."""
    metadata = as_object(told.metadata)
    provider = as_object(told.provider_info) or as_object(metadata.get("provider_info"))
    arguments = bytes(told.arguments).decode("utf-8", "replace") or _json(metadata.get("arguments"))
    failed = told.reason is not None or told.type in ("tool_call.failure", "invalid_tool_call")
    return ServerCall(
        name=as_text(told.tool) or as_text(metadata.get("tool_name")),
        arguments=arguments,
        output=as_text(told.output),
        error=(as_text(told.reason) or "the call was invalid") if failed else None,
        provider=as_text(provider.get("plugin_id")) or as_text(provider.get("server_label")),
    )


def _json(value: Any) -> str:
    return "{}" if value is None else msgspec.json.encode(value).decode()


def _measures(stats: Any) -> tuple[TokenUsage | None, Stats]:
    if not is_mapping(stats):
        return None, Stats()
    prompt, completion = as_count(stats.get("input_tokens")), as_count(stats.get("total_output_tokens"))
    usage = TokenUsage(prompt=prompt, completion=completion, total=prompt + completion)
    return usage, Stats(
        tokens_per_second=_seconds(stats.get("tokens_per_second")),
        time_to_first_token=_seconds(stats.get("time_to_first_token_seconds")),
        load_time=_seconds(stats.get("model_load_time_seconds")),
    )


def _seconds(value: Any) -> float | None:
    return float(value) if is_number(value) and 0 <= value < 1e300 else None
