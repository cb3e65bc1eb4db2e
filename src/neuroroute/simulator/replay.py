"""A server that answers as a recorded one did."""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from neuroroute.simulator.loosely import as_object
from neuroroute.simulator.recording import Asked, Exchange, read
from neuroroute.simulator.sending import Outgoing, Piece, Sending, of_json
from neuroroute.simulator.serving import LoopbackServer

if TYPE_CHECKING:
    from aiohttp import web

    from neuroroute.simulator.received import Received


class Replay(LoopbackServer):
    """Answers the requests of a recording, chunk by chunk, as they were answered then.

    A request is known again by method, path and body, in whatever order the fields of its body come. If it was recorded
    several times, its answers come in turn, and the last of them for ever. What was not recorded is answered by a 501
    that says what was asked.

    Args:
        path: The file that a ``Recorder`` wrote.
        realtime: Whether to wait between the chunks as long as the recorded server did.
        port: The port to listen on; 0: any free one.
    """

    def __init__(self, path: str | Path, *, realtime: bool = False, port: int = 0) -> None:
        super().__init__(port=port)
        self._realtime = realtime
        self._recorded: dict[bytes, deque[Exchange]] = defaultdict(deque)
        for exchange in read(Path(path)):
            self._recorded[exchange.asked.key].append(exchange)

    async def _serve(self, request: web.BaseRequest, received: Received) -> web.StreamResponse:
        return await Outgoing(request).send(self._find(Asked.of(received)))

    def _find(self, asked: Asked) -> Sending:
        recorded = self._recorded.get(asked.key)
        if not recorded:
            return of_json({"error": f"Not recorded: {asked.method} {asked.path}{self._nearest(asked)}"}, status=501)
        return self._again(recorded.popleft() if len(recorded) > 1 else recorded[0])

    def _again(self, exchange: Exchange) -> Sending:
        times = [exchange.headers_at, *(chunk.at for chunk in exchange.chunks)]
        pauses = [later - sooner if self._realtime else 0.0 for sooner, later in pairwise(times)]
        headers = {name: value for name, value in exchange.headers.items() if name != "Content-Type"}
        return Sending(
            [Piece(chunk.content, pause) for chunk, pause in zip(exchange.chunks, pauses, strict=True)],
            status=exchange.status,
            content_type=exchange.headers.get("Content-Type", "application/octet-stream"),
            headers=headers,
            length=exchange.length,
            delay=exchange.headers_at if self._realtime else 0.0,
            ending=exchange.ending,
        )

    def _nearest(self, asked: Asked) -> str:
        """In which fields the request differs from the recorded one that is most like it."""
        differing = [
            _differing_fields(asked, recorded[0].asked)
            for recorded in self._recorded.values()
            if (recorded[0].asked.method, recorded[0].asked.path) == (asked.method, asked.path)
        ]
        if not differing:
            return ""
        nearest = min(differing, key=len)
        return f" with this body; the nearest recorded one differs in: {', '.join(nearest)}"


def _differing_fields(one: Asked, other: Asked) -> list[str]:
    mine, its = as_object(one.body), as_object(other.body)
    return sorted(field for field in mine.keys() | its.keys() if mine.get(field) != its.get(field)) or ["body"]
