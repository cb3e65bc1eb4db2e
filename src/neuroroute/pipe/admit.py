"""Admission: as many requests at once as a host takes for a model; more wait in order, and the queue has an end.

LM Studio answers ``parallel`` requests of a model at once (4 by default) and queues the rest without telling; requests
that queued very long have been aborted with a 400. So waiting happens here, where it is seen and bounded.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from neuroroute.pipe.events import Admitted, LeftQueue, Queued
from neuroroute.pipe.gate import Gate
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.requests import ChatRequest


def admit(hosts: Hosts, clock: Clock) -> Layer:
    """The layer. A slot is held until the answer has ended, broken off or been left.

    Nobody queues before a breaker that would refuse; one that opens sends the queue away.
    """
    tell = hosts.policy.tell

    def enter(gate: Gate, request: ChatRequest) -> Awaitable[float]:
        low = request.options["priority"] == "low"
        return gate.enter(low=low, within=request.deadline - clock.monotonic())

    async def entered_told(gate: Gate, request: ChatRequest) -> float:
        host, model, request_id = request.host, request.model, request.id
        began = clock.monotonic()
        if gate.taken >= gate.slots:
            tell(Queued(host=host, model=model, request_id=request_id, queue_length=gate.queue_length + 1))
        kind: type[Admitted | LeftQueue] = LeftQueue
        try:
            entered = await enter(gate, request)
            kind = Admitted
        finally:
            wait_ms, waiting = (clock.monotonic() - began) * 1000, gate.queue_length
            tell(kind(host=host, model=model, request_id=request_id, wait_ms=wait_ms, queue_length=waiting))
        return entered

    async def layer(request: ChatRequest, send: Send) -> Reply:
        host = hosts.of(request)
        model = host.model(request.model)
        model.breaker.check()
        gate = model.gate
        if gate.taken:  # until a second request comes, nobody needs to know how many there may be
            host.ask_for_slots()
        request.queue_length = gate.queue_length
        request.entered = entered = await (entered_told if request.id else enter)(gate, request)
        request.queue_length = None
        try:
            reply = await send(request)
        except BaseException:
            gate.leave(entered)
            raise
        reply.when_over(partial(gate.leave, entered))
        return reply

    return layer
