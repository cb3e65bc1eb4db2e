"""One absolute deadline over everything until the reply has begun: attempts, back-offs, and waits."""

from __future__ import annotations

import asyncio

from neuroroute.errors import ModelTimeoutError
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.requests import ChatRequest


def deadline(clock: Clock) -> Layer:
    """The layer. Of a whole answer it bounds all, of a stream the wait for its first meaningful chunk."""

    async def layer(request: ChatRequest, send: Send) -> Reply:
        limit: float = request.options["timeout_ms"]
        request.deadline = clock.monotonic() + limit / 1000
        whole: float = request.options["total_timeout_ms"] if request.streaming else limit
        request.total_deadline = asyncio.get_running_loop().time() + whole / 1000
        timer = asyncio.timeout(limit / 1000)
        try:
            async with timer:
                return await send(request)
        except TimeoutError as error:
            if not timer.expired():
                raise
            awaited = "the first chunk" if request.streaming else "the answer"
            late = ModelTimeoutError(f"{awaited} did not come within timeout_ms={limit:g}")
            late.attempts = len(request.failures) + 1
            raise late from (request.failures[-1] if request.failures else error)

    return layer
