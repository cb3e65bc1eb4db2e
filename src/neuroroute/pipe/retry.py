"""Retries: whether and when is decided by a pure function, the waiting is the clock's.

What is retried is the making of a reply, so an answer that has begun is never retried.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from neuroroute.errors import (
    CircuitOpenError,
    LMStudioError,
    ModelBusyError,
    ModelCapabilityError,
    ModelInvalidRequestError,
    is_loading,
)
from neuroroute.pipe.events import BackingOff, Tell, bare
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.policies import RetryPolicy
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.requests import ChatRequest

DEFAULT_RETRIES = {False: 3, True: 2}
"""``max_retries`` of whole answers and of streams."""

LOADING_LOOK_MS = (250.0, 5000.0)
"""At least, and unless the server says otherwise at most, between two looks at whether a model is loaded by now."""


def delay_after(
    failures: Sequence[LMStudioError], request: ChatRequest, policy: RetryPolicy, random: Random
) -> float | None:
    """Seconds to wait before the next attempt, or None when there should be none.

    The wait is drawn from 0 to the back-off ("full jitter"), which doubles from attempt to attempt; a server's own word
    (``Retry-After``) wins. Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    That a model is still loading is no failure: it is asked again until the deadline.

    Args:
        failures: how the attempts so far ended, the last of them last.
        request: for ``max_retries`` and ``initial_backoff``.
        policy: the cap.
        random: the source of jitter.
    """
    error = failures[-1]
    waiting = is_loading(error)
    tries = [failure for failure in failures if failure.retryable and is_loading(failure) == waiting]
    if not error.retryable or not (waiting or len(tries) <= retries_of(request)):
        return None
    if error.retries is not None and sum(type(failure) is type(error) for failure in failures) > error.retries:
        return None
    least, most = LOADING_LOOK_MS if waiting else (0.0, policy.max_backoff)
    cap = min(most, policy.max_backoff)
    backoff = request.options["initial_backoff"] * 2.0 ** min(len(tries) - 1, 64)
    wait = random.uniform(0, min(backoff, cap)) if error.retry_after_ms is None else error.retry_after_ms
    return max(wait, least) / 1000


def retries_of(request: ChatRequest) -> int:
    """How many attempts there may be after the first."""
    retries: int | None = request.options["max_retries"]
    return DEFAULT_RETRIES[request.streaming] if retries is None else retries


def retry(policy: RetryPolicy, clock: Clock, random: Random, hosts: Hosts, tell: Tell) -> Layer:
    """The layer. A wait that would pass the deadline fails at once, with the server's own error.

    So does one for a breaker that has opened, and one that the budget of the host has no token for.
    """

    async def layer(request: ChatRequest, send: Send) -> Reply:
        while True:
            try:
                reply = await send(request)
            except LMStudioError as error:
                request.failures.append(error)
                error.attempts = sum(map(_was_sent, request.failures)) + request.failovers
                if is_loading(error):
                    request.wait_for_loading()
                delay = delay_after(request.failures, request, policy, random)
                if delay is None or clock.monotonic() + delay >= request.deadline:
                    raise
                if why_not := _barred(hosts, request, error):
                    error.hint = f"{error.hint} It was not tried again: {why_not}.".lstrip()
                    raise
            else:
                reply.attempts = len(request.failures) + request.failovers + 1
                hosts.of(request).budget.earn()
                return reply
            tell(
                BackingOff(
                    host=request.host,
                    model=request.model,
                    request_id=request.id,
                    error=bare(request.failures[-1]),
                    attempt=len(request.failures),
                    delay_ms=delay * 1000,
                )
            )
            await clock.sleep(delay)

    return layer


def _was_sent(error: LMStudioError) -> bool:
    if isinstance(error, ModelInvalidRequestError):
        return error.status is not None
    return not isinstance(error, (CircuitOpenError, ModelBusyError, ModelCapabilityError))


def _barred(hosts: Hosts, request: ChatRequest, error: LMStudioError) -> str | None:
    """Why the host gets no retry; None: it gets one, and it is paid for."""
    if hosts.refuses(request.model):
        return "too many of the last requests failed"
    # One load for all who missed the model: that each of them asks again does not bury the host.
    if not (is_loading(error) or request.reloaded) and not hosts.of(request).budget.spend():
        return "the retry budget of this host is spent"
    return None
