"""What goes over the wire, decided beforehand, and the one place that sends it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from aiohttp import web

from neuroroute.simulator.sockets import reset_when_closed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


async def transmit(request: web.BaseRequest, sending: Sending) -> web.StreamResponse:
    """Sends it. Raises ``ConnectionError`` or is cancelled when the client leaves before the end."""
    response = web.StreamResponse(status=sending.status, headers=dict(sending.headers))
    response.headers["Content-Type"] = sending.content_type
    if sending.length is None:
        response.enable_chunked_encoding()
    else:
        response.content_length = sending.length
    await asyncio.sleep(sending.delay)
    if not sending.headless:
        request[STATUS] = sending.status
        await response.prepare(request)
        for piece in sending.pieces:
            # also without a pause: the client gets its turn between two writes
            await asyncio.sleep(piece.pause)
            await response.write(piece.data)
    await _end(request, sending.ending)
    return response


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
