"""Retries: whether and when is decided by a pure function, the waiting is the clock's.

What is retried is the making of a reply, so an answer that has begun is never retried.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from neuroroute.errors import LMStudioError, ModelInvalidRequestError
from neuroroute.jsontypes import is_number
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.requests import ChatRequest

DEFAULT_RETRIES = {False: 3, True: 2}
"""``max_retries`` of whole answers and of streams."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How retries wait."""

    max_backoff: float = 30_000
    """Milliseconds; no back-off of ours is longer (what a server asks for may be)."""

    def __post_init__(self) -> None:
        if not is_number(self.max_backoff) or not 0 <= self.max_backoff < float("inf"):
            raise ModelInvalidRequestError("RetryPolicy.max_backoff must be a number of milliseconds of at least 0")


def delay_after(
    failures: Sequence[LMStudioError], request: ChatRequest, policy: RetryPolicy, random: Random
) -> float | None:
    """Seconds to wait before the next attempt, or None when there should be none.

    The wait is drawn from 0 to the back-off ("full jitter"), which doubles from attempt to attempt; a server's own word
    (``Retry-After``) wins. Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Args:
        failures: how the attempts so far ended, the last of them last.
        request: for ``max_retries`` and ``initial_backoff``.
        policy: the cap.
        random: the source of jitter.
    """
    error = failures[-1]
    retries = request.options["max_retries"]
    if retries is None:
        retries = DEFAULT_RETRIES[request.streaming]
    if not error.retryable or len(failures) > retries:
        return None
    if error.retries is not None and sum(type(failure) is type(error) for failure in failures) > error.retries:
        return None
    if error.retry_after_ms is not None:
        return error.retry_after_ms / 1000
    backoff = request.options["initial_backoff"] * 2.0 ** min(len(failures) - 1, 64)
    return random.uniform(0, min(backoff, policy.max_backoff)) / 1000


def retry(policy: RetryPolicy, clock: Clock, random: Random) -> Layer:
    """The layer. A wait that would pass the deadline fails at once, with the server's own error."""

    async def layer(request: ChatRequest, send: Send) -> Reply:
        while True:
            try:
                reply = await send(request)
            except LMStudioError as error:
                request.failures.append(error)
                error.attempts = len(request.failures)
                delay = delay_after(request.failures, request, policy, random)
                if delay is None or clock.monotonic() + delay >= request.deadline:
                    raise
            else:
                reply.attempts = len(request.failures) + 1
                return reply
            await clock.sleep(delay)

    return layer
