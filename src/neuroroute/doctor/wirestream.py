"""One streamed answer as it is on the wire: what came, when, and how it ended.

The adapter smooths over what a server leaves out; here it is to be seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import msgspec

from neuroroute.doctor.door import Failure, failure_of
from neuroroute.errors import LMStudioError
from neuroroute.hostlist import HostSettings
from neuroroute.jsontypes import is_array, is_mapping
from neuroroute.wire.failures import UNDECODABLE, failure, failure_in_success
from neuroroute.wire.sse import SSEParser

_MOST_BYTES = 4 << 20
_LIKE = 2
"""So many times the longest silence before is one like it."""
_SHORT = 0.1
"""Of all its time."""


class StreamSeen(msgspec.Struct, kw_only=True):
    """What was seen of a stream; times are milliseconds since the request."""

    failure: Failure | None = None
    """How the connection failed; ``timeout``: it did not end."""
    error: LMStudioError | None = None
    """What the server said instead of an answer, or in the middle of it."""
    is_stream: bool = False
    """Whether it came as events."""
    first_byte_ms: float | None = None
    deltas: int = 0
    """How many pieces of text, reasoning or calls came."""
    first_delta_ms: float | None = None
    last_delta_ms: float | None = None
    arrivals: int = 0
    """At how many different times pieces came."""
    longest_gap_ms: float = 0.0
    """Between two pieces."""
    finish_reason: str | None = None
    done: bool = False
    """Whether ``[DONE]`` came."""
    total_ms: float = 0.0
    prompt_tokens: int | None = None
    answer_tokens: int | None = None

    @property
    def still_coming(self) -> bool:
        """Whether it was alive when the time was over: its last silence was like those before it, or short."""
        if self.failure != "timeout" or self.last_delta_ms is None:
            return False
        silence = self.total_ms - self.last_delta_ms
        return silence < max(_LIKE * self.longest_gap_ms, _SHORT * self.total_ms)

    def take(self, data: bytes, ms: float) -> None:
        """Takes an event."""
        if data == b"[DONE]":
            self.done = True
            return
        try:
            found: Any = msgspec.json.decode(data)
        except UNDECODABLE:
            found = None
        if not is_mapping(found) or "error" in found or "choices" not in found:
            self.error = self.error or failure_in_success(data, began=self.deltas > 0)
            return
        usage = found.get("usage")
        if is_mapping(usage):
            self.prompt_tokens = _count(usage.get("prompt_tokens"))
            self.answer_tokens = _count(usage.get("completion_tokens"))
        for choice in found["choices"] if is_array(found["choices"]) else ():
            if not is_mapping(choice):
                continue
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            delta = choice.get("delta")
            if is_mapping(delta) and any(delta.get(name) for name in ("content", "reasoning_content", "reasoning")):
                self._count_piece(ms)

    def _count_piece(self, ms: float) -> None:
        self.deltas += 1
        if self.last_delta_ms is None:
            self.first_delta_ms = self.last_delta_ms = ms
            self.arrivals = 1
            return
        self.arrivals += ms > self.last_delta_ms
        self.longest_gap_ms = max(self.longest_gap_ms, ms - self.last_delta_ms)
        self.last_delta_ms = ms


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """A body that is no stream; of one without an end, what is enough to judge it."""
    read = b""
    while len(read) < _MOST_BYTES and (more := await response.content.readany()):
        read += more
    return read


def _count(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


async def stream_seen(host: HostSettings, token: str | None, body: dict[str, Any], *, within: float) -> StreamSeen:
    """Asks for a stream, and watches it to its end.

    Args:
        host: whom to ask.
        token: what is sent to it.
        body: the request to ``/v1/chat/completions``.
        within: seconds that all of it may take.
    """
    seen = StreamSeen()
    clock = asyncio.get_running_loop().time
    began = clock()

    def now() -> float:
        return (clock() - began) * 1000

    headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        async with (
            asyncio.timeout(within),
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(
                f"{host.url}/chat/completions",
                data=msgspec.json.encode(body),
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            seen.first_byte_ms = now()
            await _read(response, seen, now)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        seen.failure = failure_of(error)
    except LMStudioError as error:
        seen.error = error
    seen.total_ms = now()
    return seen


async def _read(response: aiohttp.ClientResponse, seen: StreamSeen, now: Any) -> None:
    if response.status >= 300:
        raise failure(response.status, await _body(response), response.headers)
    seen.is_stream = response.headers.get("Content-Type", "").lower().startswith("text/event-stream")
    if not seen.is_stream:
        body = await _body(response)
        found: Any = None
        with contextlib.suppress(*UNDECODABLE):
            found = msgspec.json.decode(body)
        if not is_mapping(found) or not found.get("choices"):
            raise failure_in_success(body)
        return
    parser = SSEParser()
    try:
        while data := await response.content.readany():
            ms = now()
            for event in parser.feed(data):
                seen.take(event, ms)
            if seen.done:
                return
        for event in parser.rest():
            seen.take(event, now())
    except LMStudioError as error:
        seen.error = error
