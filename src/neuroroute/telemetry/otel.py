"""Events as OpenTelemetry's spans and metrics; needs the extra ``otel``, which is its API alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec

try:
    from opentelemetry import context, metrics, propagate, trace
    from opentelemetry.trace import Span, SpanKind, StatusCode
except ImportError as error:  # an empty folder may be left of it
    raise ModuleNotFoundError('OpenTelemetry is missing: pip install "neuroroute[otel]"') from error

from neuroroute.messages import AnyMessage, ImagePart, ToolCall, ToolMessage
from neuroroute.pipe import events as told
from neuroroute.pipe.events import Event
from neuroroute.telemetry import conventions as names
from neuroroute.telemetry.content import Redact, careful, shown
from neuroroute.telemetry.fields import error_of, fields_of

Attributes: TypeAlias = dict[str, Any]

_STEPS = (
    told.Admitted,
    told.BackingOff,
    told.CacheLooked,
    told.CallsSalvaged,
    told.FailedOver,
    told.GuardRefused,
    told.Hedged,
    told.LeftQueue,
    told.ModelLoading,
    told.Queued,
    told.StreamContinued,
)
"""Told as events of the span of their request."""


class _Open:
    """The spans of a request that is under way."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.within = trace.set_span_in_context(span)
        self.attempts: dict[int, Span] = {}
        self.said: list[dict[str, Any]] | None = None


