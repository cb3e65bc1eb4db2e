"""Embeddings, as the real server words them."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import aiohttp
import pytest

from neuroroute.simulator import Answer, Fail, FaultPlan, SimulatedModel, Simulator, Unknowns, WholeFault
from neuroroute.simulator.embeddings import truncated, vector_of

PATH = "/v1/embeddings"
NOMIC = "text-embedding-nomic-embed-text-v1.5"


def embed(client: Any, server: Simulator, given: object = "hello there", **fields: Any) -> Any:
    return client.post(server, fields.pop("path", PATH), {"model": NOMIC, "input": given, **fields})


async def test_the_documented_shape(server: Simulator, client: Any) -> None:
    """A text gets one vector, a list gets one for each in order; tokens are never counted, other fields ignored."""
    server.models[2].dimensions = 3
    assert await embed(client, server, "one", encoding_format="base64", dimensions=2) == (
        200,
        {
            "object": "list",
            "data": [{"object": "embedding", "embedding": vector_of("one", 3), "index": 0}],
            "model": NOMIC,
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
        },
    )
    _, body = await embed(client, server, ["one", "two"])
    assert [(item["index"], item["embedding"]) for item in body["data"]] == [
        (0, vector_of("one", 3)),
        (1, vector_of("two", 3)),
    ]


def test_vectors() -> None:
    """The same text has the same vector in every run, another has another, and each is of length 1."""
    assert vector_of("a", 3) == [-0.45671713, -0.86679989, 0.20016844]
    assert len({tuple(vector_of(text, 8)) for text in ("a", "b", "a b", "b a", "")}) == 5
    assert math.hypot(*vector_of("a", 768)) == pytest.approx(1)


async def test_what_is_too_long_is_cut_and_not_told(server: Simulator, client: Any) -> None:
    """Only what fits the loaded context counts, and nothing in the answer tells."""
    assert [truncated("a  b c", size) for size in (1, 2, 3)] == ["a", "a  b", "a  b c"]
    server.models[2].context_length = 2
    status, body = await embed(client, server, ["one two three", "one two four", "one two"])
    assert status == 200
    assert [item["embedding"] for item in body["data"]] == [vector_of("one two", 8)] * 3


@pytest.mark.parametrize("given", [[1, 2], [[1, 2]], ["a", 1], 7, None, {}])
async def test_token_ids_are_refused(server: Simulator, client: Any, given: object) -> None:
    """What is neither a text nor a list of texts is a 400."""
    assert await embed(client, server, given) == (
        400,
        {"error": "'input' field must be a string or an array of strings"},
    )


async def test_which_model_answers(server: Simulator, client: Any) -> None:
    """A model loads on request; an LLM is refused, and so is an unknown one, whatever else is loaded."""
    assert not server.models[2].loaded
    assert (await embed(client, server))[0] == 200
    assert server.models[2].loaded_on_request
    for asked in ("llama3", "QWEN3-8b"):
        status, body = await embed(client, server, model=asked)
        assert (status, body["error"]["message"]) == (
            400,
            f'Failed to load model "{asked}". Error: Model is not embedding.',
        )
    status, body = await embed(client, server, model="nobody")
    assert (status, body["error"]["code"]) == (400, "model_not_found")
    server.unknowns = Unknowns(embeddings_by_any=True)
    assert (await embed(client, server, model="nobody"))[1]["model"] == NOMIC
    server.jit = False
    server.unload(NOMIC)
    status, body = await embed(client, server)
    assert (status, body["error"]["message"][:17]) == (400, "No models loaded.")


async def test_v0(server: Simulator, client: Any) -> None:
    """The route of v0 says the same, where there is one."""
    assert await embed(client, server, path="/api/v0/embeddings") == await embed(client, server)
    server.surfaces = ()
    assert "Unexpected endpoint" in (await embed(client, server, path="/api/v0/embeddings"))[1]["error"]


async def test_what_is_scripted(server: Simulator, client: Any) -> None:
    """Failures and answers of its path come in turn, and the queue of texts is not touched."""
    server.answer("for a chat")
    server.fail("embeddings_token_ids")
    server.answer(Answer(model="other", usage={"total_tokens": 2}), path=PATH)
    server.fail(Fail(503), path=PATH)
    server.answer(Answer(raw_chunks=[b"ra", b"w"], content_type="text/plain"), path=PATH)
    assert (await embed(client, server))[0] == 400
    _, body = await embed(client, server)
    assert (body["model"], body["usage"]) == ("other", {"total_tokens": 2})
    async with client.session.post(server.origin + PATH, json={"model": NOMIC, "input": "x"}) as response:
        assert response.status == 503
    async with client.session.post(server.origin + PATH, json={"model": NOMIC, "input": "x"}) as response:
        assert await response.text() == "raw"
    assert (await client.whole(server))[1]["choices"][0]["message"]["content"] == "for a chat"


async def test_it_fails_as_chat_does(server: Simulator, client: Any) -> None:
    """A plan of faults strikes it, an answer can be cut, and a crash is a 400."""
    FaultPlan("crash_null@1").apply(server)
    assert (await embed(client, server))[1]["error"][:21] == "The model has crashed"
    server.answer(Answer(whole_fault=WholeFault("cut", 5)), path=PATH)
    with pytest.raises(aiohttp.ClientPayloadError):
        await embed(client, server)
    server.answer(Answer(delay=60), path=PATH)
    asking = asyncio.create_task(embed(client, server))
    await client.until(lambda: server.running(NOMIC) == 1)
    server.crash(NOMIC)
    assert (await asking)[0] == 400


async def test_it_takes_its_time_and_its_slot(client: Any) -> None:
    """A model reads at its pace, and so many requests at once as it has slots."""
    model = SimulatedModel(NOMIC, type="embedding", loaded=True, parallel=1, prefill_tokens_per_second=100)
    async with Simulator(models=[model]) as server:
        server.answer(Answer(delay=60), path=PATH)
        busy = asyncio.create_task(embed(client, server))
        await client.until(lambda: server.running(NOMIC) == 1)
        waiting = asyncio.create_task(embed(client, server))
        await client.until(lambda: server.queued(NOMIC) == 1)
        busy.cancel()
        assert (await waiting)[0] == 200
        began = time.monotonic()
        await embed(client, server, "one two")
        assert time.monotonic() - began >= 0.019
