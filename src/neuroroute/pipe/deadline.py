"""One absolute deadline over everything until the reply has begun: attempts, back-offs, and waits."""

from __future__ import annotations

import asyncio

from neuroroute.errors import LMStudioError, ModelBusyError, ModelTimeoutError
from neuroroute.limits import limited, milliseconds
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.requests import ChatRequest


def deadline(clock: Clock) -> Layer:
    """The layer. Of a whole answer it bounds all, of a stream the wait for its first meaningful chunk."""

    async def layer(request: ChatRequest, send: Send) -> Reply:
        name, limit_ms = _first_limit(request)
        seconds = max(limit_ms / 1000 - request.spent, 0.001)
        request.deadline = clock.monotonic() + seconds
        limit = limited(seconds)
        whole_ms: float = request.options["total_timeout_ms"] if request.streaming else limit_ms
        request.limits.append(limit)
        request.total_deadline = limit.due + (whole_ms - limit_ms) / 1000
        try:
            return await send(request)
        except asyncio.CancelledError as error:
            if not limit.passed():
                raise
            raise _late(request, f"{name}={milliseconds(limit_ms)}") from (
                request.failures[-1] if request.failures else error
            )
        finally:
            limit.end()

    return layer


def _first_limit(request: ChatRequest) -> tuple[str, float]:
    """The limit that comes first: a stream's whole length may be shorter than the wait for its first chunk."""
    first: float = request.options["timeout_ms"]
    if request.streaming and (total := request.options["total_timeout_ms"]) < first:
        return "total_timeout_ms", total
    return "timeout_ms", first


def _late(request: ChatRequest, limit: str) -> LMStudioError:
    if request.waited_for_loading:
        limit += f" and model_loading_timeout_ms={milliseconds(request.options['model_loading_timeout_ms'])}"
    if request.queue_length is not None and not request.failures:  # nothing was sent
        waited = f"behind {request.queue_length} others" if request.queue_length else "as the next in line"
        return ModelBusyError(
            f"no slot for this model came free within {limit}; it waited {waited}",
            details={"queue_length": request.queue_length},
        )
    awaited = "the first chunk" if request.streaming else "the answer"
    late = ModelTimeoutError(f"{awaited} did not come within {limit}")
    late.attempts = len(request.failures) + request.failovers + (request.queue_length is None)
    return late