class OpenTelemetryObserver:
    """A span for each request, with one for each attempt in it, and the metrics of the GenAI conventions.

    ::

        from neuroroute.telemetry.otel import OpenTelemetryObserver

        adapter = LMStudioAdapter("llama3", observers=[OpenTelemetryObserver()])

    A request's span is the child of whichever is current where the call is made. The server is sent the context of the
    attempt (``traceparent``). Tools that were run have spans beside it.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        record_content: bool = False,
        redact: Redact | None = None,
    ) -> None:
        """Begins.

        Args:
            tracer_provider: where spans go. Default: the global one.
            meter_provider: where metrics go. Default: the global one.
            record_content: whether spans have the messages (``gen_ai.input.messages``, ``gen_ai.output.messages``).
            redact: is given each text of these, and gives what may be recorded of it.
        """
        self.wants_content = record_content
        self._redact = careful(redact)
        self._open: dict[str, _Open] = {}
        ours = version("neuroroute")
        self._tracer = trace.get_tracer("neuroroute", ours, tracer_provider, schema_url=names.SCHEMA)
        meter = metrics.get_meter("neuroroute", ours, meter_provider, schema_url=names.SCHEMA)
        seconds, tokens = list(names.SECONDS), list(names.TOKENS)
        self._duration = meter.create_histogram(
            names.DURATION, "s", "How long requests take.", explicit_bucket_boundaries_advisory=seconds
        )
        self._first_chunk = meter.create_histogram(
            names.FIRST_CHUNK, "s", "How long the first chunk takes.", explicit_bucket_boundaries_advisory=seconds
        )
        self._tokens = meter.create_histogram(
            names.TOKEN_USAGE, "{token}", "Tokens of requests.", explicit_bucket_boundaries_advisory=tokens
        )

    def __call__(self, event: Event) -> None:
        """Takes an event."""
        if isinstance(event, told.RequestStarted):
            self._started(event)
        elif isinstance(event, told.ToolRan):
            self._tool_ran(event)
        elif (request := self._open.get(event.request_id)) is not None:
            self._of(request, event)

    def _of(self, request: _Open, event: Event) -> None:
        if isinstance(event, told.AttemptStarted):
            self._attempt_started(request, event)
        elif isinstance(event, told.AttemptEnded):
            if (span := request.attempts.pop(event.attempt, None)) is not None:
                _end(span, event)
        elif isinstance(event, told.RequestEnded):
            self._ended(request, event)
        elif isinstance(event, told.PromptSent):
            request.span.set_attribute(names.INPUT_MESSAGES, self._json(_input(event.messages)))
        elif isinstance(event, told.AnswerReceived):
            request.said = _parts(event.text, event.reasoning, event.tool_calls)
        elif isinstance(event, _STEPS):
            request.span.add_event(names.OF_US + type(event).__name__, _ours(event))

    def _started(self, event: told.RequestStarted) -> None:
        operation = names.OPERATIONS.get(event.api, names.CHAT)
        attributes = _common(operation, event) | _server(event.host)
        if event.streaming:
            attributes[names.REQUEST_STREAM] = True
        for name, value in event.parameters.items():
            if name in names.PARAMETERS and (name != "max_tokens" or value > 0):
                attributes[names.PARAMETERS[name]] = value
        span = self._tracer.start_span(f"{operation} {event.model}", kind=SpanKind.CLIENT, attributes=attributes)
        span.set_attribute(f"{names.OF_US}request_id", event.request_id)
        self._open[event.request_id] = _Open(span)

    def _attempt_started(self, request: _Open, event: told.AttemptStarted) -> None:
        attributes = _server(event.host)
        if event.attempt > 1:
            attributes[names.RESEND_COUNT] = event.attempt - 1
        span = self._tracer.start_span("attempt", request.within, kind=SpanKind.CLIENT, attributes=attributes)
        request.attempts[event.attempt] = span
        propagate.inject(event.headers, trace.set_span_in_context(span, request.within))

    def _ended(self, request: _Open, event: told.RequestEnded) -> None:
        del self._open[event.request_id]
        for span in request.attempts.values():
            span.end()
        operation = names.OPERATIONS.get(event.api, names.CHAT)
        of_metrics = _common(operation, event) | _server(event.host)
        if event.answered_by:
            of_metrics[names.RESPONSE_MODEL] = event.answered_by
        request.span.update_name(f"{operation} {event.model}")  # "auto" was settled meanwhile
        request.span.set_attributes(of_metrics | _outcome(event))
        if request.said is not None:
            said = {"role": "assistant", "parts": request.said, "finish_reason": event.finish_reason or event.outcome}
            request.span.set_attribute(names.OUTPUT_MESSAGES, self._json([said]))
        _end(request.span, event)
        self._measure(event, of_metrics, request.within)

    def _measure(self, event: told.RequestEnded, attributes: Attributes, within: context.Context) -> None:
        error = {} if event.error is None else {names.ERROR_TYPE: event.error.code}
        self._duration.record(event.duration_ms / 1000, attributes | error, within)
        if event.ttft_ms is not None:
            self._first_chunk.record(event.ttft_ms / 1000, attributes, within)
        if event.tokens is not None and event.attempts:  # else another request took them
            for kind, count in (("input", event.tokens.prompt), ("output", event.tokens.completion)):
                self._tokens.record(count, attributes | {names.TOKEN_TYPE: kind}, within)

    def _tool_ran(self, event: told.ToolRan) -> None:
        name, now = event.name or "unknown", time.time_ns()
        attributes: Attributes = {
            names.OPERATION: names.EXECUTE_TOOL,
            names.TOOL_NAME: name,
            names.TOOL_TYPE: "function",
            f"{names.OF_US}request_id": event.request_id,
        }
        began = now - int(event.duration_ms * 1e6)
        span = self._tracer.start_span(f"{names.EXECUTE_TOOL} {name}", attributes=attributes, start_time=began)
        if event.code is not None:
            span.set_attribute(names.ERROR_TYPE, event.code)
            span.set_status(StatusCode.ERROR, event.code)
        span.end(now)

    def _json(self, messages: list[dict[str, Any]]) -> str:
        return msgspec.json.encode(shown(messages, self._redact)).decode()


def _end(span: Span, event: told.RequestEnded | told.AttemptEnded) -> None:
    if event.error is not None:
        span.set_attribute(names.ERROR_TYPE, event.error.code)
        span.set_status(StatusCode.ERROR, event.error.code)  # its words may quote what was said
    if event.outcome == "left":
        span.set_attribute(f"{names.OF_US}outcome", event.outcome)
    span.end()


def _common(operation: str, event: Event) -> Attributes:
    return {names.OPERATION: operation, names.PROVIDER: names.LM_STUDIO, names.REQUEST_MODEL: event.model}


def _server(host: str) -> Attributes:
    try:
        parts = urlsplit(f"//{host}")
        address, port = parts.hostname, parts.port
    except ValueError:  # a name that somebody gave it
        address, port = None, None
    where: Attributes = {names.SERVER_ADDRESS: address or host}
    return where if port is None else where | {names.SERVER_PORT: port}


def _outcome(event: told.RequestEnded) -> Attributes:
    """What came of a request."""
    found: Attributes = {f"{names.OF_US}attempts": event.attempts, f"{names.OF_US}cached": event.cached}
    if event.finish_reason is not None:
        found[names.FINISH_REASONS] = [event.finish_reason]
    if event.ttft_ms is not None:
        found[names.TIME_TO_FIRST_CHUNK] = event.ttft_ms / 1000
    if event.tokens is not None:
        found |= {names.INPUT_TOKENS: event.tokens.prompt, names.OUTPUT_TOKENS: event.tokens.completion}
    return found


def _ours(event: Event) -> Mapping[str, Any]:
    """What is told of a step."""
    known = ("request_id", "event", "model", "code")
    fields = {f"{names.OF_US}{name}": value for name, value in fields_of(event).items() if name not in known}
    error = error_of(event)
    return fields if error is None else fields | {names.ERROR_TYPE: error.code}


def _input(messages: Sequence[AnyMessage]) -> list[dict[str, Any]]:
    """A history in the form of the conventions."""
    return [{"role": message.role, "parts": _parts_of(message)} for message in messages]


def _parts_of(message: AnyMessage) -> list[dict[str, Any]]:
    if isinstance(message, ToolMessage):
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}]
    calls: Sequence[ToolCall] = getattr(message, "tool_calls", ())
    images = 0 if isinstance(message.content, str) else sum(isinstance(part, ImagePart) for part in message.content)
    return [*_parts(message.text, "", calls), *([{"type": "image", "count": images}] if images else [])]


def _parts(text: str, reasoning: str, calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if reasoning:
        parts.append({"type": "reasoning", "content": reasoning})
    if text:
        parts.append({"type": "text", "content": text})
    for call in calls:
        of_call = {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
        parts.append({"type": "tool_call", **of_call})
    return parts
