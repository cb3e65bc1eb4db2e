"""Routes, tokens, scripting, connections."""

from __future__ import annotations

import asyncio
import io
import json
import time
import urllib.request
from typing import Any

import aiohttp
import pytest

from neuroroute.simulator import CATALOGUE, Answer, Fail, Received, SimulatedModel, Simulator, Unknowns


async def test_an_unknown_route_is_a_success(server: Simulator, client: Any) -> None:
    """Whatever route it does not have, it answers 200 with an error in the body."""
    async with client.session.post(f"{server.origin}/chat/completions", json={}) as response:
        assert response.status == 200
        assert await response.json() == {"error": "Unexpected endpoint or method. (POST /chat/completions)"}
    status, body = await client.get(server, "/v1/chat/completions")
    assert (status, body) == (200, {"error": "Unexpected endpoint or method. (GET /v1/chat/completions)"})


async def test_an_older_server_lacks_surfaces(client: Any) -> None:
    """A surface that is switched off is an unknown route."""
    async with Simulator(surfaces=()) as server:
        for path in ("/api/v1/models", "/api/v0/models", "/api/v0/models/llama3", "/lmstudio-greeting"):
            status, body = await client.get(server, path)
            assert (status, body) == (200, {"error": f"Unexpected endpoint or method. (GET {path})"})
        assert "data" in (await client.get(server, "/v1/models"))[1]


async def test_it_greets(server: Simulator, client: Any) -> None:
    """The greeting tells LM Studio from other servers."""
    assert await client.get(server, "/lmstudio-greeting") == (200, {"lmstudio": True})


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "An LM Studio API token is required to make requests to this server"),
        ("Basic abc", "An LM Studio API token is required to make requests to this server"),
        ("Bearer sk-bogus-EXAMPLE", "Malformed LM Studio API token provided: sk-bogus-E****..."),
    ],
)
async def test_a_token_is_required(client: Any, header: str | None, message: str) -> None:
    """Without the right token everything is a 401 that says why."""
    headers = {"Authorization": header} if header else {}
    async with Simulator(api_token="sk-lm-id:key") as server:
        status, body = await client.get(server, "/v1/models", headers=headers)
        assert status == 401
        assert body["error"]["code"] == "invalid_api_key"
        assert body["error"]["message"].startswith(message)
        async with client.chat(server, headers=headers) as response:
            assert response.status == 401
        good = {"Authorization": "Bearer sk-lm-id:key"}
        assert (await client.get(server, "/v1/models", headers=good))[0] == 200


async def test_a_body_that_is_no_json_is_a_switch(client: Any) -> None:
    """What the server answers to a broken body is for the test to say."""
    async with (
        Simulator(unknowns=Unknowns(bad_json=Fail(418, "what?", content_type="text/plain"))) as server,
        client.session.post(f"{server.url}/chat/completions", data=b"{") as response,
    ):
        assert (response.status, await response.text()) == (418, "what?")


async def test_answers_come_in_the_order_they_were_scripted(server: Simulator, client: Any) -> None:
    """Answers and failures are one queue; an empty one is back to the default."""
    server.answer("one")
    server.fail(CATALOGUE[0])
    server.answer("two", times=2)
    got = [await client.whole(server) for _ in range(5)]
    assert [status for status, _ in got] == [200, 400, 200, 200, 200]
    texts = [body["choices"][0]["message"]["content"] for status, body in got if status == 200]
    assert texts == ["one", "two", "two", "You said: hi there"]


async def test_a_failure_is_sent_word_for_word(server: Simulator, client: Any) -> None:
    """Status, headers, content type and body are as given."""
    server.fail(Fail(429, b"slow down", headers={"Retry-After": "7"}, content_type="text/html"))
    async with client.chat(server) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
        assert (response.content_type, await response.read()) == ("text/html", b"slow down")


