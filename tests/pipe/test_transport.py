from __future__ import annotations

import asyncio
import gc
import gzip
import ssl
import time
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from neuroroute import (
    AdapterClosedError,
    ConfigurationError,
    LMStudioAdapter,
    LMStudioError,
    MalformedResponseError,
    ModelAuthenticationError,
    ModelEmptyResponseError,
    ModelTimeoutError,
    NetworkError,
)
from neuroroute.pipe import transport
from neuroroute.pipe.strangers import STRANGERS, translated
from neuroroute.simulator import CATALOGUE, Answer, ErrorCase, Fail, Simulator, StreamFault, WholeFault
from neuroroute.wire.failures import failure


def all_subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(all_subclasses(sub) for sub in kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(all_subclasses(aiohttp.ClientError), key=lambda kind: kind.__name__))
def test_no_stranger_is_missing(kind: type[Exception]) -> None:
    """Every error that aiohttp has becomes one of ours."""
    # made without its constructor, which wants a live request; only what it is matters
    key = ConnectionKey("localhost", 1234, False, True, None, None, None)
    looks = {"__init__": lambda self: None, "__str__": lambda self: "x", "_conn_key": key, "_os_error": OSError("x")}
    quiet = type(kind.__name__, (kind,), looks)
    stranger: Exception = quiet()
    assert isinstance(stranger, STRANGERS)
    error = translated(stranger)
    assert isinstance(error, LMStudioError)
    assert error.code in {"NETWORK_ERROR", "MODEL_TIMEOUT", "MALFORMED_RESPONSE", "CONFIGURATION"}


async def test_the_answer_not_the_request_says_how_it_is_read(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A stream that is answered whole, and a whole answer that is streamed, are read for what they are."""
    body = b'{"model":"llama3","choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}'
    event = b'data: {"model":"llama3","choices":[{"delta":{"content":"streamed"},"finish_reason":"stop"}]}\n\n'
    lmstudio.answer(Answer(raw_chunks=[body], content_type="application/json"))
    lmstudio.answer(Answer(raw_chunks=[event, b"data: [DONE]\n\n"], content_type="text/event-stream; charset=utf-8"))
    async with adapter.stream("hi") as stream:
        assert [chunk.chunk async for chunk in stream] == ["whole", ""]
    assert (await adapter.generate_completion("hi")).text == "streamed"


async def test_what_is_sent(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The defaults of the specification are sent explicitly, and nothing that was not asked for."""
    await adapter.generate_completion("hi")
    received = lmstudio.requests[0]
    assert (received.method, received.path) == ("POST", "/v1/chat/completions")
    assert received.json == {
        "model": "llama3",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 1024,
        "temperature": 0.7,
        "top_p": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "stream": False,
    }
    assert "authorization" not in {name.lower() for name in received.headers}


async def test_token_and_headers_are_sent(lmstudio: Simulator) -> None:
    """The token goes out as a Bearer token, and a caller's own headers beside it."""
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, api_token="sk-lm-a:b") as adapter:
        await adapter.generate_completion("hi", extra_headers={"X-Team": "blue"})
    headers = lmstudio.requests[0].headers
    assert (headers["Authorization"], headers["X-Team"]) == ("Bearer sk-lm-a:b", "blue")


