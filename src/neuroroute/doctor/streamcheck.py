"""PURE: what a watched stream says: whether it came in pieces, whole, and ended as it should."""

from __future__ import annotations

from neuroroute.doctor.failed import of_error
from neuroroute.doctor.findings import Finding, Phases, found
from neuroroute.doctor.wirestream import StreamSeen

_PIECES = 8
"""So many pieces that come all at once late were held back on the way."""
_AT_ONCE_MS = 5.0
_LATE_MS = 1500.0
_AT_ONCE = 8
"""Where more tokens came together than so many, nothing is known of how fast each was made."""


def of_stream(seen: StreamSeen, *, page_ms: float = 0.0) -> list[Finding]:
    """What was found of it.

    Args:
        seen: what came.
        page_ms: what the quickest answer took that no model makes.
    """
    if (wrong := _wrong(seen)) is not None:
        return [wrong]
    if not seen.is_stream:
        return [found("stream-not-streamed", "stream", "the answer came whole, although a stream was asked for")]
    if seen.still_coming:
        what = f"after {_seconds(seen.total_ms)} and {seen.deltas} pieces it was still coming"
        return [found("stream-slow", "stream", what)]
    took = f"first piece after {_seconds(seen.first_delta_ms)}, then {seen.deltas - 1} more to its end"
    findings = [found("stream-works", "stream", took)]
    if not seen.done:
        findings.append(found("stream-without-done", "stream", "it ends without [DONE]"))
    if seen.finish_reason is None:
        findings.append(found("stream-without-finish", "stream", "it ends without a finish reason"))
    if _held_back(seen, page_ms):
        what = f"all {seen.deltas} pieces came at once, after {_seconds(seen.first_delta_ms)}"
        findings.append(found("stream-not-streamed", "stream", what))
    return findings


def _wrong(seen: StreamSeen) -> Finding | None:
    began = f"after {seen.deltas} piece{'s' if seen.deltas != 1 else ''}"
    if seen.error is not None:
        return of_error(seen.error, "stream")
    if seen.still_coming:
        return None
    if seen.failure == "timeout":
        if not seen.deltas:
            return found("no-answer-in-time", "stream", f"nothing came within {_seconds(seen.total_ms)}")
        return found("stream-stalled", "stream", f"it fell silent {began}, and did not end")
    if seen.failure is not None:
        if not seen.deltas:
            return found("connection-lost", "stream", "the connection was lost before the first piece")
        return found("stream-broken", "stream", f"the connection was lost {began}")
    if not seen.is_stream:
        return None
    if not seen.deltas:
        return found("answer-empty", "stream", "it ended without a single piece")
    if not seen.done and seen.finish_reason is None:
        return found("stream-broken", "stream", f"it ended {began} with neither finish reason nor [DONE]")
    return None


def _held_back(seen: StreamSeen, page_ms: float) -> bool:
    if seen.first_delta_ms is None or seen.last_delta_ms is None:
        return False
    lasted = seen.last_delta_ms - seen.first_delta_ms
    return seen.deltas >= _PIECES and lasted < _AT_ONCE_MS and seen.first_delta_ms - page_ms > _LATE_MS


def phases(seen: StreamSeen, connect_ms: float | None, load_ms: float | None, page_ms: float | None = None) -> Phases:
    """Where the time of a whole stream went.

    Args:
        seen: what came.
        connect_ms: how long a connection takes.
        load_ms: how long the model was loaded before, if it was.
        page_ms: what the quickest answer took that no model makes.
    """
    tokens = seen.answer_tokens or seen.deltas or None
    reading = writing = None
    if seen.first_delta_ms is not None and seen.last_delta_ms is not None:
        read_for = seen.first_delta_ms - (page_ms or 0.0)
        # Where most of it is the way, the rest is too uncertain.
        if seen.prompt_tokens and read_for > max(1.0, seen.first_delta_ms / 2):
            reading = seen.prompt_tokens / read_for * 1000
        lasted = seen.last_delta_ms - seen.first_delta_ms
        if tokens and tokens > 1 and lasted > 1 and seen.arrivals * _AT_ONCE > tokens:
            writing = (tokens - 1) / lasted * 1000
    return Phases(
        connect_ms=connect_ms,
        load_ms=load_ms,
        page_ms=page_ms,
        first_byte_ms=seen.first_byte_ms,
        first_token_ms=seen.first_delta_ms,
        total_ms=seen.total_ms,
        prompt_tokens=seen.prompt_tokens,
        answer_tokens=tokens,
        prompt_tokens_per_second=reading,
        tokens_per_second=writing,
    )


def _seconds(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
