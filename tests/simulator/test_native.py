"""Loading and unloading by the native routes."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator

LOAD, UNLOAD = "/api/v1/models/load", "/api/v1/models/unload"


async def test_a_load_answers_what_was_loaded(server: Simulator, client: Any) -> None:
    """The answer names the instance, and its configuration where that is asked for."""
    status, body = await client.post(server, LOAD, {"model": "QWEN3-8b"})
    assert status == 200
    assert body.pop("load_time_seconds") >= 0
    assert body == {"type": "llm", "instance_id": "qwen3-8b", "status": "loaded"}
    asked = {"model": "text-embedding-nomic-embed-text-v1.5", "context_length": 64, "echo_load_config": True}
    _, body = await client.post(server, LOAD, asked)
    assert (body["type"], body["load_config"]) == ("embedding", {"context_length": 64})
    assert not server.models[1].loaded_on_request


async def test_loading_again_makes_a_duplicate(server: Simulator, client: Any) -> None:
    """Whatever is loaded of a model, a load adds an instance; the lowest free number is taken."""
    for name in ("llama3:2", "llama3:3"):
        assert (await client.post(server, LOAD, {"model": "llama3"}))[1]["instance_id"] == name
    assert await client.post(server, UNLOAD, {"instance_id": "llama3"}) == (200, {"instance_id": "llama3"})
    assert server.models[0].instance_ids == ["llama3:2", "llama3:3"]
    assert (await client.whole(server))[1]["model"] == "llama3:2"
    await client.post(server, UNLOAD, {"instance_id": "llama3:2"})
    for name in ("llama3", "llama3:2", "llama3:4"):
        assert (await client.post(server, LOAD, {"model": "llama3"}))[1]["instance_id"] == name


async def test_too_long_a_context_is_the_maximum(server: Simulator, client: Any) -> None:
    """A context above the model's maximum is accepted without a word; the listings tell what was loaded."""
    status, body = await client.post(server, LOAD, {"model": "llama3", "context_length": 10**9})
    assert (status, body["status"]) == (200, "loaded")
    listed = (await client.get(server, "/api/v1/models"))[1]["models"][0]["loaded_instances"]
    assert [instance["config"]["context_length"] for instance in listed] == [4096, 32768]
    older = (await client.get(server, "/api/v0/models"))[1]["data"]
    assert [entry["loaded_context_length"] for entry in older[:2]] == [4096, 32768]


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        (LOAD, {}, "missing_required_parameter", '"model" is required'),
        (LOAD, {"model": "llama3", "ttl": 1, "x": 2}, "unrecognized_keys", "Unrecognized key(s) in object: 'ttl', 'x'"),
        (LOAD, {"model": "llama3", "num_experts": "many"}, "invalid_value", "Invalid value for 'num_experts'"),
        (LOAD, {"model": "x"}, "model_not_found", 'Model "x" not found.'),
        (UNLOAD, {"model": "llama3"}, "missing_required_parameter", '"instance_id" is required'),
        (UNLOAD, {"instance_id": "LLAMA3"}, "model_not_found", 'Model "LLAMA3" not found.'),
    ],
)
async def test_what_is_refused(
    server: Simulator, client: Any, path: str, body: dict[str, Any], code: str, message: str
) -> None:
    """The native routes say what is wrong, in an object; keys match in any case, instances exactly."""
    got, said = await client.post(server, path, body)
    assert (got, said["error"]["code"], said["error"]["message"]) == (
        404 if code == "model_not_found" else 400,
        code,
        message,
    )
    assert server.models[0].instance_ids == ["llama3"]


async def test_a_body_that_is_no_json(server: Simulator, client: Any) -> None:
    """What is answered to a broken body is the same switch as for chat."""
    async with client.session.post(f"{server.origin}{LOAD}", data=b"{") as response:
        assert (response.status, await response.json()) == (400, {"error": "Invalid JSON in the request body"})


async def test_a_load_that_fails_has_the_native_envelope(server: Simulator, client: Any) -> None:
    """The reason comes in the envelope of the route, a response word for word."""
    server.models[1].load_fails = "Model loading aborted due to insufficient system resources."
    status, body = await client.post(server, LOAD, {"model": "qwen3-8b"})
    assert (status, body["error"]["type"], body["error"]["code"]) == (500, "internal_error", "unknown")
    assert body["error"]["message"].startswith('Failed to load model "qwen3-8b". Error: Model loading aborted')
    server.models[1].load_fails = Fail(507, {"error": "full"})
    assert await client.post(server, LOAD, {"model": "qwen3-8b"}) == (507, {"error": "full"})


async def test_unloading_one_instance_leaves_loads_alone(server: Simulator, client: Any) -> None:
    """An instance that is unloaded ends its own answers, and no load of the same model."""
    server.models[0].load_seconds = math.inf
    server.answer(Answer("late", delay=60))
    loading = asyncio.create_task(client.post(server, LOAD, {"model": "llama3"}))
    running = client.begin(server)
    await client.until(lambda: server.running("llama3") == 1 and server.models[0].load_progress is not None)
    await client.post(server, UNLOAD, {"instance_id": "llama3"})
    assert await running == (400, {"error": "Model unloaded."})
    server.load("llama3")
    assert (await loading)[1]["instance_id"] == "llama3"


async def test_an_older_server_has_no_such_routes(client: Any) -> None:
    """Without the v1 surface they are unknown, and so a 200."""
    async with Simulator(surfaces=("v0",), models=[SimulatedModel("a")]) as server:
        for path in (LOAD, UNLOAD):
            said = {"error": f"Unexpected endpoint or method. (POST {path})"}
            assert await client.post(server, path, {"model": "a"}) == (200, said)
