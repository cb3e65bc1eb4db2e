"""Requests in the air: who asks the same at the same time shares one answer, and may leave without taking it away."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from neuroroute.errors import LMStudioError, StreamInterruptedError
from neuroroute.pipe.reply import Reply, Send
from neuroroute.requests import ChatRequest
from neuroroute.responses import StreamingChunk
from neuroroute.wire.decoder import Decoder


class Flight:
    """One request in the air, with what came of its answer so far.

    It goes on while somebody wants it: each step (the making of the reply, each read) is a task that whoever waits
    for it may leave; when the last one has left, it is cancelled and the connection is closed.
    """

    def __init__(self, request: ChatRequest, send: Send, landed: Callable[[Flight], Awaitable[None]]) -> None:
        # A copy: who began it may leave, and what the layers do to the request concerns all.
        self.request = replace(request, options={**request.options}, notes=[*request.notes], failures=[], limits=[])
        self.messages = request.messages
        """The history that was asked about ..."""
        self.notes = (*request.notes,)
        """... and what was noted of it, before the layers did anything to the request."""
        self.chunks: list[StreamingChunk] = []
        """What came so far."""
        self.reply: Reply | None = None
        """None until it has begun."""
        self.over = False
        """Nothing more comes."""
        self.failure: Exception | None = None
        """Why that is, where it is not since the answer has ended."""
        self.set_out = 0.0
        """When the request was made, on the event loop's clock: its time limits count from there."""
        self.when_gone: Callable[[], None] = lambda: None
        """Is called once nobody can join any more."""
        self._send = send
        self._landed = landed
        self._readers: dict[FlightReply, None] = {}  # in the order in which they came
        self._step: asyncio.Task[None] | None = None

    def joined_by(self, request: ChatRequest) -> FlightReply:
        """The whole answer, from its beginning, for this request."""
        reader = FlightReply(self, request)
        self._readers[reader] = None
        return reader

    def left_by(self, reader: FlightReply) -> None:
        """One wants it no more; the last one stops it."""
        self._readers.pop(reader, None)
        if self.over:
            return
        if self._readers:
            next(iter(self._readers)).inherit(reader)
            return
        self.over = True
        self.when_gone()
        if self._step is not None:
            self._step.cancel()
        if self.reply is not None:
            self.reply.close()

    async def advance(self) -> None:
        """Waits until more has happened; who is cancelled here leaves the others what they wait for.

        Raises:
            StreamInterruptedError: all have left meanwhile, who waits here, too.
        """
        step = self._step
        if step is None:
            step = self._step = asyncio.create_task(self._next_step())
        try:
            await asyncio.shield(step)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not step.cancelled() or (task is not None and task.cancelling()):
                raise
            raise StreamInterruptedError("the stream was left before its end") from None

    async def stopped(self) -> None:
        """Waits until what was cancelled when the last one left has ended."""
        if self._step is not None and not self._readers:
            await asyncio.wait([self._step])

    async def _next_step(self) -> None:
        """One step."""
        more = True
        try:
            if self.reply is None:
                self.reply = await self._send(self.request)
            else:
                more = await self.reply.read()
        except Exception as error:  # noqa: BLE001 - each of those who wait is told
            self.failure, more = error, False
            if self.reply is not None:
                self.reply.answer.finish()  # what was held back in case that it was a tag is text, now
        if self.reply is not None:
            self.chunks += self.reply.ready
            self.reply.ready.clear()
        if not more and self.failure is None:
            await self._landed(self)
        self.over = self.over or not more
        if self.over:
            self.when_gone()
        self._step = None


