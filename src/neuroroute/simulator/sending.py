"""What goes over the wire, decided beforehand, and the one place that sends it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from aiohttp import web

from neuroroute.simulator.sockets import reset_when_closed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from neuroroute.simulator.answers import Fail

STATUS = web.RequestKey("status", int)
"""What a request was answered with."""

Ending: TypeAlias = Literal["clean", "cut", "reset", "hang"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that are sent in one write."""

    data: bytes
    pause: float = 0.0
    """Seconds before."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A response as it goes over the wire: nothing is left to decide."""

    pieces: Sequence[Piece]
    status: int = 200
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    length: int | None = None
    """The Content-Length, true or not; None: chunked."""
    delay: float = 0.0
    """Seconds before the headers."""
    ending: Ending = "clean"
    headless: bool = False
    """Not even the headers are sent."""


def of_json(body: Mapping[str, Any], *, status: int = 200) -> Sending:
    """An object as JSON, pretty-printed as the real server does."""
    data = json.dumps(body, indent=2, ensure_ascii=False).encode()
    return Sending([Piece(data)], status=status, length=len(data))


def of_fail(fail: Fail) -> Sending:
    """A scripted failure."""
    data = fail.payload
    return Sending(
        [Piece(data)],
        status=fail.status,
        content_type=fail.content_type,
        headers=fail.headers,
        length=len(data),
        delay=fail.delay,
        ending="clean" if fail.silent is None else "cut" if fail.silent == "close" else "hang",
        headless=fail.silent is not None,
    )


class Outgoing:
    """The response to one request, and how far it came."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None
        self.written = 0
        """How many pieces of the body were sent."""

    @property
    def response(self) -> web.StreamResponse:
        """What was begun."""
        assert self._response is not None  # noqa: S101 - what is written has headers
        return self._response

    @property
    def begun(self) -> bool:
        """Whether its headers are out."""
        return self._response is not None

    async def send(self, sending: Sending) -> web.StreamResponse:
        """Sends it. Raises ``ConnectionError`` or is cancelled when the client leaves before the end."""
        await asyncio.sleep(sending.delay)
        response = web.StreamResponse()
        if not sending.headless:
            response = await self.begin(sending)
            await self.write(sending.pieces)
        await _end(self._request, sending.ending)
        return response

    async def begin(self, sending: Sending) -> web.StreamResponse:
        """Sends the headers only; what follows is written piece by piece."""
        self._response = response = web.StreamResponse(status=sending.status, headers=dict(sending.headers))
        response.headers["Content-Type"] = sending.content_type
        if sending.length is None:
            response.enable_chunked_encoding()
        else:
            response.content_length = sending.length
        self._request[STATUS] = sending.status
        await response.prepare(self._request)
        return response

    async def write(self, pieces: Iterable[Piece]) -> None:
        """Sends pieces of the body, which has begun."""
        for piece in pieces:
            # also without a pause: the client gets its turn between two writes
            await asyncio.sleep(piece.pause)
            await self.response.write(piece.data)
            self.written += 1

    async def end(self, ending: Ending) -> None:
        """Ends the body in one of the ways in which it goes wrong, or well."""
        await _end(self._request, ending)

    async def break_off(self, fail: Fail, event: bytes) -> web.StreamResponse:
        """Ends what was being sent: by a failure in its place, an event in its stream, or a cut of its body."""
        if self._response is None:
            return await self.send(of_fail(fail))
        if self._response.content_type == "text/event-stream":
            await self._response.write(event)
        else:
            await _end(self._request, "cut")
        return self._response


async def _end(request: web.BaseRequest, ending: Ending) -> None:
    if ending == "clean":
        return
    if ending == "hang":
        await asyncio.Event().wait()
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    if ending == "reset":
        reset_when_closed(transport)
    transport.close()