async def test_a_failure_can_wait_for_its_path(server: Simulator, client: Any) -> None:
    """A failure with a path is for that path only, and leaves chat alone."""
    server.fail(Fail(503, {"error": "no"}), path="/api/v1/models")
    assert (await client.whole(server))[0] == 200
    assert (await client.get(server, "/api/v1/models"))[0] == 503
    assert (await client.get(server, "/api/v1/models"))[0] == 200


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_a_script_answers_what_is_asked(server: Simulator, client: Any, form: str) -> None:
    """A function of the request, sync or async, answers whenever the queue is empty."""

    def say(received: Received) -> Answer | Fail | str:
        text = received.json["messages"][-1]["content"]
        return Fail(500, {"error": text}) if text == "fail" else text.upper() if text == "a" else Answer(text)

    async def say_later(received: Received) -> Answer | Fail | str:
        await asyncio.sleep(0)
        return say(received)

    server.script(say if form == "sync" else say_later)
    server.answer("queued")
    said = [await client.whole(server, text) for text in ("a", "a", "b", "fail")]
    assert [status for status, _ in said] == [200, 200, 200, 500]
    assert [body["choices"][0]["message"]["content"] for _, body in said[:3]] == ["queued", "A", "b"]
    server.script(None)
    assert (await client.whole(server, "a"))[1]["choices"][0]["message"]["content"] == "You said: a"


async def test_it_keeps_what_it_was_sent(server: Simulator, client: Any) -> None:
    """Method, path, query, headers and body are kept, oldest first."""
    await client.get(server, "/v1/models?x=1")
    await client.whole(server, headers={"X-Trace": "7"})
    await server.wait_for_requests(2)
    first, second = server.requests
    assert (first.method, first.path, first.query, first.body) == ("GET", "/v1/models", "x=1", b"")
    assert (second.method, second.path, second.headers["x-trace"]) == ("POST", "/v1/chat/completions", "7")
    assert second.json["model"] == "llama3"
    assert first.at < second.at
    with pytest.raises(TimeoutError):
        await server.wait_for_requests(3, timeout=0.01)


async def test_a_body_may_be_large(server: Simulator, client: Any) -> None:
    """No limit of the web framework stands between a client and the server."""
    body = {"model": "llama3", "messages": [{"role": "user", "content": "x" * 3_000_000}]}
    data = io.BytesIO(json.dumps(body).encode())
    async with client.session.post(f"{server.url}/chat/completions", data=data) as response:
        said = (await response.json())["choices"][0]["message"]["content"]
    assert len(said) == len("You said: ") + 3_000_000


async def test_requests_on_one_connection_share_its_number(server: Simulator, client: Any) -> None:
    """One kept connection serves requests in turn; requests at the same time take one each."""
    await client.whole(server)
    await client.whole(server)
    await asyncio.gather(client.whole(server), client.whole(server))
    assert sorted(received.connection for received in server.requests) == [1, 1, 1, 2]
    assert server.open_connections == 2


async def test_an_idle_connection_is_closed(client: Any) -> None:
    """After the keep-alive time an idle connection is closed by the server."""
    async with Simulator(keepalive_timeout=0.02) as server:
        await client.whole(server)
        async with asyncio.timeout(1):
            while server.open_connections:
                await asyncio.sleep(0.005)
        await client.whole(server)
        assert [received.connection for received in server.requests] == [1, 2]


async def test_switches_work_while_it_runs(server: Simulator, client: Any) -> None:
    """Models and switches may be changed at any time; the next request sees it."""
    server.models.append(SimulatedModel("other", loaded=True))
    assert (await client.whole(server, model="x"))[0] == 400
    server.models[:] = []
    assert (await client.whole(server))[0] == 400
    server.api_token = "sk-lm-1"
    assert (await client.whole(server))[0] == 401


async def test_it_stops_at_once_while_answering(client: Any) -> None:
    """Leaving the block ends what is still being answered, and that is not the client's leaving."""
    async with Simulator() as server:
        server.fail(Fail(silent="hang"))
        asking = asyncio.create_task(client.whole(server))
        await server.wait_for_requests(1)
        begun = time.monotonic()
    assert time.monotonic() - begun < 0.5
    with pytest.raises(aiohttp.ClientError):
        await asking
    assert server.requests[0].ended.is_set()
    assert not server.requests[0].closed_early


async def test_it_comes_back_on_the_same_port(client: Any) -> None:
    """Entered again, it is the same server at the same address, queue and requests included."""
    server = Simulator()
    async with server:
        url = server.url
        await client.whole(server)
    server.answer("back")
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.whole(server)
    async with server:
        assert server.url == url
        assert (await client.whole(server))[1]["choices"][0]["message"]["content"] == "back"
    assert len(server.requests) == 2


def test_it_runs_without_asyncio() -> None:
    """In a plain ``with`` it runs in a thread, which is gone after the block."""
    with Simulator() as server:
        with urllib.request.urlopen(f"{server.url}/models") as response:
            assert response.status == 200
        with pytest.raises(OSError, match=str(server.port)), Simulator(port=server.port):
            pass
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{server.url}/models")
