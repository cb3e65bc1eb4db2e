"""Admission: as many requests at once as a host takes for a model; more wait in order, and the queue has an end.

LM Studio answers ``parallel`` requests of a model at once (4 by default) and queues the rest without telling; requests
that queued very long have been aborted with a 400. So waiting happens here, where it is seen and bounded.
"""

from __future__ import annotations

from functools import partial

from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.requests import ChatRequest


def admit(hosts: Hosts, clock: Clock) -> Layer:
    """The layer. A slot is held until the answer has ended, broken off or been left.

    Nobody queues before a breaker that would refuse; one that opens sends the queue away.
    """

    async def layer(request: ChatRequest, send: Send) -> Reply:
        host = hosts.of(request)
        model = host.model(request.model)
        model.breaker.check()
        gate = model.gate
        if gate.taken:  # until a second request comes, nobody needs to know how many there may be
            host.ask_for_slots()
        request.queue_length = gate.queue_length
        low = request.options["priority"] == "low"
        request.entered = entered = await gate.enter(low=low, within=request.deadline - clock.monotonic())
        request.queue_length = None
        try:
            reply = await send(request)
        except BaseException:
            gate.leave(entered)
            raise
        reply.when_over(partial(gate.leave, entered))
        return reply

    return layer
