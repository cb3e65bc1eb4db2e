"""A proxy that passes everything on to a real server, and keeps what was said."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from neuroroute.simulator.recording import Asked, Chunk, Exchange, append, redact, secrets_of
from neuroroute.simulator.sending import Outgoing, of_json
from neuroroute.simulator.serving import LoopbackServer

if TYPE_CHECKING:
    from types import TracebackType

    from neuroroute.simulator.received import Received

_NOT_PASSED_ON = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding"}
)
_KEPT = ("Content-Type", "Retry-After")


class Recorder(LoopbackServer):
    """Records a real server's responses, chunk by chunk with their times, for ``Replay``.

    Tokens are passed on but never written.

    Args:
        upstream: The real server, as in ``http://localhost:1234/v1``.
        path: The file to write, anew at every start.
        port: The port to listen on; 0: any free one.
    """

    def __init__(self, upstream: str, path: str | Path, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._upstream = upstream.rstrip("/").removesuffix("/v1")
        self._path = Path(path)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._path.write_bytes(b"")
        # no time limit: a model may load for minutes, and how long is part of what is recorded
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        if self._session is not None:
            await self._session.close()

    async def _serve(self, request: web.BaseRequest, received: Received) -> web.StreamResponse:
        assert self._session is not None  # noqa: S101 - it is open while the server is
        url = URL(f"{self._upstream}{request.path_qs}", encoded=True)
        headers = {name: value for name, value in received.headers.items() if name.lower() not in _NOT_PASSED_ON}
        headers["Accept-Encoding"] = "identity"
        try:
            # not the bytes themselves: of more than 1 MiB aiohttp warns, and test runs make that an error
            body = BytesIO(received.body) if received.body else None
            answer = await self._session.request(
                received.method, url, data=body, headers=headers, allow_redirects=False
            )
        except aiohttp.ClientError as error:
            return await Outgoing(request).send(
                of_json({"error": f"{url.origin()} did not answer: {error}"}, status=502)
            )
        async with answer:
            return await self._pass_on(request, received, answer)

    async def _pass_on(
        self, request: web.BaseRequest, received: Received, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        headers_at = round(time.monotonic() - received.at, 4)
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = answer.content_length
        chunks: list[Chunk] = []
        secrets = secrets_of(received.headers)
        ending: Any = "hang"
        try:
            await response.prepare(request)
            async for data, _ in answer.content.iter_chunks():
                if data:
                    chunks.append(Chunk.of(time.monotonic() - received.at, redact(data, secrets)))
                    await response.write(data)
            ending = "clean"
        except aiohttp.ClientPayloadError:
            ending = "cut"
            if request.transport is not None:
                request.transport.close()
        finally:
            length = answer.content_length
            if length is not None and ending == "clean":
                length = sum(len(chunk.content) for chunk in chunks)
            append(self._path, Exchange(Asked.of(received), answer.status, headers, headers_at, chunks, length, ending))
        return response
