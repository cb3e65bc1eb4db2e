"""Hedging, off by default: an answer that is late is asked for a second time, and whichever comes first is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from msgspec.structs import replace

from neuroroute.pipe.events import Hedged, Tell
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest


def hedge(hosts: Hosts, tell: Tell) -> Layer:
    """The layer. The second request is paid from the host's retry budget; the one that is not taken is cancelled."""

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        after: float | None = request.options["hedge_after_ms"]
        return send(request) if after is None else hedged(request, send, after / 1000)

    async def hedged(request: ChatRequest, send: Send, after: float) -> Reply:
        second = replace(request)  # as it is before a host is chosen
        attempts = [_begun(send, request)]
        try:
            await asyncio.wait(attempts, timeout=after)
            if not attempts[0].done() and _has_room(hosts, request) and hosts.of(request).budget.spend():
                tell(Hedged(host=request.host, model=second.model, request_id=request.id))
                second.avoids = (request.url, request.model)
                attempts.append(_begun(send, second))
            reply = await _first(attempts)
        except BaseException:
            await _leave(attempts, None)
            raise
        try:
            await _leave(attempts, reply)
        except BaseException:
            reply.close()  # nobody else has it
            raise
        return reply

    return layer


def _has_room(hosts: Hosts, request: ChatRequest) -> bool:
    """Whether a second request would be sent, to another host if there is one, and not only wait or be refused."""
    first = hosts.model(request)
    if first.absent:  # it is being loaded, and a second load would not be sooner
        return False
    place = hosts.choose(request, [first]) or first
    return not place.breaker.refuses and place.gate.taken < place.gate.slots


def _begun(send: Send, request: ChatRequest) -> asyncio.Task[Reply]:
    async def attempt() -> Reply:
        return await send(request)

    return asyncio.create_task(attempt())


async def _first(attempts: list[asyncio.Task[Reply]]) -> Reply:
    """The reply that came first.

    Raises:
        LMStudioError: all failed: the error of the first request.
    """
    pending = set(attempts)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for attempt in attempts:  # of two that came at once, the one that was sent first
            if attempt in done and attempt.exception() is None:
                return attempt.result()
    return attempts[0].result()


async def _leave(attempts: list[asyncio.Task[Reply]], taken: Reply | None) -> None:
    """Ends what is still under way, and closes a reply that came although another was taken."""

    def close(attempt: asyncio.Task[Reply]) -> None:
        if not attempt.cancelled() and attempt.exception() is None and (reply := attempt.result()) is not taken:
            reply.close()

    for attempt in attempts:
        attempt.cancel()
        attempt.add_done_callback(close)
    await asyncio.wait(attempts)  # here, while those that are cancelled can see why
