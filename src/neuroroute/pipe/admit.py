"""Admission: as many requests at once as a host takes for a model; more wait in order, and the queue has an end.

LM Studio answers ``parallel`` requests of a model at once (4 by default) and queues the rest without telling; requests
that queued very long have been aborted with a 400. So waiting happens here, where it is seen and bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

from neuroroute.errors import ModelBusyError
from neuroroute.pipe.reply import Layer, Reply, Send
from neuroroute.requests import ChatRequest

DEFAULT_SLOTS = 4
MAX_WAITING = 1000


class Gate:
    """The slots of one model on one host. Whoever waits is let in first come, first served."""

    __slots__ = ("_free", "_waiting", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free = slots
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"<Gate {self.slots - self._free} of {self.slots} slots taken, {len(self._waiting)} waiting>"

    async def enter(self) -> None:
        """Takes a slot, after a wait if need be.

        Raises:
            ModelBusyError: too many wait already.
        """
        if self._free:  # whoever waits would have taken it
            self._free -= 1
            return
        if len(self._waiting) >= MAX_WAITING:
            raise ModelBusyError(f"{len(self._waiting)} requests wait for this model already")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # the slot was given, and its taker left at the same moment
                self.leave()
            elif turn in self._waiting:  # leave() drops whom it finds cancelled
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Gives the slot to whoever waits longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def admit(slots: int | None) -> Layer:
    """The layer. A slot is held until the answer has ended, broken off or been left."""
    gates: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Gate]] = WeakKeyDictionary()

    async def layer(request: ChatRequest, send: Send) -> Reply:
        loop = asyncio.get_running_loop()
        of_loop = gates.get(loop)
        if of_loop is None:
            of_loop = gates[loop] = {}
        gate = of_loop.get((request.url, request.model))
        if gate is None:
            gate = of_loop[request.url, request.model] = Gate(slots or DEFAULT_SLOTS)
        request.queued = True
        await gate.enter()
        request.queued = False
        try:
            reply = await send(request)
        except BaseException:
            gate.leave()
            raise
        reply.when_over(gate.leave)
        return reply

    return layer
