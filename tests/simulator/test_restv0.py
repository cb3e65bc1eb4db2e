"""The routes of v0: those of OpenAI, and what they add."""

from __future__ import annotations

from typing import Any

import pytest

from neuroroute.simulator import Answer, SimulatedModel, Simulator

ROUTES = [("/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}), ("/completions", {"prompt": "hi"})]


@pytest.mark.parametrize(("path", "asked"), ROUTES, ids=["chat", "completions"])
async def test_what_v0_adds(client: Any, path: str, asked: dict[str, Any]) -> None:
    """An answer of v0 is that of the OpenAI-compatible route with stats, model_info and runtime, in both modes."""
    model = SimulatedModel("llama3", loaded=True, context_length=99, tokens_per_second=500)
    answer = Answer("one two", finish_reason="length", stats={"stop_reason": "scripted"}, id="x", created=1)
    async with Simulator(models=[model]) as server:
        server.answer(answer, times=3)
        _, plain = await client.post(server, f"/v1{path}", asked)
        _, body = await client.post(server, f"/api/v0{path}", asked)
        assert body == {
            **plain,
            "stats": {
                "tokens_per_second": 500.0,
                "time_to_first_token": 0.002,
                "generation_time": 0.004,
                "stop_reason": "scripted",
            },
            "model_info": {"arch": "llama", "quant": "Q4_K_M", "format": "gguf", "context_length": 99},
            "runtime": {"name": "llama.cpp-linux-x86_64-avx2", "version": "1.3.0", "supported_formats": ["gguf"]},
        }
        async with client.session.post(f"{server.origin}/api/v0{path}", json={**asked, "stream": True}) as response:
            *deltas, last, done = client.events(await response.read())
    assert (last["choices"][0]["finish_reason"], done) == ("length", "[DONE]")
    added = ("stats", "model_info", "runtime")
    assert [last[name] for name in added] == [body[name] for name in added]
    assert not any(name in delta for name in added for delta in deltas)


async def test_why_it_stopped(server: Simulator, client: Any) -> None:
    """The stats tell in the engine's words why the model stopped."""
    server.answer("x")
    server.answer(Answer("x", finish_reason="length"))
    server.answer(Answer(tool_calls=[("f", {})]))
    bodies = [await client.post(server, "/api/v0/chat/completions", ROUTES[0][1]) for _ in range(3)]
    assert [body["stats"]["stop_reason"] for _, body in bodies] == [
        "eosFound",
        "maxPredictedTokensReached",
        "toolCalls",
    ]


@pytest.mark.parametrize(("path", "asked"), ROUTES, ids=["chat", "completions"])
async def test_a_version_without_v0(client: Any, path: str, asked: dict[str, Any]) -> None:
    """Where there is no v0, its routes are unknown ones."""
    async with Simulator(profile="0.3.5") as server:
        assert (await client.post(server, f"/api/v0{path}", asked)) == (
            200,
            {"error": f"Unexpected endpoint or method. (POST /api/v0{path})"},
        )
