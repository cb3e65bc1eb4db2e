"""Recording a server and answering from the recording."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from neuroroute.simulator import Answer, Fail, Recorder, Replay, Simulator, StreamFault, WholeFault

if TYPE_CHECKING:
    from pathlib import Path

    from neuroroute.engine import EmbeddedEngine


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return tmp_path / "recorded.jsonl"


def rows(tape: Path) -> list[Any]:
    return [json.loads(line) for line in tape.read_text("utf-8").splitlines()]


async def test_a_replay_says_what_the_server_said(server: Simulator, client: Any, tape: Path) -> None:
    """Whole answers, streams, listings and failures come back byte for byte."""
    server.answer(Answer("Héllo there", delay_between=0.003), times=2)
    server.fail(Fail(429, b"slow", headers={"Retry-After": "7"}, content_type="text/plain"))

    async def talk(to: Any) -> list[Any]:
        said: list[Any] = [await client.whole(to), await client.stream(to), await client.get(to, "/v1/models")]
        async with client.chat(to, "again") as response:
            headers = (response.status, response.headers["Retry-After"], response.content_type)
            return [*said, headers, await response.read()]

    async with Recorder(server.url, tape) as recorder:
        direct = await talk(recorder)
    async with Replay(tape) as replay:
        assert await talk(replay) == direct
    assert direct[3:] == [(429, "7", "text/plain"), b"slow"]
    assert len(server.requests) == len(rows(tape)) == 4


async def test_chunks_keep_their_boundaries(server: Simulator, client: Any, tape: Path) -> None:
    """A stream is replayed in the chunks it came in, even where a character is cut in two."""
    chunks = [b'data: "\xc3', b'\xa9"\n\n', b"data: [DONE]\n\n"]
    server.answer(Answer(raw_chunks=chunks, delay_between=0.005))

    async def read(to: Any) -> list[bytes]:
        async with client.chat(to) as response:
            return [data async for data, _ in response.content.iter_chunks()]

    async with Recorder(server.url, tape) as recorder:
        assert await read(recorder) == chunks
    async with Replay(tape, realtime=True) as replay:
        begun = time.monotonic()
        assert await read(replay) == chunks
        assert time.monotonic() - begun >= 0.009


async def test_no_token_is_written(client: Any, tape: Path) -> None:
    """The token is passed on and works, and is nowhere in the file: not from a header, not from a body."""
    token = "sk-lm-id:secret"
    async with Simulator(api_token=token) as server, Recorder(server.url, tape) as recorder:
        status, body = await client.whole(
            recorder, f"my token is {token}", headers={"Authorization": f"Bearer {token}"}
        )
    assert (status, token in json.dumps(body)) == (200, True)
    assert server.requests[0].headers["Authorization"] == f"Bearer {token}"
    written = tape.read_text("utf-8")
    assert "secret" not in written
    assert "Authorization" not in written
    async with Replay(tape) as replay:
        again = await client.whole(replay, f"my token is {token}", headers={"Authorization": f"Bearer {token}"})
    assert again[1]["choices"][0]["message"]["content"] == "You said: my token is [token]"


async def test_the_order_of_fields_does_not_matter(server: Simulator, client: Any, tape: Path) -> None:
    """A request is known by what it says, not by how its JSON is ordered."""
    async with Recorder(server.url, tape) as recorder:
        said = await client.whole(recorder, top_p=1, seed=2)
    async with Replay(tape) as replay:
        assert await client.whole(replay, seed=2, top_p=1) == said


async def test_a_large_request_is_recorded(server: Simulator, client: Any, tape: Path) -> None:
    """A request of several megabytes passes through like any other."""
    data = io.BytesIO(json.dumps({"messages": [{"role": "user", "content": "x" * 2_000_000}]}).encode())
    async with (
        Recorder(server.url, tape) as recorder,
        client.session.post(f"{recorder.url}/chat/completions", data=data) as response,
    ):
        assert response.status == 200
        assert len(await response.read()) > 2_000_000


async def test_repeated_requests_get_their_answers_in_turn(server: Simulator, client: Any, tape: Path) -> None:
    """The same request recorded twice gives two answers, then the last one again."""
    server.answer("one")
    server.answer("two")
    async with Recorder(server.url, tape) as recorder:
        said = [await client.whole(recorder) for _ in range(2)]
    async with Replay(tape) as replay:
        assert [await client.whole(replay) for _ in range(3)] == [*said, said[1]]


async def test_what_was_not_recorded_is_named(server: Simulator, client: Any, tape: Path) -> None:
    """An unknown request is a 501 that says what was asked, and what the nearest recorded one has otherwise."""
    async with Recorder(server.url, tape) as recorder:
        await client.whole(recorder, seed=1)
        await client.whole(recorder, "other", seed=2)
    async with Replay(tape) as replay:
        assert await client.whole(replay, "other", seed=3) == (
            501,
            {
                "error": "Not recorded: POST /v1/chat/completions with this body; the nearest recorded one differs "
                "in: seed"
            },
        )
        assert await client.get(replay, "/v1/models") == (501, {"error": "Not recorded: GET /v1/models"})


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_is_recorded_and_replayed(server: Simulator, client: Any, tape: Path, stream: bool) -> None:
    """A server that broke off breaks off again, after the same bytes."""
    server.answer(
        Answer("a b c", stream_fault=StreamFault("cut", 2), whole_fault=WholeFault("cut", 9), delay_between=0.003)
    )
    async with Recorder(server.url, tape) as recorder:
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.whole(recorder, stream=stream)
    async with Replay(tape) as replay:
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.whole(replay, stream=stream)
    assert rows(tape)[0]["ending"] == "cut"


async def test_the_leaving_of_the_client_reaches_the_server(server: Simulator, client: Any, tape: Path) -> None:
    """A client that leaves the recorder leaves the server behind it, and a replay is silent from there on."""
    server.answer(Answer("a b c", stream_fault=StreamFault("hang", 2)))
    async with Recorder(server.url, tape) as recorder:
        response = await client.chat(recorder, stream=True)
        await response.content.readuntil(b"\n\n")
        response.close()
        await server.requests[0].wait_ended(0.2)
        await recorder.requests[0].wait_ended()
    assert server.requests[0].closed_early
    async with Replay(tape) as replay:
        response = await client.chat(replay, stream=True)
        await response.content.readuntil(b"\n\n")
        assert not replay.requests[0].ended.is_set()
        response.close()


async def test_a_dead_server_is_a_bad_gateway(client: Any, tape: Path) -> None:
    """What could not be asked is a 502 that says so, and is not recorded."""
    async with Simulator() as server:
        pass
    async with Recorder(server.url, tape) as recorder:
        status, body = await client.whole(recorder)
    assert status == 502
    assert server.origin in body["error"]
    assert rows(tape) == []


@pytest.mark.engine
async def test_a_real_model_is_recorded(engine: EmbeddedEngine, client: Any, tape: Path) -> None:
    """What a real llama.cpp streams is replayed byte for byte."""
    fields = {"model": engine.model_id, "max_tokens": 8, "temperature": 0}
    async with Recorder(engine.url, tape) as recorder:
        said = await client.stream(recorder, "Say hello.", **fields)
    async with Replay(tape) as replay:
        assert await client.stream(replay, "Say hello.", **fields) == said
    assert len(rows(tape)[0]["chunks"]) > 2
