"""The response cache: what was answered to the same request is answered again; off unless the adapter is given one.

Requests that are the same and in the air at the same time share one answer (:mod:`neuroroute.pipe.flight`).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Iterator
from typing import Protocol

import msgspec
from msgspec.structs import replace

from neuroroute.errors import (
    ConfigurationError,
    LMStudioError,
    ModelBusyError,
    ModelTimeoutError,
    StructuredOutputError,
)
from neuroroute.messages import FunctionMessage, ToolMessage
from neuroroute.pipe.background import Background
from neuroroute.pipe.events import CacheLooked, CacheStored, Tell
from neuroroute.pipe.flight import Flight, Flights
from neuroroute.pipe.reply import EndedReply, Layer, Reply, Send
from neuroroute.requests import ChatRequest
from neuroroute.responses import Folded, Note, StreamingChunk, fold
from neuroroute.wire.decoder import Decoder
from neuroroute.wire.endpoints import ENDPOINTS
from neuroroute.wire.failures import UNDECODABLE
from neuroroute.wire.identity import request_key, way_of

WAIT_SECONDS = 0.25
"""How long a request waits for the cache; what takes longer is a miss, or goes on in the background."""

SAME_TIME_SECONDS = 0.25
"""How much longer than its own time a request may wait for an answer that it shares."""

PUT_SECONDS = 10.0
"""How long it may go on there."""

_log = logging.getLogger("neuroroute")


class ResponseCache(Protocol):
    """Keeps answers by key; several adapters, event loops and processes may use one.

    What a method raises is told to observers and the log, and no request fails for it; one that takes longer than
    0.25 s is not waited for.
    """

    async def get(self, key: str) -> bytes | None:
        """The answer of this key; None: there is none, or none any more.

        Args:
            key: 64 characters, which tell nothing of the request.
        """
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Keeps an answer, in place of what was there."""
        ...

    async def delete(self, key: str) -> None:
        """Forgets one, such as one that cannot be read."""
        ...


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it is kept."""

    model: str
    """The model that gave it."""
    host: str
    body: bytes
    """The whole answer as the server gave it, or would have given it of a stream."""
    notes: tuple[Note, ...] = ()
    """What was noted on the way."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def caching(cache: ResponseCache, choose_model: Layer, background: Background, tell: Tell) -> Layer:
    """The layer. Stands above the deadline: those who share a request have one deadline, and hits need none.

    Args:
        cache: keeps the answers.
        choose_model: names the model of a request that leaves it open, so that its answer is kept under that name.
        background: does what takes longer than a request may wait.
        tell: is told what came of each look.
    """
    flights = Flights()
    shelf = Shelf(cache, background, tell)

    async def layer(request: ChatRequest, send: Send) -> Reply:
        if not is_cacheable(request):
            return await send(request)
        now = asyncio.get_running_loop().time
        began = now()

        async def answered(named: ChatRequest) -> Reply:
            key = request_key(named)
            way = (key, *way_of(named))
            if named.options["cache_mode"] == "read" and flights.find(way) is None:
                found = await shelf.find(key, named)
                if found is not None:
                    return found
            named.spent += now() - began
            own = Flight(named, send, lambda flight: shelf.keep(key, flight))
            own.set_out = now() - named.spent
            flight = flights.find(way)
            if flight is None or own.set_out < flight.set_out - SAME_TIME_SECONDS:
                # Of its own, too, where the other's time is up later than its own.
                flights.add(way, flight := own)
            else:
                tell(CacheLooked(host=named.host, model=named.model, request_id=named.id, outcome="joined"))
            reply = flight.joined_by(named)
            try:
                await reply.begin()
            except (ModelTimeoutError, ModelBusyError):
                if flight is own:
                    raise
                # It was the other's time that was up; nobody joins this one, whose time is shorter than theirs.
                own.request.spent = now() - own.set_out
                reply = own.joined_by(named)
                await reply.begin()
            return reply

        return await choose_model(request, answered)

    return layer


def is_cacheable(request: ChatRequest) -> bool:
    """Whether the answer hangs on nothing but the request: not on what the server remembers, or what tools found."""
    previous = request.options["previous"]
    return (
        request.options["cache_mode"] != "off"
        and request.endpoint.api in ENDPOINTS
        and not request.options["integrations"]
        and not isinstance(request.messages[-1], (ToolMessage, FunctionMessage))
        and not (request.endpoint.remembers and previous is not None and previous.response_id is not None)
    )


