"""The chaos proxy, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from neuroroute.simulator import Answer, ChaosProxy, Simulator, StreamFault
from neuroroute.simulator.toxics import (
    Bandwidth,
    Blackhole,
    Cut,
    Freeze,
    Latency,
    Refuse,
    Reset,
    Slicer,
    SlowClose,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from neuroroute.simulator.toxics import NetworkFault

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    """A server of no protocol at all."""

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except ConnectionError:
            pass
        finally:
            await closed(writer)

    server = await asyncio.start_server(handled, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def connected(proxy: ChaosProxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        await closed(writer)


@asynccontextmanager
async def echoing(*faults: NetworkFault, **options: Any) -> AsyncIterator[ChaosProxy]:
    async with serving(echo) as address, ChaosProxy(address, *faults, **options) as proxy:
        yield proxy


async def until(condition: Callable[[], object], timeout: float = 1.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.001)


async def silent(reader: asyncio.StreamReader, seconds: float = 0.03) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


# ── Without faults ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_it_is_transparent(server: Simulator, client: Any) -> None:
    """Without faults an exchange is the same through the proxy, and its bytes are counted each way."""
    async with ChaosProxy(server.url) as proxy:
        assert proxy.url == f"http://127.0.0.1:{proxy.port}/v1"
        assert await client.whole(proxy) == (200, {**(await client.whole(server))[1], "id": "chatcmpl-1"})
        assert (proxy.connections, proxy.open_connections) == (1, 1)
        assert proxy.bytes_up > 100
        assert proxy.bytes_down > 300
        assert not proxy.applied


async def test_a_half_close_is_passed_on() -> None:
    """A client that has said all may go on listening: the end of each direction is passed on by itself."""

    async def counts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(str(len(await reader.read())).encode())

    async with serving(counts) as address, ChaosProxy(address) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"x" * 1000)
        writer.write_eof()
        assert await reader.read() == b"1000"
        await until(lambda: proxy.open_connections == 0)
        assert (proxy.bytes_up, proxy.bytes_down) == (1000, 4)


async def test_a_sender_who_is_not_read_from_is_held_back() -> None:
    """Bytes are not piled up for a receiver who does not read: the sender waits, and nothing is lost."""
    total, sent = 64 << 20, 0

    async def pours(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(total >> 16):
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent += 1 << 16

    async with serving(pours) as address, ChaosProxy(address) as proxy:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", proxy.port))
        reader, writer = await asyncio.open_connection(sock=client)
        writer.transport.pause_reading()
        before = -1
        while before != sent:  # until it stands still
            before = sent
            await asyncio.sleep(0.05)
        assert sent < total / 2
        writer.transport.resume_reading()
        got = 0
        while data := await reader.read(1 << 20):
            got += len(data)
        assert got == total
        await closed(writer)


async def test_a_reset_of_the_server_reaches_the_client(server: Simulator, client: Any) -> None:
    """What the server did to its connection is what the client sees."""
    server.answer(Answer("one two", stream_fault=StreamFault("reset", 1), delay_between=0.002))
    async with ChaosProxy(server.url) as proxy:
        with pytest.raises(aiohttp.ClientPayloadError, match=r"reset|forcibly"):
            await client.stream(proxy)


async def test_the_server_sees_a_client_leave(server: Simulator, client: Any) -> None:
    """A client that leaves a stream has left at the server at once, and no connection stays."""
    server.answer(Answer("a " * 500, delay_between=0.01))
    async with ChaosProxy(server.url) as proxy:
        response = await client.chat(proxy, stream=True)
        await response.content.readuntil(b"\n\n")
        response.close()
        await server.requests[-1].wait_ended(0.2)
        assert server.requests[-1].closed_early
        await until(lambda: proxy.open_connections == 0)


async def test_a_server_that_is_not_there_is_a_reset() -> None:
    """Without a server behind it, a connection that was accepted is reset."""
    async with ChaosProxy(await nowhere()) as proxy, connected(proxy) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def nowhere() -> str:
    async with serving(echo) as address:
        return address


@pytest.mark.parametrize("wrong", ["", "http://", "/v1"])
def test_an_upstream_needs_a_host(wrong: str) -> None:
    """An address without a host is an error where it is written."""
    with pytest.raises(ValueError, match="no host"):
        ChaosProxy(wrong)


# ── Each fault ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_latency_makes_answers_late(server: Simulator, client: Any) -> None:
    """An answer comes as late as the latency says, once for the whole of a stream and not for each piece."""
    async with ChaosProxy(server.url, Latency(30)) as proxy:
        begun = time.monotonic()
        await client.stream(proxy, "a b c d e f g h i j")
        assert 0.03 <= time.monotonic() - begun < 0.3
        assert proxy.applied == {Latency(30): 1}


async def test_bandwidth_limits_bytes_in_a_second() -> None:
    """So many bytes pass in a second, whatever the packets."""
    async with echoing(Bandwidth(20_000)) as proxy, connected(proxy) as (reader, writer):
        begun = time.monotonic()
        writer.write(bytes(3000))
        await reader.readexactly(3000)
        assert 0.1 <= time.monotonic() - begun < 0.6


async def test_a_slicer_tears_an_answer_apart(server: Simulator, client: Any) -> None:
    """A client that reads what is there gets pieces of so many bytes, characters torn apart; nothing is lost."""
    async with ChaosProxy(server.url, Slicer(3)) as proxy:
        deltas = client.deltas(await client.stream(proxy, "žluťoučký kůň"))
        assert "".join(delta["content"] for delta in deltas) == "You said: žluťoučký kůň"
    async with echoing(Slicer(3, 2)) as proxy, connected(proxy) as (reader, writer):
        writer.write("añññ".encode())
        assert [await reader.read(100) for _ in range(3)] == [b"a\xc3\xb1", b"\xc3\xb1\xc3", b"\xb1"]


async def test_a_cut_is_a_clean_end_after_so_many_bytes() -> None:
    """The client gets exactly N bytes and a clean end; so does the server."""
    async with echoing(Cut(5)) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"hello world")
        assert await reader.read() == b"hello"
        await until(lambda: proxy.open_connections == 0)


async def test_a_reset_is_told_from_a_cut() -> None:
    """The client gets N bytes, and then a reset."""
    async with echoing(Reset(5)) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"hello world")
        assert await reader.readexactly(5) == b"hello"
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_a_cut_at_zero_lets_the_request_through(server: Simulator, client: Any) -> None:
    """``Cut(0)``: the server has got the request and answered, and the client gets nothing."""
    async with ChaosProxy(server.url, Cut(0)) as proxy:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.whole(proxy)
        assert len(server.requests) == 1


async def test_a_cut_upstream_keeps_the_request_from_the_server(server: Simulator, client: Any) -> None:
    """A fault for requests strikes before the server has seen them."""
    async with ChaosProxy(server.url, Cut(0, direction="upstream")) as proxy:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.whole(proxy)
        assert server.requests == []


async def test_a_freeze_keeps_the_connection_open() -> None:
    """N bytes come, and then nothing, not even an end; when it is taken away, the rest comes."""
    async with echoing(Freeze(5)) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"hello world")
        assert await reader.readexactly(5) == b"hello"
        assert await silent(reader)
        assert proxy.open_connections == 1
        proxy.set()
        assert await reader.readexactly(6) == b" world"


async def test_what_is_frozen_ends_with_its_client() -> None:
    """A frozen connection whose client leaves is closed: none is held for nobody."""
    async with echoing(Freeze(5)) as proxy:
        async with connected(proxy) as (reader, writer):
            writer.write(b"hello world")
            await reader.readexactly(5)
        await until(lambda: proxy.open_connections == 0)


async def test_a_slow_close_comes_late(server: Simulator, client: Any) -> None:
    """The answer comes at once, the end of the connection late."""
    async with ChaosProxy(server.url, SlowClose(40)) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        begun = time.monotonic()
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        answered = time.monotonic() - begun
        await reader.read()
        assert time.monotonic() - begun >= 0.04 > answered


async def test_a_black_hole_takes_everything_and_gives_nothing() -> None:
    """A connection is accepted; no byte passes, and the server is not asked; healed, it goes on."""
    asked = 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await echo(reader, writer)

    async with serving(counted) as address, ChaosProxy(address, Blackhole()) as proxy:
        async with connected(proxy) as (reader, writer):
            writer.write(b"hello")
            assert await silent(reader)
            assert (asked, proxy.bytes_up, proxy.applied) == (0, 0, {Blackhole(): 1})
            proxy.set()
            assert await reader.readexactly(5) == b"hello"
            proxy.set(Blackhole())
            writer.write(b"again")
            assert await silent(reader)
        await until(lambda: proxy.open_connections == 0)
        async with connected(proxy):
            await until(lambda: proxy.open_connections == 1)
        await until(lambda: proxy.open_connections == 0)


async def test_connections_are_refused_and_accepted_again() -> None:
    """``Refuse``: nothing listens on the port; open connections go on; later it is the same port."""
    async with echoing() as proxy, connected(proxy) as (reader, writer):
        writer.write(b"a")
        await reader.readexactly(1)
        for _ in range(3):
            proxy.set(Refuse())
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            proxy.set()
            async with connected(proxy) as (again, said):
                said.write(b"b")
                assert await again.readexactly(1) == b"b"
        assert proxy.applied == {Refuse(): 3}


async def test_refusing_at_once_again_leaves_nothing_listening() -> None:
    """Healed and refused in one breath, it refuses, and still ends cleanly."""
    async with echoing(Refuse()) as proxy:
        proxy.set()
        proxy.set(Refuse())
        await asyncio.sleep(0.01)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)


# ── Chance, change and threads ──────────────────────────────────────────────────────────────────────────────────────


async def struck(proxy: ChaosProxy, times: int) -> list[bool]:
    """For each of so many connections, whether it was cut before its first byte."""
    seen = []
    for _ in range(times):
        async with connected(proxy) as (reader, writer):
            writer.write(b"x")
            seen.append(await reader.read(1) == b"")
    return seen


async def test_a_rate_is_drawn_for_each_connection() -> None:
    """A share of the connections is struck, the same ones for the same seed, and counted."""
    async with echoing(Cut(0, rate=0.4), seed=7) as proxy:
        first = await struck(proxy, 40)
        assert 8 < sum(first) < 24
        assert proxy.applied == {Cut(0, rate=0.4): sum(first)}
    async with echoing(Cut(0, rate=0.4), seed=7) as proxy:
        assert await struck(proxy, 40) == first


async def test_times_limits_the_connections() -> None:
    """``times=2``: the next two connections, and no more until it is set again."""
    async with echoing(Cut(0, times=2)) as proxy:
        assert await struck(proxy, 4) == [True, True, False, False]
        proxy.set(Cut(0, times=2))
        assert await struck(proxy, 3) == [True, True, False]


async def test_open_connections_feel_a_change() -> None:
    """A fault that is set while a connection is open strikes it; waiting for a latency ends with the latency."""
    async with echoing(Latency(60_000)) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"hello")
        assert await silent(reader)
        proxy.set()
        assert await reader.readexactly(5) == b"hello"
        proxy.set(Reset(1))
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


def test_it_runs_without_asyncio(lmstudio: Simulator) -> None:
    """In a plain ``with`` it runs in a thread, its faults can be changed, and its port is free afterwards."""
    with ChaosProxy(lmstudio.url) as proxy:
        answers = []
        for faults in ((), (Cut(0),), (Refuse(),), ()):
            proxy.set(*faults)
            answers.append(asked(proxy.port))
        assert answers == ["HTTP", "", "refused", "HTTP"]
        with socket.create_connection(("127.0.0.1", proxy.port)) as left_open:
            left_open.sendall(b"GET ")
    assert asked(proxy.port) == "refused"
    with proxy:
        assert asked(proxy.port) == "HTTP"


def asked(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as made:
            made.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            return made.recv(4).decode()
    except ConnectionRefusedError:
        return "refused"


async def test_nothing_is_left_at_its_end() -> None:
    """Leaving the block ends every connection, whatever it waits for, and leaves no task."""
    before = asyncio.all_tasks()
    async with serving(echo) as address:
        async with ChaosProxy(address) as proxy:
            open_ones = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(4)]
            for fault, (_, writer) in zip((Freeze(), Blackhole(), Latency(60_000), Refuse()), open_ones, strict=True):
                proxy.set(fault)
                writer.write(b"x")
                await asyncio.sleep(0.005)
            assert proxy.open_connections == 4
        assert proxy.open_connections == 0
        for reader, writer in open_ones:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(5)
            await closed(writer)
    await until(lambda: asyncio.all_tasks() == before)