async def test_a_kept_connection_is_used_again(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Whole answers and streams that were read to their end give their connection back."""
    for _ in range(2):
        await adapter.generate_completion("hi")
        async with adapter.stream("hi") as stream:
            await stream.whole()
    assert len({received.connection for received in lmstudio.requests}) == 1


async def test_a_connection_that_died_idle_costs_no_attempt(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A request that got no byte of an answer on a reused connection is sent once more on a fresh one, uncounted."""
    await adapter.generate_completion("hi")
    lmstudio.fail(Fail(silent="close"))
    response = await adapter.generate_completion("hi", max_retries=0)
    assert (response.attempts, len(lmstudio.requests)) == (1, 3)
    assert lmstudio.requests[1].connection != lmstudio.requests[2].connection


async def test_a_fresh_connection_that_dies_is_an_attempt(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """On a fresh connection the same is a network error, counted and retried as any other."""
    lmstudio.fail(Fail(silent="close"), times=2)
    with pytest.raises(NetworkError) as caught:
        await adapter.generate_completion("hi", max_retries=1)
    assert (caught.value.attempts, len(lmstudio.requests)) == (2, 2)


async def test_nobody_listens(clock: Any) -> None:
    """A refused connection is a network error that says where, and what to look at."""
    async with LMStudioAdapter("llama3", base_url="127.0.0.1:9", clock=clock, max_retries=0) as adapter:
        with pytest.raises(NetworkError, match=r"'llama3' at 127.0.0.1:9.*Is LM Studio running"):
            await adapter.generate_completion("hi")


async def test_an_unknown_host(clock: Any) -> None:
    """A name that does not resolve is said to be the host of base_url."""
    async with LMStudioAdapter("llama3", base_url="http://nowhere.invalid:1", clock=clock, max_retries=0) as adapter:
        with pytest.raises(NetworkError, match="Check the host in base_url"):
            await adapter.generate_completion("hi")


async def test_tls_that_is_none(lmstudio: Simulator, clock: Any) -> None:
    """HTTPS to a server without TLS is a network error, not a riddle."""
    url = lmstudio.url.replace("http://", "https://")
    context = ssl.create_default_context()
    async with LMStudioAdapter("llama3", base_url=url, tls=context, clock=clock, max_retries=0) as adapter:
        with pytest.raises(NetworkError):
            await adapter.generate_completion("hi")


async def test_no_http_at_all(clock: Any) -> None:
    """A port where something else talks is told from a server that is down."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 smtp ready\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, LMStudioAdapter("m", base_url=f"127.0.0.1:{port}", clock=clock, max_retries=0) as adapter:
        with pytest.raises(MalformedResponseError, match="does not speak HTTP"):
            await adapter.generate_completion("hi")


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_unknown_route_is_a_configuration_error(lmstudio: Simulator, streaming: bool) -> None:
    """A wrong path answers 200 (LM Studio #618), and is told as what it is, not retried."""
    async with LMStudioAdapter("llama3", base_url=f"{lmstudio.origin}/wrong/v1") as adapter:
        with pytest.raises(ConfigurationError, match="Unexpected endpoint"):
            if streaming:
                await adapter.stream("hi").whole()
            else:
                await adapter.generate_completion("hi")
    assert len(lmstudio.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer("hello", whole_fault=WholeFault("cut", after=40)), NetworkError),
        (Answer("hello", whole_fault=WholeFault("reset", after=40)), NetworkError),
        (Answer("hello", whole_fault=WholeFault("end", after=40)), MalformedResponseError),
        (Answer("hello", whole_fault=WholeFault("end", after=0)), MalformedResponseError),
        (Answer(""), ModelEmptyResponseError),
        (Answer(raw_chunks=[b"<html>"], content_type="text/html"), MalformedResponseError),
    ],
    ids=["cut", "reset", "truncated JSON", "empty body", "empty answer", "HTML"],
)
async def test_whole_answers_that_fail(
    adapter: LMStudioAdapter, lmstudio: Simulator, answer: Answer, kind: type[LMStudioError]
) -> None:
    """A whole answer that does not come whole is an error, retried, and never half an answer."""
    lmstudio.answer(answer)
    with pytest.raises(kind):
        await adapter.generate_completion("hi", max_retries=0)
    lmstudio.answer(answer)
    lmstudio.answer("whole")
    assert (await adapter.generate_completion("hi")).text == "whole"


async def test_answers_are_bounded(lmstudio: Simulator) -> None:
    """An answer over max_response_bytes is refused as it comes, whole and streamed."""
    lmstudio.script(lambda _: "x " * 2000)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, max_response_bytes=2000, max_retries=0) as adapter:
        with pytest.raises(MalformedResponseError, match="max_response_bytes=2000"):
            await adapter.generate_completion("hi")
        with pytest.raises(MalformedResponseError, match="max_response_bytes=2000"):
            await adapter.stream("hi").whole()


