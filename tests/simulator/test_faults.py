"""Answers that go wrong on the wire."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest

from neuroroute.simulator import CATALOGUE, Answer, Fail, Simulator, StreamFault, WholeFault

FOUR = "one two three four"


async def collect(content: aiohttp.StreamReader, read: list[bytes]) -> None:
    async for data in content.iter_any():
        read.append(data)


async def broken_stream(client: Any, server: Simulator) -> bytes:
    """What came of a stream that is expected to break off."""
    read: list[bytes] = []
    async with client.chat(server, stream=True) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await collect(response.content, read)
    return b"".join(read)


@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize("after", [0, 2, None])
async def test_a_stream_is_cut_after_as_many_deltas(server: Simulator, client: Any, kind: Any, after: Any) -> None:
    """A cut is an error of the transport, and what was sent before it arrives."""
    server.answer(Answer(FOUR, stream_fault=StreamFault(kind, after), delay_between=0.002))
    assert len(client.deltas(await broken_stream(client, server))) == (4 if after is None else after)
    assert not server.requests[-1].closed_early


async def test_a_reset_is_told_from_a_cut(server: Simulator, client: Any) -> None:
    """A reset reaches the client as a connection reset."""
    server.answer(Answer(FOUR, stream_fault=StreamFault("reset", 1), delay_between=0.002))
    with pytest.raises(aiohttp.ClientPayloadError, match=r"reset|forcibly"):
        await client.stream(server)


async def test_a_stream_ends_cleanly_without_its_end(server: Simulator, client: Any) -> None:
    """``end``: a complete HTTP body with neither finish reason nor ``[DONE]``."""
    server.answer(Answer(FOUR, stream_fault=StreamFault("end", 2)))
    events = client.events(await client.stream(server))
    assert [event["choices"][0]["delta"]["content"] for event in events] == ["one", " two"]


async def test_a_stream_may_only_start(server: Simulator, client: Any) -> None:
    """``start`` leaves what comes before the prompt is read: nothing of a chat, two events of a response."""
    server.answer(Answer(FOUR, stream_fault=StreamFault("start")), times=2)
    assert await client.stream(server) == b""
    body = {"model": "llama3", "input": "x", "stream": True}
    async with client.session.post(f"{server.url}/responses", json=body) as response:
        events = client.events(await response.read())
    assert [event["type"] for event in events] == ["response.created", "response.in_progress"]


async def test_one_half_of_the_end_may_be_missing(server: Simulator, client: Any) -> None:
    """``no_done`` leaves out ``[DONE]`` alone, ``no_finish`` the finish reason alone."""
    server.answer(Answer(FOUR, stream_fault=StreamFault("no_done")))
    server.answer(Answer(FOUR, stream_fault=StreamFault("no_finish")))
    without_done = client.events(await client.stream(server))
    assert without_done[-1]["choices"][0]["finish_reason"] == "stop"
    *deltas, done = client.events(await client.stream(server))
    assert (len(deltas), done) == (4, "[DONE]")
    assert all(event["choices"][0]["finish_reason"] is None for event in deltas)


@pytest.mark.parametrize("done", [False, True])
async def test_an_error_event_has_the_documented_form(server: Simulator, client: Any, done: bool) -> None:
    """An error after the headers is ``event: error`` with the message twice; ``[DONE]`` after it is a switch."""
    case = next(case for case in CATALOGUE if case.name == "model_unloaded")
    server.answer(Answer(FOUR, stream_fault=StreamFault("error", 2, message=case.message, done=done)))
    body = await client.stream(server)
    said = json.dumps({"error": {"message": case.message}, "message": case.message}, separators=(",", ":"))
    tail = b"data: [DONE]\n\n" if done else b""
    assert body.endswith(f"event: error\ndata: {said}\n\n".encode() + tail)
    assert len(client.deltas(body)) == 2


async def test_silence_lasts_until_the_client_leaves(server: Simulator, client: Any) -> None:
    """``hang`` keeps the stream open; the leaving of the client is seen within 100 ms."""
    server.answer(Answer(FOUR, stream_fault=StreamFault("hang", 2)))
    response = await client.chat(server, stream=True)
    await response.content.readuntil(b"\n\n")
    received = server.requests[-1]
    assert not received.ended.is_set()
    assert server.open_connections == 1
    left = time.monotonic()
    response.close()
    await received.wait_ended()
    assert received.closed_early
    assert received.ended_at is not None
    assert received.ended_at - left < 0.1
    assert server.open_connections == 0


async def test_leaving_between_two_chunks_is_seen(server: Simulator, client: Any) -> None:
    """A client that leaves a running stream has closed it early, and the rest is not sent."""
    server.answer(Answer("a " * 500, delay_between=0.01))
    response = await client.chat(server, stream=True)
    await response.content.readuntil(b"\n\n")
    response.close()
    await server.requests[-1].wait_ended(0.1)
    assert server.requests[-1].closed_early


async def test_an_answer_read_to_its_end_was_not_closed_early(server: Simulator, client: Any) -> None:
    """Reading everything and then closing is not leaving early."""
    async with client.chat(server, stream=True) as response:
        await response.read()
        response.close()
    await server.requests[-1].wait_ended()
    assert not server.requests[-1].closed_early


@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_a_whole_answer_is_cut(server: Simulator, client: Any, kind: Any) -> None:
    """Fewer bytes come than Content-Length promised."""
    server.answer(Answer("Hello", whole_fault=WholeFault(kind, after=20)))
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.whole(server)


async def test_a_whole_answer_is_truncated_or_empty(server: Simulator, client: Any) -> None:
    """``end`` is a complete HTTP body that is no complete JSON."""
    server.answer(Answer("Hello", whole_fault=WholeFault("end", after=20)))
    server.answer(Answer("Hello", whole_fault=WholeFault("end")))
    async with client.chat(server) as response:
        assert await response.read() == b'{"id":"chatcmpl-1","'
    async with client.chat(server) as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_a_whole_answer_hangs_in_its_body(server: Simulator, client: Any) -> None:
    """``hang`` on a whole answer: headers and a beginning, then nothing."""
    server.answer(Answer("Hello", whole_fault=WholeFault("hang", after=5)))
    response = await client.chat(server)
    assert await response.content.readany() == b'{"id"'
    response.close()
    await server.requests[-1].wait_ended()
    assert server.requests[-1].closed_early


async def test_the_connection_is_closed_without_an_answer(server: Simulator, client: Any) -> None:
    """``silent="close"``: an idle connection that was closed under the request, before any byte."""
    await client.whole(server)
    server.fail(Fail(silent="close"))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.whole(server)
    assert [received.connection for received in server.requests] == [1, 1]
    assert (await client.whole(server))[0] == 200
    assert server.requests[-1].connection == 2


async def test_a_silent_server_says_nothing(server: Simulator, client: Any) -> None:
    """``silent="hang"``: not even headers come, until the client leaves."""
    server.fail(Fail(silent="hang"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await client.whole(server)
    await server.requests[-1].wait_ended()
    assert server.requests[-1].closed_early


async def test_delays_stand_where_they_are_told(server: Simulator, client: Any) -> None:
    """Headers, first byte and every further event can be held back, each by itself."""
    server.answer(Answer("a b c", delay=0.03))
    server.answer(Answer("a b c", delay_first=0.03))
    server.answer(Answer("a b c", delay_between=0.01))
    seen = []
    for _ in range(3):
        begun = time.monotonic()
        async with client.chat(server, stream=True) as response:
            headers = time.monotonic()
            await response.content.readuntil(b"\n\n")
            first = time.monotonic()
            await response.read()
            seen.append((headers - begun, first - headers, time.monotonic() - first))
    assert [waits.index(max(waits)) for waits in seen] == [0, 1, 2]
    assert min(map(max, seen)) > 0.025


async def test_events_may_have_comments_and_other_line_ends(server: Simulator, client: Any) -> None:
    """Comments before data and CRLF line ends are legal, and seen behind proxies."""
    server.answer(Answer("a", comment="keep-alive", newline="\r\n"))
    body = await client.stream(server)
    assert body.startswith(b': keep-alive\r\n\r\ndata: {"id"')
    assert body.endswith(b"\r\n\r\n: keep-alive\r\n\r\ndata: [DONE]\r\n\r\n")
    assert b"\n" not in body.replace(b"\r\n", b"")


async def test_raw_chunks_are_sent_as_they_are(server: Simulator, client: Any) -> None:
    """Raw bytes are sent one write each, in either mode, under the content type that is chosen."""
    chunks = [b"data: {\xc3", b"\xa9", b"}\n\n"]
    server.answer(Answer(raw_chunks=chunks, content_type="text/plain", delay_between=0.005), times=2)
    for fields in ({}, {"stream": True}):
        async with client.chat(server, **fields) as response:
            assert response.content_type == "text/plain"
            assert [data async for data, _ in response.content.iter_chunks()] == chunks


async def test_raw_chunks_can_be_cut(server: Simulator, client: Any) -> None:
    """A fault counts raw chunks as it counts deltas."""
    server.answer(Answer(raw_chunks=[b"a", b"b", b"c"], stream_fault=StreamFault("cut", 2), delay_between=0.002))
    assert await broken_stream(client, server) == b"ab"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: StreamFault("bogus"), "'bogus' is no kind; there are cut, reset, end, hang, error"),
        (lambda: StreamFault("cut", after=-1), "after is -1; it must be 0 or more"),
        (lambda: WholeFault("error"), "'error' is no kind; there are cut, reset, end, hang"),
        (lambda: WholeFault("cut", -1), "after is -1"),
        (lambda: Fail(silent="x"), "silent is 'x'; it must be close, hang, or None"),
        (lambda: Fail(99), "status is 99; it must be an HTTP status"),
    ],
)
def test_what_cannot_be_scripted_is_refused(make: Any, why: str) -> None:
    """A fault of no known kind fails where it is made, and not as a server that got itself in trouble."""
    with pytest.raises(ValueError, match=why):
        make()
