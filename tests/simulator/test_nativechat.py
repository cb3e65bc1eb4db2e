"""The native chat, whole and streamed."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import aiohttp
import pytest

from neuroroute.simulator import (
    Answer,
    Fail,
    FaultPlan,
    SimulatedModel,
    Simulator,
    StreamFault,
    Unknowns,
    WholeFault,
)

PATH = "/api/v1/chat"


async def told(client: Any, server: Simulator, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream; each one's name is the type in its data."""
    body = {"model": "llama3", "input": "hi there", "stream": True, **fields}
    async with client.session.post(f"{server.origin}{PATH}", json=body) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        lines = (await response.text()).split("\n\n")
    events = [line.split("\n") for line in lines if line]
    found = [json.loads(data.removeprefix("data: ")) for _, data in events]
    assert [name.removeprefix("event: ") for name, _ in events] == [event["type"] for event in found]
    return found


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def test_a_whole_answer(server: Simulator, client: Any) -> None:
    """Reasoning and message are items of the output; the stats count words; the answer has an id."""
    server.answer(Answer("yes it is", reasoning="let me see now"))
    status, body = await client.post(
        server, PATH, {"model": "LLAMA3", "input": "is it so", "system_prompt": "be brief"}
    )
    assert status == 200
    assert body["model_instance_id"] == "llama3"
    assert body["output"] == [
        {"type": "reasoning", "content": "let me see now"},
        {"type": "message", "content": "yes it is"},
    ]
    counts = ("input_tokens", "total_output_tokens", "reasoning_output_tokens")
    assert [body["stats"][name] for name in counts] == [5, 7, 4]
    assert body["response_id"].startswith("resp_")


async def test_a_stream_tells_the_same(server: Simulator, client: Any) -> None:
    """A stream goes from chat.start to chat.end, which has what a whole answer would have."""
    server.answer(Answer("yes it is", reasoning="hm"), times=2)
    events = await told(client, server, store=False)
    assert types(events) == [
        "chat.start",
        "prompt_processing.start",
        *["prompt_processing.progress"] * 3,
        "prompt_processing.end",
        "reasoning.start",
        "reasoning.delta",
        "reasoning.end",
        "message.start",
        *["message.delta"] * 3,
        "message.end",
        "chat.end",
    ]
    assert [event["content"] for event in events if event["type"] == "message.delta"] == ["yes", " it", " is"]
    _, whole = await client.post(server, PATH, {"model": "llama3", "input": "hi there", "store": False})
    assert events[-1]["result"] == whole
    assert "response_id" not in whole


async def test_it_remembers(server: Simulator, client: Any) -> None:
    """An answer's id continues what was said, from any point; an id that is not stored is refused."""
    _, first = await client.post(server, PATH, {"model": "llama3", "input": "one two", "system_prompt": "be brief"})
    assert first["output"][0]["content"] == "You said: one two"
    for _ in range(2):
        events = await told(client, server, input="three", previous_response_id=first["response_id"])
        assert events[-1]["result"]["stats"]["input_tokens"] == 2 + 2 + 4 + 1
    other = {"input": "three", "previous_response_id": first["response_id"], "system_prompt": "be very long please"}
    assert (await told(client, server, **other))[-1]["result"]["stats"]["input_tokens"] == 4 + 2 + 4 + 1
    again = {"model": "llama3", "input": "x", "previous_response_id": events[-1]["result"]["response_id"]}
    assert (await client.post(server, PATH, again))[1]["stats"]["input_tokens"] == 9 + 3 + 1
    status, body = await client.post(server, PATH, {"model": "llama3", "input": "x", "previous_response_id": "resp_x"})
    assert (status, body["error"]["param"]) == (400, "previous_response_id")
    assert body["error"]["message"].startswith("Could not find stored response for previous_response_id 'resp_x'.")


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({"input": "x"}, 400, "missing_required_parameter", '"model" is required'),
        ({"model": "llama3"}, 400, "missing_required_parameter", '"input" is required'),
        ({"model": "llama3", "input": "x", "ttl": 1}, 400, "unrecognized_keys", "Unrecognized key(s) in object: 'ttl'"),
        ({"model": "x", "input": "x"}, 404, "model_not_found", 'Model "x" not found.'),
        (
            {"model": "qwen3-8b", "input": "x", "reasoning": "low"},
            400,
            "invalid_value",
            "Reasoning setting 'low' is not supported by model 'qwen3-8b'. Supported settings: 'on', 'off'.",
        ),
        (
            {"model": "llama3", "input": "word " * 4096},
            500,
            "unknown",
            "The number of tokens to keep from the initial prompt is greater than the context length.",
        ),
        (
            {"model": "llama3", "input": [{"type": "image", "data_url": "data:image/png;base64,AA=="}]},
            500,
            "unknown",
            "Vision add-on is not loaded, but images were provided",
        ),
    ],
)
async def test_what_is_refused(
    server: Simulator, client: Any, body: dict[str, Any], status: int, code: str, message: str
) -> None:
    """What is wrong is said in an object, before the first event, and takes no answer from the queue."""
    server.answer("kept")
    got, said = await client.post(server, PATH, body)
    assert (got, said["error"]["code"], said["error"]["message"][: len(message)]) == (status, code, message)
    _, kept = await client.post(server, PATH, {"model": "llama3", "input": [{"type": "text", "content": "x"}]})
    assert kept["output"] == [{"type": "message", "content": "kept"}]