async def test_a_large_body_goes_out(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A request of several MiB is sent without a warning."""
    await adapter.generate_completion("x" * (3 << 20))
    assert len(lmstudio.requests[0].body) > 3 << 20


async def test_connecting_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not answer the connection is given up after connect_timeout_ms."""
    import socket

    with socket.socket() as listener:  # a backlog that is full drops further connections
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with LMStudioAdapter("m", base_url=f"127.0.0.1:{port}", max_retries=0, connect_timeout_ms=50) as adapter:
            with pytest.raises(ModelTimeoutError, match="connect_timeout_ms=50"):
                await adapter.generate_completion("hi")
        for filler in fillers:
            filler.close()


async def test_cancelling_while_waiting_closes_the_socket(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A cancelled call ends at once, and the server sees it go within 100 ms."""
    lmstudio.fail(Fail(silent="hang"))
    task = asyncio.create_task(adapter.generate_completion("hi"))
    await lmstudio.wait_for_requests(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    cancelled = time.monotonic()
    assert await asyncio.to_thread(lmstudio.requests[0].ended.wait, 1)
    assert time.monotonic() - cancelled < 0.1


async def test_a_second_event_loop_gets_connections_of_its_own(lmstudio: Simulator) -> None:
    """One adapter serves two event loops, each with its own connections."""
    adapter = LMStudioAdapter("llama3", base_url=lmstudio.url)

    async def ask() -> str:
        try:
            return (await adapter.generate_completion("hi")).text
        finally:
            await adapter.aclose()

    assert await ask() == await asyncio.to_thread(asyncio.run, ask()) == "You said: hi"
    assert len({received.connection for received in lmstudio.requests}) == 2


async def test_after_closing_the_next_call_opens_anew(lmstudio: Simulator) -> None:
    """aclose() may be called twice, and does not end the adapter's life."""
    adapter = LMStudioAdapter("llama3", base_url=lmstudio.url)
    for _ in range(2):
        await adapter.generate_completion("hi")
        await adapter.aclose()
        await adapter.aclose()
    assert len({received.connection for received in lmstudio.requests}) == 2


async def test_an_error_event_is_no_success(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """An error event before the first chunk is retried although HTTP said 200."""
    lmstudio.answer(Answer("lost", stream_fault=StreamFault("error", after=0)))
    lmstudio.answer("found")
    async with adapter.stream("hi") as stream:
        assert (await stream.whole()).text == "found"


async def test_an_error_whose_body_is_cut_is_known_by_its_status(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A 4xx that breaks off is a refusal all the same, and not sent again as if the network had failed."""
    lmstudio.answer(Answer("no", status=401, whole_fault=WholeFault("cut", after=10)))
    with pytest.raises(ModelAuthenticationError):
        await adapter.generate_completion("hi")
    assert len(lmstudio.requests) == 1


async def test_an_event_loop_that_ends_takes_its_connections_along(lmstudio: Simulator) -> None:
    """An adapter that is used in one asyncio.run() after the other leaves nothing open, though nobody closed it."""
    adapter = LMStudioAdapter("llama3", base_url=lmstudio.url)
    for number in range(3):
        await asyncio.to_thread(asyncio.run, adapter.generate_completion("hi"))
        assert await asyncio.to_thread(lmstudio.requests[number].ended.wait, 1)
    gc.collect()  # what was left open would warn now, and a warning is an error
    assert len({received.connection for received in lmstudio.requests}) == 3


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_s_password_is_never_shown(clock: Any, lmstudio: Simulator, scheme: str) -> None:
    """What went wrong with a proxy is said without its URL."""
    proxy = "http://user:s3cret@127.0.0.1:9"
    async with LMStudioAdapter("m", base_url=f"{scheme}://studio.invalid", proxy=proxy, clock=clock) as adapter:
        with pytest.raises(NetworkError) as caught:
            await adapter.generate_completion("hi", max_retries=0)
    assert "proxy" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def _codes(case: ErrorCase) -> tuple[str, bool]:
    error = failure(case.status, case.body, {})
    return error.code, error.retryable


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("case", [case for case in CATALOGUE if case.endpoint == "chat"], ids=str)
async def test_every_failure_of_the_catalogue_comes_through(
    adapter: LMStudioAdapter, lmstudio: Simulator, case: ErrorCase, streaming: bool
) -> None:
    """What LM Studio says, word for word, reaches the caller as its typed error, whole and streamed."""
    lmstudio.fail(case)
    with pytest.raises(LMStudioError) as caught:
        if streaming:
            await adapter.stream("hi", max_retries=0).whole()
        else:
            await adapter.generate_completion("hi", max_retries=0)
    error = caught.value
    assert (error.code, error.retryable) == _codes(case)
    assert (error.status, error.model, error.attempts) == (case.status, "llama3", 1)


@pytest.mark.parametrize("after", [0, 2], ids=["before the first chunk", "after it"])
@pytest.mark.parametrize("case", [case for case in CATALOGUE if case.endpoint == "chat"], ids=str)
async def test_every_failure_of_the_catalogue_as_an_event(
    adapter: LMStudioAdapter, lmstudio: Simulator, case: ErrorCase, after: int
) -> None:
    """The same words in an error event are the same error; after the first chunk it is final and has what came."""
    fault = StreamFault("error", after=after, message=case.message)
    lmstudio.answer(Answer(chunks=["a", "b", "c"], stream_fault=fault))
    with pytest.raises(LMStudioError) as caught:
        await adapter.stream("hi", max_retries=0).whole()
    code, retryable = _codes(case)
    unknown = "MODEL_INVALID_REQUEST"  # known by its status alone, which an event does not have
    expected = {code} if code != unknown else {unknown, "MALFORMED_RESPONSE" if after == 0 else "STREAM_INTERRUPTED"}
    assert caught.value.code in expected
    if after:
        assert caught.value.partial is not None
        assert (caught.value.partial.text, caught.value.retryable) == ("ab", False)
    elif code != unknown:
        assert caught.value.retryable is retryable


async def test_an_answer_that_was_compressed_unasked(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A proxy that compresses although nobody asked is named as what it is, without bytes on the screen."""
    packed = gzip.compress(b'{"choices":[]}')
    lmstudio.answer(
        Answer(raw_chunks=[packed], content_type="application/json", headers={"Content-Encoding": "gzip"}), times=2
    )
    with pytest.raises(MalformedResponseError, match=r"the answer is compressed \(gzip\)"):
        await adapter.generate_completion("hi")


async def test_a_connection_that_never_was_is_tried_once(monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    """A host that cannot be found is one attempt, not two."""
    asked: list[str] = []

    async def resolve(*arguments: Any, **_: Any) -> Any:
        asked.append(arguments[1])
        raise OSError("no such host")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
    async with LMStudioAdapter("m", base_url="http://nowhere.invalid", clock=clock, max_retries=0) as adapter:
        with pytest.raises(NetworkError):
            await adapter.generate_completion("hi")
    assert asked == ["nowhere.invalid"]


@pytest.mark.parametrize("retries", [0, 3])
async def test_closing_under_requests_is_nobody_s_failure(lmstudio: Simulator, retries: int) -> None:
    """What is under way when the adapter is closed ends as that: not sent again, not counted, no pool opened anew."""
    lmstudio.answer(Answer("late", delay=30), times=5)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, max_retries=retries, slots=3) as adapter:
        asked = [asyncio.create_task(adapter.generate_completion("hi")) for _ in range(5)]  # two of them wait
        await lmstudio.wait_for_requests(3)
        await adapter.aclose()
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(end) for end in ends] == [AdapterClosedError] * 5
        assert (len(lmstudio.requests), adapter._core.transport.pools._pools) == (3, {})
        lmstudio._queue.clear()
        assert (await adapter.generate_completion("again")).text == "You said: again"
        assert repr(adapter.breaker) == "<Breaker closed, 0 of 1 failed>"


async def test_what_was_worked_on_is_not_sent_again_unasked(
    lmstudio: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kept connection that breaks at once was stale; one that breaks later is an attempt like any other."""
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, max_retries=0) as adapter:
        await adapter.generate_completion("warm")
        lmstudio.fail(Fail(silent="close"))
        assert (await adapter.generate_completion("stale")).attempts == 1
        assert len(lmstudio.requests) == 3
        await adapter.generate_completion("warm")
        monkeypatch.setattr(transport, "STALE_SECONDS", 0.01)
        lmstudio.fail(Fail(silent="close", delay=0.03))
        with pytest.raises(NetworkError, match="connection was lost"):
            await adapter.generate_completion("killer")
        assert len(lmstudio.requests) == 5
