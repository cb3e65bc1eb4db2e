"""A small fast stand-in for LM Studio's server: its own process, every reply encoded ahead, no I/O but its sockets.

It listens on 127.0.0.1, prints ``PORT <n>`` once it is ready, and ends when its standard input closes, so that it never
outlives its parent. ``GET /stats`` tells how many connections are open. What a chat gets is told by the model's name,
which every client passes on untouched:

    bench-ns                one JSON reply of about 600 bytes
    bench-c<N>-b<B>-p<P>    N content chunks, B events a send (0: as many as fit 64 KiB), a send every P microseconds
                            (0: as fast as the client reads)
    bench-t<F>-b<B>-p<P>    two tool calls, F fragments of arguments each, sent likewise
    bench-hang              no answer at all

Each event is one HTTP chunk, as LM Studio sends them.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import sys
import threading
from collections.abc import Iterator

from workload import WORDS

_SENDS_PER_TURN = 8
"""Sends that one connection gets before the next has its turn."""

_MODEL = re.compile(rb"bench-(ns|hang|([ct])(\d+)-b(\d+)-p(\d+))")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ABOUT = {"id": "chatcmpl-b4wqz3y7d0e9k2m5n8p1r", "created": 1767225600, "model": "qwen2.5-7b-instruct"}
_ANSWER = (
    "The quick brown fox jumps over the lazy dog, and then it sits down quietly to think about what it has done. "
    "It was a fine summer day and nobody was in a hurry, least of all the dog."
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Connection: keep-alive\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _whole(status: str, body: bytes) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nX-Powered-By: Express\r\nContent-Type: application/json; charset=utf-8\r\n"
        f'Content-Length: {len(body)}\r\nETag: W/"258-q0"\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
        "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n"
    ).encode() + body


_CHAT = _whole(
    "200 OK",
    _json(
        {
            **_ABOUT,
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": _ANSWER, "reasoning_content": "", "tool_calls": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 24, "completion_tokens": 42, "total_tokens": 66},
            "stats": {},
            "system_fingerprint": _ABOUT["model"],
        }
    ),
)
_REFUSED = _whole("400 Bad Request", b'{"error":"bad request"}')


def _event(choices: list[object], **more: object) -> bytes:
    about = {**_ABOUT, "object": "chat.completion.chunk", "system_fingerprint": _ABOUT["model"]}
    return b"data: %b\n\n" % _json({**about, "choices": choices, **more})


def _texts(count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        yield {"role": "assistant", "content": WORDS[number % len(WORDS)]}


def _calls(fragments: int) -> Iterator[dict[str, object]]:
    for index, name in enumerate(("get_weather", "search_web")):
        begun = {"index": index, "id": f"38107625{index}", "type": "function"}
        yield {"role": "assistant", "tool_calls": [{**begun, "function": {"name": name, "arguments": ""}}]}
        pieces = ['{"k0": 0', *(f', "k{at}": "v{at}"' for at in range(1, fragments - 1)), "}"]
        for piece in pieces:
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


@functools.cache
def _stream(tools: bool, count: int, batch: int, usage: bool) -> list[bytes]:
    """The sends of a stream."""
    deltas = _calls(count) if tools else _texts(count)
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls" if tools else "stop"}
    events = [_event([choice]) for choice in [*choices, end]]
    if usage:
        counts = {"prompt_tokens": 24, "completion_tokens": count, "total_tokens": count + 24}
        events.append(_event([], usage=counts))
    events.append(b"data: [DONE]\n\n")
    framed = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    framed[0] = _STREAM_HEAD + framed[0]
    framed[-1] += b"0\r\n\r\n"
    step = batch or max(1, 65536 // len(framed[1]))
    return [b"".join(framed[at : at + step]) for at in range(0, len(framed), step)]


class _Connection(asyncio.Protocol):
    open = 0

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._need = 0
        self._sends: list[bytes] = []
        self._sent = 0
        self._pace = 0.0
        self._paused = False
        self._turn: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        _Connection.open += 1

    def connection_lost(self, error: Exception | None) -> None:
        _Connection.open -= 1
        if self._turn is not None:
            self._turn.cancel()
        self._sends = []

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= self._need and not self._sends and self._take():
            pass

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._sends and self._turn is None:
            self._turn = self._loop.call_soon(self._play)

    def _take(self) -> bool:
        """Takes one whole request out of what was received, if there is one."""
        received = self._received
        head = received.find(b"\r\n\r\n")
        if head < 0:
            return False
        length = _LENGTH.search(received, 0, head)
        self._need = head + 4 + (int(length[1]) if length else 0)
        if len(received) < self._need:
            return False
        asked = bytes(received[: self._need])
        del received[: self._need]
        self._need = 0
        self._answer(asked)
        return True

    def _answer(self, asked: bytes) -> None:
        if asked.startswith(b"GET /stats"):
            self._transport.write(_whole("200 OK", _json({"open": _Connection.open})))
            return
        model = _MODEL.search(asked[:4096]) or _MODEL.search(asked[-4096:])  # at either end of a long body
        if model is None:
            self._transport.write(_REFUSED)
        elif model[1] == b"ns":
            self._transport.write(_CHAT)
        elif model[1] != b"hang":
            count, batch, pace = (int(model[group]) for group in (3, 4, 5))
            self._sends, self._sent = _stream(model[2] == b"t", count, batch, b"include_usage" in asked), 0
            self._pace = pace / 1e6
            self._play()

    def _play(self) -> None:
        self._turn = None
        for _ in range(1 if self._pace else _SENDS_PER_TURN):
            if self._paused:
                return  # resume_writing goes on
            self._transport.write(self._sends[self._sent])
            self._sent += 1
            if self._sent == len(self._sends):
                self._sends = []
                return
        later = self._loop.call_later
        self._turn = later(self._pace, self._play) if self._pace else self._loop.call_soon(self._play)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(_main())
