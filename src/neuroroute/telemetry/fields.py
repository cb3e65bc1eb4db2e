"""The facts of events, by the names that logs and traces have for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neuroroute.errors import LMStudioError, ModelUnavailableError
from neuroroute.pipe import events as told
from neuroroute.pipe.events import Event

FIELDS = (
    *("request_id", "model", "host", "attempt", "attempts", "api", "streaming", "cached", "outcome", "finish_reason"),
    *("duration_ms", "ttft_ms", "delay_ms", "wait_ms", "queue_length", "count", "code", "fraction", "to"),
    *("answered_by", "size_bytes", "guard", "stage"),
)
"""Of an event, under the same name; what is not listed here never leaves the process."""


def error_of(event: Event) -> LMStudioError | None:
    """The error that an event tells of."""
    error: object = getattr(event, "cause", None) or getattr(event, "error", None)
    return error if isinstance(error, LMStudioError) else None


def fields_of(event: Event) -> dict[str, Any]:
    """The facts of an event, by the names that logs have for them; nothing of what was said."""
    fields: dict[str, Any] = {"event": type(event).__name__}
    for name in FIELDS:
        if (value := getattr(event, name, None)) not in (None, ""):
            fields[name] = round(value, 3) if isinstance(value, float) else value
    if (error := error_of(event)) is not None:
        fields["code"] = error.code
        if error.status is not None:
            fields["status"] = error.status
        if isinstance(error, ModelUnavailableError) and error.reason is not None:
            fields["reason"] = error.reason
    own = _OWN_FIELDS.get(type(event))
    return fields if own is None else fields | own(event)


def _counted(event: told.RequestEnded) -> dict[str, Any]:
    tokens = event.tokens
    return {} if tokens is None else {"prompt_tokens": tokens.prompt, "completion_tokens": tokens.completion}


def _failure(event: told.CacheLooked | told.CacheStored) -> dict[str, Any]:
    return {} if event.error is None else {"exception_type": event.error}


_OWN_FIELDS: dict[type[Event], Callable[[Any], dict[str, Any]]] = {
    told.RequestEnded: _counted,
    told.BreakerChanged: lambda event: {"breaker_state": event.after},
    told.HostChanged: lambda event: {"host_state": event.after},
    told.ToolRan: lambda event: {"tool": event.name or "unknown"},
    told.CacheLooked: _failure,
    told.CacheStored: _failure,
}
"""Facts that have another name in logs, or are only there at times."""