class FlightReply:
    """The answer of a flight as one of those who share it takes it; a :class:`~neuroroute.pipe.reply.Reply`."""

    def __init__(self, flight: Flight, request: ChatRequest) -> None:
        self.attempts = 1
        self.ready: deque[StreamingChunk] = deque()
        self._flight = flight
        self._request = request
        self._taken = 0
        self._left = False
        self._ended = False
        self._actions: list[Callable[[], None]] = []
        self._judges: list[Callable[[LMStudioError | None], None]] = []

    @property
    def answer(self) -> Decoder:
        """What is known of the answer as a whole; who reads slowly may know it before the text."""
        return self._begun.answer

    @property
    def host(self) -> str:
        """The host that answers."""
        return self._begun.host

    @property
    def _begun(self) -> Reply:
        assert self._flight.reply is not None  # noqa: S101 - it has begun
        return self._flight.reply

    async def begin(self) -> None:
        """Waits for the first meaningful chunk.

        Raises:
            LMStudioError: there is no answer.
        """
        await self._until(lambda: self._flight.reply is not None)
        self._catch_up()

    async def read(self) -> bool:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        if not self._left:
            await self._until(lambda: self._taken < len(self._flight.chunks))
        if self._left and not self._ended:
            raise StreamInterruptedError("the stream was left before its end")
        if self._catch_up():
            return True
        if not self._ended:
            self._end(None)
        return False

    def close(self) -> None:
        """Leaves it to the others."""
        self._left = True
        self._flight.left_by(self)
        self._let_go()

    def when_over(self, action: Callable[[], None]) -> None:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        if self._left:
            action()
        else:
            self._actions.append(action)

    def when_judged(self, action: Callable[[LMStudioError | None], None]) -> None:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        if self._ended:
            failure = self._flight.failure
            action(failure if isinstance(failure, LMStudioError) else None)
        elif not self._left:
            self._judges.append(action)

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Waits for it, and leaves where that comes to nothing."""
        flight = self._flight
        try:
            while not reached() and not flight.over:
                await flight.advance()
        except BaseException:
            self.close()
            await flight.stopped()
            raise
        self._look_alike()
        if not reached() and flight.failure is not None:
            raise self._told(flight.failure) from flight.failure.__cause__

    def inherit(self, left: FlightReply) -> None:
        """Goes on with what observers are told of it, where that was told of one who has left."""
        flying, own = self._flight.request, self._request
        if flying.id == left._request.id and flying.id:
            flying.id, own.tally = own.id, flying.tally

    def _look_alike(self) -> None:
        """What the layers did to the request in the air, they did for this one, too."""
        made, own = self._flight.request, self._request
        own.model, own.url, own.host, own.messages = made.model, made.url, made.host, made.messages
        own.notes += [note for note in made.notes if note not in own.notes]
        if self._flight.reply is not None:
            self.attempts = self._flight.reply.attempts

    def _catch_up(self) -> bool:
        """Whether there was anything new."""
        new = self._flight.chunks[self._taken :]
        self._taken += len(new)
        self.ready.extend(new)
        return bool(new)

    def _told(self, failure: Exception) -> Exception:
        """The failure for this one alone: each puts its own into it."""
        if not isinstance(failure, LMStudioError):
            self.close()
            return failure
        own = copy.copy(failure).with_traceback(failure.__traceback__)
        self._end(own)
        return own

    def _end(self, error: LMStudioError | None) -> None:
        self._ended = True
        judges, self._judges = self._judges, []
        for judge in judges:
            judge(error)
        self.close()

    def _let_go(self) -> None:
        actions, self._actions = self._actions, []
        for action in actions:
            action()


class Flights:
    """What is in the air, in each event loop."""

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Flight]] = WeakKeyDictionary()

    def find(self, key: Hashable) -> Flight | None:
        """One that can be joined."""
        return self._here().get(key)

    def add(self, key: Hashable, flight: Flight) -> None:
        """From now on it can be joined, until it is over."""
        here = self._here()
        here[key] = flight

        def gone() -> None:
            if here.get(key) is flight:
                del here[key]

        flight.when_gone = gone

    def _here(self) -> dict[Hashable, Flight]:
        return self._loops.setdefault(asyncio.get_running_loop(), {})