async def test_reasoning_is_turned_off(server: Simulator, client: Any) -> None:
    """A model that lists ``off`` leaves its reasoning out when asked to."""
    server.answer(Answer("yes", reasoning="hm"))
    _, body = await client.post(server, PATH, {"model": "qwen3-8b", "input": "x", "reasoning": "off"})
    assert body["output"] == [{"type": "message", "content": "yes"}]


async def test_a_load_is_told_while_it_lasts(client: Any) -> None:
    """A stream tells of the load that its request begins, with a context as asked for."""
    async with Simulator(models=[SimulatedModel("a", load_seconds=0.06)]) as server:
        events = await told(client, server, model="a", context_length=99)
        assert server.models[0].config("a")["context_length"] == 99
    named = types(events)
    assert named[:3] == ["chat.start", "model_load.start", "model_load.progress"]
    assert named.index("model_load.end") < named.index("prompt_processing.start")
    progress = [event["progress"] for event in events if event["type"] == "model_load.progress"]
    assert progress == sorted(progress)
    assert 0 < progress[-1] <= 1
    end = next(event for event in events if event["type"] == "model_load.end")
    assert end["load_time_seconds"] == events[-1]["result"]["stats"]["model_load_time_seconds"] >= 0.06


@pytest.mark.parametrize("ends", [True, False])
async def test_a_load_that_fails_is_an_event(client: Any, ends: bool) -> None:
    """After chat.start a failure is an error event; chat.end follows it, or does not: a switch."""
    models = [SimulatedModel("a", load_fails="Operation canceled.")]
    async with Simulator(models=models, unknowns=Unknowns(native_error_ends=ends)) as server:
        events = [event for event in await told(client, server, model="a") if event["type"] != "model_load.progress"]
        assert types(events) == ["chat.start", "model_load.start", "error", *["chat.end"] * ends]
        assert events[2]["error"] == {
            "type": "internal_error",
            "code": "unknown",
            "message": 'Failed to load model "a". Error: Operation canceled.',
        }
        assert (await client.post(server, PATH, {"model": "a", "input": "x"}))[0] == 500


async def test_a_crash_in_a_stream(server: Simulator, client: Any) -> None:
    """A crash ends a stream with an error and with what was said so far."""
    server.answer(Answer("one two three", delay_between=60))
    asked = {"model": "llama3", "input": "x", "stream": True}
    async with client.session.post(f"{server.origin}{PATH}", json=asked) as response:
        await response.content.readuntil(b'"content":"one"}\n\n')
        await asyncio.sleep(0.005)
        server.crash("llama3")
        rest = await response.text()
    events = [json.loads(line.removeprefix("data: ")) for line in rest.split("\n") if line.startswith("data")]
    assert types(events) == ["error", "chat.end"]
    assert events[1]["result"]["output"] == [{"type": "message", "content": "one"}]


async def test_a_crash_before_a_whole_answer(server: Simulator, client: Any) -> None:
    """A crash before a whole answer is a 500, in the envelope of the native routes."""
    server.models[0].tokens_per_second = 0.1
    asking = asyncio.create_task(client.post(server, PATH, {"model": "llama3", "input": "x"}))
    await client.until(lambda: server.running("llama3") == 1)
    server.crash("llama3")
    status, body = await asking
    assert (status, body["error"]["type"], body["error"]["message"][:21]) == (
        500,
        "internal_error",
        "The model has crashed",
    )


async def test_a_failure_from_the_queue(server: Simulator, client: Any) -> None:
    """A queued failure is sent word for word; one that a script gives in a stream is an event."""
    server.fail(Fail(429, {"error": "busy"}))
    assert await client.post(server, PATH, {"model": "llama3", "input": "x"}) == (429, {"error": "busy"})
    server.fail("native_overflow")
    assert (await client.post(server, PATH, {"model": "llama3", "input": "x"}))[0] == 500
    server.script(lambda _: Fail(500, "engine gone"))
    events = await told(client, server)
    assert (events[-2]["type"], events[-2]["error"]["message"]) == ("error", "engine gone")


