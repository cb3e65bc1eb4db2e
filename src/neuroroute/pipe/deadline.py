"""One absolute deadline over everything until the reply has begun: attempts, back-offs, and waits."""

from __future__ import annotations

import asyncio

from neuroroute.errors import ModelTimeoutError
from neuroroute.pipe.limits import limited
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.requests import ChatRequest


def deadline(clock: Clock) -> Layer:
    """The layer. Of a whole answer it bounds all, of a stream the wait for its first meaningful chunk."""

    async def layer(request: ChatRequest, send: Send) -> Reply:
        limit_ms: float = request.options["timeout_ms"]
        request.deadline = clock.monotonic() + limit_ms / 1000
        limit = limited(limit_ms / 1000)
        whole: float = request.options["total_timeout_ms"] if request.streaming else limit_ms
        request.total_deadline = limit.due + (whole - limit_ms) / 1000
        try:
            return await send(request)
        except asyncio.CancelledError as error:
            if not limit.passed():
                raise
            awaited = "the first chunk" if request.streaming else "the answer"
            late = ModelTimeoutError(f"{awaited} did not come within timeout_ms={limit_ms:g}")
            late.attempts = len(request.failures) + 1
            raise late from (request.failures[-1] if request.failures else error)
        finally:
            limit.end()

    return layer
