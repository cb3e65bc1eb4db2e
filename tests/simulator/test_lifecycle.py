"""Loads on request, unloading, crashes, and what they do to those who are being answered or wait."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import time
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator, StreamFault, Unknowns, case_named

SLOW = Answer("one two three", delay_between=60)
QUEUED = {"error": "Model was unloaded while the request was still in queue.."}


def shelf(**fields: Any) -> list[SimulatedModel]:
    """One model that is loaded and has one slot, and one that loads until it is told to end."""
    return [
        SimulatedModel("a", loaded=True, parallel=1),
        SimulatedModel("b", **{"load_seconds": math.inf, **fields}),
    ]


async def test_requests_wait_for_one_load(client: Any) -> None:
    """Requests for a model that loads wait for the same load; until it ends, the listings show it not loaded."""
    async with Simulator(models=shelf()) as server:
        asking = [client.begin(server, model="b") for _ in range(3)]
        await server.wait_for_requests(3)
        assert server.models[1].load_progress == 0.0
        listed = (await client.get(server, "/api/v0/models"))[1]["data"]
        assert [entry["state"] for entry in listed] == ["loaded", "not-loaded"]
        server.load("b")
        assert [body["model"] for _, body in await asyncio.gather(*asking)] == ["b"] * 3
        assert (server.models[1].instance_ids, server.models[1].load_progress) == (["b"], None)


async def test_a_load_takes_its_time(client: Any) -> None:
    """A load on request takes as long as it is said to, and so does the request that waits for it."""
    async with Simulator(models=shelf(load_seconds=0.03)) as server:
        began = time.monotonic()
        assert (await client.whole(server, model="b"))[0] == 200
        assert time.monotonic() - began >= 0.029


def test_a_load_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The progress of a load is the share of its time that has passed, one at most, and none without a load."""
    model = SimulatedModel("b", load_seconds=10)
    assert model.load_progress is None
    clock = iter((100.0, 100.0, 102.5, 110.0, 999.0))
    monkeypatch.setattr("neuroroute.simulator.models.time", SimpleNamespace(monotonic=lambda: next(clock)))
    model.load_begins()
    seen = [model.load_progress for _ in range(4)]
    model.load_ends()
    assert (seen, model.load_progress) == ([0.0, 0.25, 1.0, 1.0], None)


@pytest.mark.parametrize(
    ("fails", "status", "message"),
    [
        ("Operation canceled.", 400, 'Failed to load model "b". Error: Operation canceled.'),
        (case_named("load_failed_memory_old"), 404, 'Failed to load model "x". Error: Model loading aborted'),
        (Fail(503, {"error": {"message": "no"}}), 503, "no"),
    ],
    ids=["reason", "row", "response"],
)
async def test_a_load_fails_as_it_is_told(client: Any, fails: Any, status: int, message: str) -> None:
    """Every request that waits for a load gets its failure, and the model stays unloaded until a load succeeds."""
    async with Simulator(models=shelf(load_fails=fails, load_seconds=0.01)) as server:
        got = await asyncio.gather(*(client.begin(server, model="b") for _ in range(2)))
        assert [(code, body["error"]["message"][: len(message)]) for code, body in got] == [(status, message)] * 2
        assert not server.models[1].loaded
        server.models[1].load_fails = None
        assert (await client.whole(server, model="b"))[0] == 200


async def test_unloading_cancels_a_load(client: Any) -> None:
    """Whoever waits for a load that is canceled is told so."""
    async with Simulator(models=shelf()) as server:
        asking = client.begin(server, model="b")
        await server.wait_for_requests(1)
        server.unload("b")
        status, body = await asking
    assert (status, body["error"]["message"]) == (400, 'Failed to load model "b". Error: Operation canceled.')


@pytest.mark.parametrize("cancels", [False, True])
async def test_leaving_while_it_loads_is_a_switch(client: Any, cancels: bool) -> None:
    """A load goes on when nobody waits for it any more, or is given up: nobody knows."""
    async with Simulator(models=shelf(), unknowns=Unknowns(leaving_cancels_load=cancels)) as server:
        asking = client.begin(server, model="b")
        await client.until(lambda: server.models[1].load_progress is not None)
        asking.cancel()
        await server.requests[0].wait_ended()
        await asyncio.sleep(0)
        assert (server.models[1].load_progress is None) is cancels


