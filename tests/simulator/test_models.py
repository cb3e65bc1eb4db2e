"""The listings, and who answers when which model is asked."""

from __future__ import annotations

from typing import Any

import pytest

from neuroroute.simulator import SimulatedModel, Simulator


def ids(body: Any) -> list[str]:
    return [entry["id"] for entry in body["data"]]


async def test_the_three_listings_show_one_shelf(server: Simulator, client: Any) -> None:
    """With JIT loading every listing shows what is on disk; v0 and v1 tell what is loaded."""
    names = ["llama3", "qwen3-8b", "text-embedding-nomic-embed-text-v1.5"]
    assert ids((await client.get(server, "/v1/models"))[1]) == names
    _, v0 = await client.get(server, "/api/v0/models")
    assert [(entry["id"], entry["state"], entry["type"]) for entry in v0["data"]] == [
        (names[0], "loaded", "llm"),
        (names[1], "not-loaded", "llm"),
        (names[2], "not-loaded", "embeddings"),
    ]
    _, v1 = await client.get(server, "/api/v1/models")
    assert [(entry["key"], len(entry["loaded_instances"])) for entry in v1["models"]] == [
        (names[0], 1),
        (names[1], 0),
        (names[2], 0),
    ]


async def test_a_v1_entry_has_the_documented_shape(client: Any) -> None:
    """The native listing tells context, slots, capabilities and the settings of reasoning."""
    model = SimulatedModel("gpt-oss", loaded=True, instances=2, vision=True, reasoning=("low", "high"), parallel=2)
    async with Simulator(models=[model]) as server:
        entry = (await client.get(server, "/api/v1/models"))[1]["models"][0]
    assert [instance["id"] for instance in entry["loaded_instances"]] == ["gpt-oss", "gpt-oss:2"]
    assert entry["loaded_instances"][0]["config"]["context_length"] == 4096
    assert entry["loaded_instances"][0]["config"]["parallel"] == 2
    assert entry["capabilities"] == {
        "vision": True,
        "trained_for_tool_use": True,
        "reasoning": {"allowed_options": ["low", "high"], "default": "low"},
    }


async def test_mlx_tells_less_of_its_configuration(client: Any) -> None:
    """An MLX instance's configuration has context and slots only, and an embedding model no capabilities."""
    models = [
        SimulatedModel("m", loaded=True, format="mlx"),
        SimulatedModel("e", loaded=True, type="embedding"),
    ]
    async with Simulator(models=models) as server:
        one, other = (await client.get(server, "/api/v1/models"))[1]["models"]
    assert one["loaded_instances"][0]["config"] == {"context_length": 4096, "parallel": 4}
    assert "capabilities" not in other


async def test_one_v0_model_is_found_by_its_key(client: Any) -> None:
    """A key may have a slash, and matches in any case; an unknown one is a 404."""
    async with Simulator(models=[SimulatedModel("qwen/Qwen3-8B", vision=True)]) as server:
        status, entry = await client.get(server, "/api/v0/models/qwen/qwen3-8b")
        assert (status, entry["id"], entry["type"]) == (200, "qwen/Qwen3-8B", "vlm")
        assert (await client.get(server, "/api/v0/models/x"))[0] == 404


async def test_without_jit_only_loaded_models_are_listed(client: Any) -> None:
    """With JIT loading off, v0 and /v1 list only what is loaded; v1 lists everything."""
    async with Simulator(jit=False) as server:
        assert ids((await client.get(server, "/v1/models"))[1]) == ["llama3"]
        assert ids((await client.get(server, "/api/v0/models"))[1]) == ["llama3"]
        assert len((await client.get(server, "/api/v1/models"))[1]["models"]) == 3


async def test_a_lone_model_answers_for_any_other(server: Simulator, client: Any) -> None:
    """An unknown model with exactly one loaded is a 200, answered by that one, which only ``model`` shows."""
    status, body = await client.whole(server, model="no-such-model")
    assert (status, body["model"]) == (200, "llama3")


async def test_an_unknown_model_among_several_is_refused(client: Any) -> None:
    """With two loaded models an unknown one is a 400 that names what there is."""
    models = [SimulatedModel("a", loaded=True), SimulatedModel("b", loaded=True)]
    async with Simulator(models=models) as server:
        status, body = await client.whole(server, model="x")
    assert status == 400
    assert body["error"] == {
        "message": 'Invalid model identifier "x". Please specify a valid downloaded model (e.g., a, b).',
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_with_nothing_loaded_the_server_says_so(client: Any) -> None:
    """No model loaded and an unknown one asked for: 400, without a code."""
    async with Simulator(models=[SimulatedModel("a")]) as server:
        status, body = await client.whole(server, model="x")
    assert (status, body["error"]["code"], body["error"]["param"]) == (400, None, "model")
    assert body["error"]["message"].startswith("No models loaded.")


async def test_a_request_loads_its_model(client: Any) -> None:
    """JIT loading loads a known model on its first request and makes room by unloading the one it loaded before."""
    models = [SimulatedModel("pinned", loaded=True), SimulatedModel("a"), SimulatedModel("b")]
    async with Simulator(models=models) as server:
        for name in ("A", "b"):
            assert (await client.whole(server, model=name))[1]["model"] == name.lower()
    assert [model.loaded for model in models] == [True, False, True]


async def test_without_jit_no_request_loads_a_model(client: Any) -> None:
    """With JIT loading off a model that is not loaded is as good as unknown."""
    async with Simulator(jit=False) as server:
        assert (await client.whole(server, model="qwen3-8b"))[1]["model"] == "llama3"
        assert not server.models[1].loaded


async def test_an_embedding_model_never_answers_a_chat(client: Any) -> None:
    """A loaded embedding model counts for nothing where a chat is asked for."""
    async with Simulator(models=[SimulatedModel("e", type="embedding", loaded=True)]) as server:
        assert (await client.whole(server, model="e"))[0] == 400


@pytest.mark.parametrize("asked", ["llama3:2", "LLAMA3:1"])
async def test_instance_ids_match_exactly(client: Any, asked: str) -> None:
    """What is neither a key, in any case, nor an instance id, exactly, is unknown."""
    models = [SimulatedModel("llama3", loaded=True), SimulatedModel("other", loaded=True)]
    async with Simulator(models=models) as server:
        assert (await client.whole(server, model=asked))[0] == 400