@pytest.mark.parametrize(
    ("kind", "ends"),
    [("error", ["error", "chat.end"]), ("end", []), ("no_finish", []), ("no_done", [])],
)
async def test_a_stream_goes_wrong(server: Simulator, client: Any, kind: Any, ends: list[str]) -> None:
    """Faults of a stream come after so many deltas, and a stream may end without its end."""
    server.answer(Answer("one two three", stream_fault=StreamFault(kind, after=2)))
    events = await told(client, server)
    assert types(events)[types(events).index("message.start") :] == ["message.start", *["message.delta"] * 2, *ends]


async def test_a_stream_is_cut(server: Simulator, client: Any) -> None:
    """A stream is cut in the middle of its body."""
    server.answer(Answer("one two three", stream_fault=StreamFault("cut", after=2)))
    with pytest.raises(aiohttp.ClientPayloadError):
        await told(client, server)


async def test_the_prompt_ends_twice(client: Any) -> None:
    """Where the server is said to, it ends the reading of the prompt twice."""
    async with Simulator(unknowns=Unknowns(prefill_ends_twice=True)) as server:
        assert types(await told(client, server)).count("prompt_processing.end") == 2


async def test_it_waits_for_a_slot(client: Any) -> None:
    """The native chat and the other share a model's slots."""
    async with Simulator(models=[SimulatedModel("llama3", loaded=True, parallel=1)]) as server:
        server.answer(Answer("late", delay=0.03))
        busy = client.begin(server)
        await client.until(lambda: server.running("llama3") == 1)
        waiting = asyncio.create_task(told(client, server))
        await client.until(lambda: server.queued("llama3") == 1)
        await busy
        assert types(await waiting)[-1] == "chat.end"


@pytest.mark.parametrize("cancels", [False, True])
async def test_who_leaves_while_it_loads(client: Any, cancels: bool) -> None:
    """A client that leaves during the load has closed early; the load goes on or is given up, as the switch says."""
    unknowns = Unknowns(leaving_cancels_load=cancels)
    async with Simulator(models=[SimulatedModel("a", load_seconds=math.inf)], unknowns=unknowns) as server:
        asking = asyncio.create_task(told(client, server, model="a"))
        await client.until(lambda: server.models[0].load_progress is not None)
        asking.cancel()
        await server.requests[0].wait_ended()
        assert server.requests[0].closed_early
        await asyncio.sleep(0.005)
        assert server.models[0].load_progress == (None if cancels else 0.0)


async def test_without_jit_it_loads_nothing(client: Any) -> None:
    """Without JIT loading a model that is not loaded is not found."""
    async with Simulator(jit=False) as server:
        assert (await client.post(server, PATH, {"model": "qwen3-8b", "input": "x"}))[0] == 404


async def test_a_stream_that_only_starts(server: Simulator, client: Any) -> None:
    """A stream may end after chat.start, with neither error nor end; the next is whole again."""
    FaultPlan("stream:start@1").apply(server)
    assert types(await told(client, server)) == ["chat.start"]
    assert types(await told(client, server))[-1] == "chat.end"


async def test_a_whole_answer_goes_wrong(server: Simulator, client: Any) -> None:
    """A whole answer is cut on the wire as told, and has the headers that it is given."""
    server.answer(Answer("one", whole_fault=WholeFault("end", 9), headers={"X-A": "b"}))
    body = {"model": "llama3", "input": "x"}
    async with client.session.post(f"{server.origin}{PATH}", json=body) as response:
        assert (len(await response.read()), response.headers["X-A"]) == (9, "b")


@pytest.mark.parametrize(
    ("fail", "error"),
    [
        (Fail(500, "engine gone"), {"type": "internal_error", "code": "unknown", "message": "engine gone"}),
        (
            Fail(400, {"error": "Channel Error"}),
            {"type": "internal_error", "code": "unknown", "message": "Channel Error"},
        ),
        (
            Fail(400, {"error": {"type": "mcp_connection_error", "message": "no mcp", "code": None}}),
            {"type": "mcp_connection_error", "message": "no mcp"},
        ),
    ],
)
async def test_a_failure_as_an_event(server: Simulator, client: Any, fail: Fail, error: dict[str, str]) -> None:
    """A failure given by a script is told in a stream with its own type, or as what happens at run time."""
    server.script(lambda _: fail)
    assert next(event for event in await told(client, server) if event["type"] == "error")["error"] == error