async def test_a_load_that_others_wait_for_goes_on(client: Any) -> None:
    """A load is given up only when the last that waits for it has left."""
    async with Simulator(models=shelf(), unknowns=Unknowns(leaving_cancels_load=True)) as server:
        asking = [client.begin(server, model="b") for _ in range(2)]
        await server.wait_for_requests(2)
        asking[0].cancel()
        await server.requests[0].wait_ended()
        server.load("b")
        assert (await asking[1])[0] == 200


async def test_a_load_that_nobody_waits_for_fails_silently(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A load whose failure nobody hears leaves no complaint in the log."""
    async with Simulator(models=shelf(load_fails="Operation canceled.")) as server:
        asking = client.begin(server, model="b")
        await client.until(lambda: server.models[1].load_progress is not None)
        asking.cancel()
        await server.requests[0].wait_ended()
        server.load("b")
        await client.until(lambda: server.models[1].load_progress is None)
    gc.collect()
    assert caplog.records == []


async def test_progress_is_told_while_any_load_lasts(client: Any) -> None:
    """Of two loads of a model, the one that lasts is still told when the other has ended."""
    async with Simulator(models=shelf()) as server:
        asking = client.begin(server, model="b")
        await client.until(lambda: server.models[1].load_progress is not None)
        server.models[1].load_seconds = 0.01
        assert (await client.post(server, "/api/v1/models/load", {"model": "b"}))[0] == 200
        assert server.models[1].load_progress is not None
        server.load("b")
        await asking
        assert server.models[1].load_progress is None


async def test_loads_that_race_are_a_switch(client: Any) -> None:
    """Where the server is said to race, requests that come during a load leave duplicates."""
    unknowns = Unknowns(concurrent_loads_duplicate=True)
    async with Simulator(models=shelf(load_seconds=0.02), unknowns=unknowns) as server:
        await asyncio.gather(*(client.begin(server, model="b") for _ in range(2)))
        assert server.models[1].instance_ids == ["b", "b:2"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("unload", "Model unloaded."),
        ("reload", "Model reloaded."),
        ("evict", "Model unloaded."),
        ("crash", "The model has crashed without additional information. (Exit code: null)"),
    ],
)
async def test_who_is_answered_and_who_waits_are_told(client: Any, how: str, words: str) -> None:
    """The running answer fails with the words of what happened, those in the queue with words of their own."""
    async with Simulator(models=shelf()) as server:
        server.answer(Answer("late", delay=60))
        running, waiting = client.begin(server, model="a"), client.begin(server, model="a")
        await client.until(lambda: (server.running("a"), server.queued("a")) == (1, 1))
        getattr(server, how)("a")
        assert server.queued("a") == 0
        assert await running == (400, {"error": words})
        assert await waiting == (400, QUEUED)
        assert (server.running("a"), server.queued("a")) == (0, 0)
        assert server.models[0].loaded is (how == "reload")
        assert (await client.whole(server, model="a"))[0] == 200


@pytest.mark.parametrize("done", [False, True])
async def test_a_running_stream_ends_in_an_event(client: Any, done: bool) -> None:
    """After the headers a failure is an error event; whether [DONE] follows is a switch."""
    async with Simulator(models=shelf(), unknowns=Unknowns(done_after_error=done)) as server:
        server.answer(SLOW)
        async with client.chat(server, model="a", stream=True) as response:
            begun = await response.content.readuntil(b"\n\n")
            server.crash("a", exit_code=18446744072635812000)
            rest = await response.read()
        words = "The model has crashed without additional information. (Exit code: 18446744072635812000)"
        assert client.deltas(begun) == [{"role": "assistant", "content": "one"}]
        assert rest.startswith(b"event: error\n")
        assert client.events(rest) == [{"error": {"message": words}, "message": words}, *["[DONE]"] * done]
        server.answer(Answer("x", stream_fault=StreamFault("error", 0, "odd")))
        assert (await client.stream(server, model="a")).endswith(b"[DONE]\n\n") is done


async def test_a_whole_answer_that_has_begun_is_cut(client: Any) -> None:
    """Where headers have promised a body, a crash is a body that does not come."""
    async with Simulator(models=shelf()) as server:
        server.answer(Answer("late", delay_first=60))
        response = await client.chat(server, model="a")
        server.crash("a")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.readany()
        response.close()


async def test_a_script_may_crash_its_own_model(client: Any) -> None:
    """A script that crashes the model that it answers for gets its words like anybody else."""
    async with Simulator(models=shelf()) as server:

        def crash(_: Any) -> str:
            server.crash("a")
            return "never"

        server.script(crash)
        status, body = await client.whole(server, model="a")
    assert (status, body["error"][:21]) == (400, "The model has crashed")


@pytest.mark.parametrize("keeps", [False, True])
async def test_after_a_crash(client: Any, keeps: bool) -> None:
    """Without JIT loading nothing is loaded after a crash; or it is listed but dead until it is unloaded: a switch."""
    models = [SimulatedModel("a", loaded=True)]
    async with Simulator(models=models, jit=False, unknowns=Unknowns(crash_keeps_listing=keeps)) as server:
        server.crash("a")
        listed = (await client.get(server, "/v1/models"))[1]["data"]
        status, body = await client.whole(server, model="a")
        assert ([entry["id"] for entry in listed], status) == (["a"] * keeps, 400)
        assert json.dumps(body).count("The model has crashed" if keeps else "No models loaded") == 1
        server.reload("a")
        assert (await client.whole(server, model="a"))[0] == (200 if keeps else 400)


async def test_a_load_mends_a_crash(client: Any) -> None:
    """A crashed model that is still listed answers again once it was taken down by hand and loaded anew."""
    models = [SimulatedModel("a", loaded=True)]
    async with Simulator(models=models, unknowns=Unknowns(crash_keeps_listing=True)) as server:
        server.crash("a")
        assert (await client.whole(server, model="a"))[0] == 400
        server.models[0].loaded = False
        assert (await client.whole(server, model="a"))[0] == 200


@pytest.mark.parametrize("kills", [False, True])
async def test_a_load_on_request_makes_room(client: Any, kills: bool) -> None:
    """At most one model that was loaded on request stays; its running answers are killed or go on: a switch."""
    models = [SimulatedModel("a"), SimulatedModel("b")]
    async with Simulator(models=models, unknowns=Unknowns(evict_kills_running=kills)) as server:
        server.answer(Answer("late", delay=60 if kills else 0.02))
        running = client.begin(server, model="a")
        await client.until(lambda: server.running("a") == 1)
        assert (await client.whole(server, model="b"))[1]["model"] == "b"
        assert [model.loaded for model in models] == [False, True]
        assert (await running)[0] == (400 if kills else 200)


async def test_room_is_made_before_the_load(client: Any) -> None:
    """What was loaded on request is gone as soon as the next load begins, not when it ends."""
    async with Simulator(models=[SimulatedModel("a"), *shelf()[1:]]) as server:
        await client.whole(server, model="a")
        asking = client.begin(server, model="b")
        await client.until(lambda: server.models[1].load_progress is not None)
        assert not server.models[0].loaded
        server.load("b")
        await asking


async def test_room_is_made_for_loads_that_overlap(client: Any) -> None:
    """Of two models that load on request at the same time, one stays."""
    models = [SimulatedModel("a", load_seconds=0.02), SimulatedModel("b", load_seconds=0.01)]
    async with Simulator(models=models) as server:
        await asyncio.gather(client.whole(server, model="a"), client.whole(server, model="b"))
        assert sum(model.loaded for model in models) == 1


async def test_room_need_not_be_made(client: Any) -> None:
    """Without auto-evict, loads on request add up."""
    models = [SimulatedModel("a"), SimulatedModel("b")]
    async with Simulator(models=models, auto_evict=False) as server:
        for key in "ab":
            await client.whole(server, model=key)
    assert [model.loaded for model in models] == [True, True]


async def test_a_server_that_stops_ends_its_loads(client: Any) -> None:
    """Leaving the block ends a load that nobody could end any more."""
    async with Simulator(models=shelf()) as server:
        asking = client.begin(server, model="b")
        await client.until(lambda: server.models[1].load_progress is not None)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await asking
    assert server.models[1].load_progress is None
