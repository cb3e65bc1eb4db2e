"""The floor: asyncio streams, hand-written HTTP/1.1, orjson.

No time limits, no errors worth the name, no features: what any client on asyncio's streams costs at the very least.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import orjson
from workload import API_KEY, TOOLS

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Dechunker:
    """Takes the chunked framing of HTTP/1.1 off."""

    __slots__ = ("_last", "_left", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        """The beginning of a line that tells a chunk's size."""
        self._left = 0
        """Bytes of the chunk at hand still to come, the two that end it included."""
        self._last = False

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What came of the body, and whether it ended."""
        data = self._rest + data
        self._rest = b""
        body: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if not self._left:
                line = data.find(b"\r\n", at)
                if line < 0:
                    self._rest = data[at:]
                    break
                size = int(data[at:line], 16)
                self._left, self._last = size + 2, not size
                at = line + 2
            stop = min(at + self._left, end)
            content = min(at + self._left - 2, end)
            if content > at:
                body.append(data[at:content])
            self._left -= stop - at
            at = stop
        return b"".join(body), self._last and not self._left


class Client:
    async def open(self, base: str) -> None:
        url = urlsplit(base)
        self._address = (url.hostname, url.port)
        self._head = (
            f"POST {url.path}/chat/completions HTTP/1.1\r\nHost: {url.netloc}\r\nAccept: application/json\r\n"
            f"Authorization: Bearer {API_KEY}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self._idle: list[_Connection] = []

    async def _send(self, payload: dict[str, Any]) -> tuple[_Connection, bytes]:
        connection = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address, limit=1 << 20)
        reader, writer = connection
        body = orjson.dumps(payload)
        writer.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        head = await reader.readuntil(b"\r\n\r\n")
        if head[9:12] != b"200":
            raise RuntimeError(head)
        return connection, head

    async def chat(self, messages: list[dict[str, Any]], model: str) -> tuple[str, int]:
        connection, head = await self._send({"model": model, "messages": messages})
        at = head.index(b"Content-Length: ") + 16
        answer = orjson.loads(await connection[0].readexactly(int(head[at : head.index(b"\r", at)])))
        self._idle.append(connection)
        return answer["choices"][0]["message"]["content"], answer["usage"]["total_tokens"]

    async def stream(self, messages: list[dict[str, Any]], model: str) -> tuple[int, int]:
        taken = characters = 0
        loads = orjson.loads
        connection, _ = await self._send({"model": model, "messages": messages, "stream": True})
        dechunker = _Dechunker()
        rest = b""
        ended = False
        while not ended:
            data, ended = dechunker.feed(await connection[0].read(65536))
            *events, rest = (rest + data).split(b"\n\n")
            for event in events:
                if event == b"data: [DONE]":
                    continue
                choices = loads(event[6:])["choices"]
                if choices and (text := choices[0]["delta"].get("content")):
                    taken += 1
                    characters += len(text)
        self._idle.append(connection)
        return taken, characters

    async def tools(self, messages: list[dict[str, Any]], model: str) -> list[tuple[str, dict[str, Any]]]:
        calls: dict[int, tuple[str, list[str]]] = {}
        loads = orjson.loads
        connection, _ = await self._send({"model": model, "messages": messages, "stream": True, "tools": TOOLS})
        dechunker = _Dechunker()
        rest = b""
        ended = False
        while not ended:
            data, ended = dechunker.feed(await connection[0].read(65536))
            *events, rest = (rest + data).split(b"\n\n")
            for event in events:
                if event == b"data: [DONE]":
                    continue
                choices = loads(event[6:])["choices"]
                for call in (choices and choices[0]["delta"].get("tool_calls")) or ():
                    function = call["function"]
                    if call["index"] in calls:
                        calls[call["index"]][1].append(function["arguments"])
                    else:
                        calls[call["index"]] = (function["name"], [function["arguments"]])
        self._idle.append(connection)
        return [(name, loads("".join(pieces))) for name, pieces in calls.values()]

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
