"""What all routes that ask a model for text have in common: queues, faults, slots and failures."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import aiohttp
import pytest

from neuroroute.simulator import Answer, Fail, FaultPlan, Recorder, Replay, SimulatedModel, Simulator, WholeFault


class Route(NamedTuple):
    path: str
    asked: dict[str, Any]

    def text(self, body: Any) -> str:
        """What a whole answer says."""
        if "output" in body:
            return str(body["output"][-1]["content"][0]["text"])
        choice = body["choices"][0]
        return str(choice["text"] if "text" in choice else choice["message"]["content"])

    def __str__(self) -> str:
        return self.path


CHAT = {"model": "llama3", "messages": [{"role": "user", "content": "hi there"}]}
TEXT = {"model": "llama3", "prompt": "hi there"}
ROUTES = [
    Route("/v1/chat/completions", CHAT),
    Route("/v1/completions", TEXT),
    Route("/v1/responses", {"model": "llama3", "input": "hi there"}),
    Route("/api/v0/chat/completions", CHAT),
    Route("/api/v0/completions", TEXT),
]
each_route = pytest.mark.parametrize("route", ROUTES, ids=str)


@each_route
async def test_one_queue_serves_all(server: Simulator, client: Any, route: Route) -> None:
    """Answers and failures of the shared queue come in turn, those of the path before them, then an echo."""
    server.answer("second")
    server.fail(Fail(503, {"error": "third"}))
    server.answer("first", path=route.path)
    server.answer("of another", path="/v1/elsewhere")
    said = [await client.post(server, route.path, route.asked) for _ in range(4)]
    assert [status for status, _ in said] == [200, 200, 503, 200]
    assert [route.text(said[number][1]) for number in (0, 1, 3)] == ["first", "second", "You said: hi there"]


@each_route
async def test_a_failure_of_the_path_comes_first(server: Simulator, client: Any, route: Route) -> None:
    """What is queued for one path comes in its order, and a failure there is given to whatever is asked."""
    server.fail(Fail(503), path=route.path)
    server.answer("then this", path=route.path)
    async with client.session.post(server.origin + route.path, data=b"no json") as response:
        assert response.status == 503
    assert route.text((await client.post(server, route.path, route.asked))[1]) == "then this"


@each_route
async def test_faults_strike(server: Simulator, client: Any, route: Route) -> None:
    """A plan of faults strikes whole answers and streams."""
    FaultPlan("status:503@1", "whole:cut:5", "stream:cut:1").apply(server)
    assert (await client.post(server, route.path, route.asked))[0] == 503
    for stream in (False, True):
        with pytest.raises(aiohttp.ClientPayloadError):
            async with client.session.post(server.origin + route.path, json={**route.asked, "stream": stream}) as got:
                await got.read()
    assert server.requests[-1].faults == ("stream:cut:1",)


@each_route
async def test_a_model_loads_and_its_slots_are_shared(client: Any, route: Route) -> None:
    """The first request loads the model, and further ones wait for its slots, whatever their route."""
    async with Simulator(models=[SimulatedModel("llama3", parallel=1, load_seconds=0.01)]) as server:
        server.answer(Answer(delay=60))
        busy = client.begin(server)
        await client.until(lambda: server.running("llama3") == 1)
        waiting = asyncio.create_task(client.post(server, route.path, route.asked))
        await client.until(lambda: server.queued("llama3") == 1)
        busy.cancel()
        assert (await waiting)[0] == 200
        assert server.models[0].loaded_on_request


@each_route
async def test_a_crash_ends_what_runs(server: Simulator, client: Any, route: Route) -> None:
    """A crash is a failure before the answer has begun, and the last event of a stream that has."""
    words = b"The model has crashed without additional information. (Exit code: null)"
    for stream, status in ((False, 500 if route.path == "/v1/responses" else 400), (True, 200)):
        server.load("llama3")
        server.answer(Answer("one two", delay=0 if stream else 60, delay_between=60))
        asking = asyncio.create_task(
            client.session.post(server.origin + route.path, json={**route.asked, "stream": stream})
        )
        await client.until(lambda: server.running("llama3") == 1)
        if stream:
            await asyncio.wait({asking})
        server.crash("llama3")
        async with await asking as response:
            assert (response.status, words in await response.read()) == (status, True)


@each_route
async def test_nothing_is_answered_without_a_model(client: Any, route: Route) -> None:
    """What is unknown among several is a 400 that names the model; no JSON is what nobody knows."""
    async with Simulator(models=[SimulatedModel(key, loaded=True) for key in "ab"]) as server:
        status, body = await client.post(server, route.path, route.asked)
        assert (status, body["error"]["code"]) == (400, "model_not_found")
        async with client.session.post(server.origin + route.path, data=b"{") as response:
            assert (response.status, await response.json()) == (400, {"error": "Invalid JSON in the request body"})


@each_route
async def test_it_is_recorded_and_replayed(server: Simulator, client: Any, route: Route, tmp_path: Any) -> None:
    """What was recorded of it is said again, byte by byte, in both modes."""
    path = tmp_path / "talk.jsonl"

    async def told(origin: str) -> list[bytes]:
        said = []
        for stream in (False, True):
            async with client.session.post(origin + route.path, json={**route.asked, "stream": stream}) as response:
                said.append(await response.read())
        return said

    async with Recorder(server.origin, path) as recorder:
        recorded = await told(recorder.origin)
    async with Replay(path) as replay:
        assert await told(replay.origin) == recorded
    assert route.text(json.loads(recorded[0])) == "You said: hi there"


async def test_what_was_cut_on_the_wire_was_said(client: Any) -> None:
    """A whole answer that fails on the wire is one all the same for the next to continue."""
    async with Simulator() as server:
        server.answer(Answer("one", id="resp_x", whole_fault=WholeFault("end", 3)))
        async with client.session.post(f"{server.url}/responses", json=ROUTES[2].asked) as response:
            assert len(await response.read()) == 3
        again = {**ROUTES[2].asked, "previous_response_id": "resp_x"}
        assert (await client.post(server, "/v1/responses", again))[0] == 200