class Shelf:
    """A cache, as safe as a request needs it: it never raises and never keeps anybody waiting."""

    def __init__(self, cache: ResponseCache, background: Background, tell: Tell) -> None:
        self._cache = cache
        self._background = background
        self._tell = tell
        self._logged: set[str] = set()

    def _note_failure(self, doing: str, error: Exception) -> None:
        """Notes a failure, once for each kind; in words only where they are ours, as of a file that is no cache."""
        what = str(error) if isinstance(error, ConfigurationError) else type(error).__name__
        level = logging.DEBUG if what in self._logged else logging.WARNING
        self._logged.add(what)
        _log.log(level, "the cache failed at %s: %s", doing, what)

    async def find(self, key: str, request: ChatRequest) -> Reply | None:
        """The answer to this request, if it is kept."""
        looked = CacheLooked(host=request.host, model=request.model, request_id=request.id, outcome="miss")
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                value = await self._cache.get(key)
                reply = None if value is None else read(value, request)
                if value is not None and reply is None:
                    await self._cache.delete(key)
        except Exception as error:  # noqa: BLE001 - it is somebody else's code
            self._note_failure("a look", error)
            self._tell(replace(looked, outcome="failed", error=type(error).__name__))
            return None
        if reply is None:
            self._tell(looked)
            return None
        self._tell(replace(looked, outcome="hit"))
        request.notes += [note for note in reply.notes if note not in request.notes]
        request.cached = True
        return reply

    async def keep(self, key: str, flight: Flight) -> None:
        """Puts an answer that has ended into the cache, if it is one to keep."""
        try:
            value = entry_of(flight)
        except Exception as error:  # noqa: BLE001 - what checks a typed answer may be somebody else's code
            _log.warning("an answer could not be kept: %s", type(error).__name__)
            return
        asked = flight.request
        of = {"host": asked.host, "model": asked.model, "request_id": asked.id}
        if value is None:
            self._tell(CacheStored(**of, outcome="unfit", size_bytes=0))
            return
        stored = CacheStored(**of, outcome="stored", size_bytes=len(value))

        async def put() -> None:
            try:
                async with asyncio.timeout(PUT_SECONDS):
                    await self._cache.put(key, value)
            except Exception as error:  # noqa: BLE001 - it is somebody else's code
                self._note_failure("keeping an answer", error)
                self._tell(replace(stored, outcome="failed", error=type(error).__name__))
            else:
                self._tell(stored)

        await asyncio.wait([self._background.begin(("cache", key), put)], timeout=WAIT_SECONDS)


def entry_of(flight: Flight) -> bytes | None:
    """An answer as it is kept; None where it is none to keep.

    Kept is an answer to the whole history that is of the type asked for, and that reads back the same.
    """
    request, reply = flight.request, flight.reply
    assert reply is not None  # noqa: S101 - it has ended
    folded = fold(flight.chunks)
    if request.messages is not flight.messages or not _is_good(request, reply.answer, folded):
        return None
    noted = tuple([note for note in request.notes if note not in flight.notes])
    body = bytes(reply.answer.raw(folded))
    value = _encode(Entry(body=body, model=reply.answer.model, host=reply.host, notes=noted))
    again = read(value, request)
    same = again is not None and fold(again.ready) == folded and again.answer.usage == reply.answer.usage
    return value if same else None


def read(value: bytes, request: ChatRequest) -> StoredReply | None:
    """The answer that was kept, for this request; None where it cannot be read, or is none to give."""
    try:
        entry = _decode(value)
        reply = StoredReply(entry, request)
    except (*UNDECODABLE, TypeError, LMStudioError):
        return None
    folded = fold(reply.ready)
    good = entry.model == reply.answer.model and _is_good(request, reply.answer, folded) and _fits(request, folded)
    return reply if good else None


def _is_good(request: ChatRequest, answer: Decoder, folded: Folded) -> bool:
    """Whether it is an answer in words, whole, in one piece, and by the model that was asked for."""
    return (
        answer.finish_reason == "stop"
        and bool(folded.text.strip())
        and not (folded.tool_calls or answer.server_calls or answer.before)
        and request.different_model(answer.model) is None
    )


def _fits(request: ChatRequest, folded: Folded) -> bool:
    """Whether it is of the type asked for; one schema may stand for types that check more."""
    shape = request.options["response_format"]
    if shape is not None and shape.wire is not None:
        try:
            shape.parsed(folded.text, folded.reasoning)
        except StructuredOutputError:
            return False
    return True


class StoredReply(EndedReply):
    """A kept answer as a reply that is all there: of one chunk, or where it is to stream, of one for each word."""

    attempts = 0

    def __init__(self, entry: Entry, request: ChatRequest) -> None:
        self.ready: deque[StreamingChunk] = deque()
        self.answer = request.endpoint.decoder(self.ready.append, request)
        self.answer.whole(entry.body)
        if request.streaming:
            self.ready = deque([piece for chunk in self.ready for piece in _pieces(chunk)])
        self.host = entry.host
        self.notes = entry.notes


_WORD = re.compile(r"\S+\s*|\s+")


def _pieces(chunk: StreamingChunk) -> Iterator[StreamingChunk]:
    for word in _WORD.findall(chunk.reasoning):
        yield replace(chunk, chunk="", reasoning=word, tool_calls=())
    for word in _WORD.findall(chunk.chunk):
        yield replace(chunk, chunk=word, reasoning="", tool_calls=())
    if chunk.tool_calls:
        yield replace(chunk, chunk="", reasoning="")
