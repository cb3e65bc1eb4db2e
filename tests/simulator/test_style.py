"""How long an answer takes, where its reasoning goes, and which prompts do not fit."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from neuroroute.simulator import Answer, SimulatedModel, Simulator, Unknowns


def only(**fields: Any) -> list[SimulatedModel]:
    return [SimulatedModel("llama3", loaded=True, **fields)]


@pytest.mark.parametrize(("early", "silent"), [(True, False), (False, True)])
async def test_a_long_prompt_takes_long(client: Any, early: bool, silent: bool) -> None:
    """The first delta comes after the prompt was read; whether the headers wait for that too is a switch."""
    unknowns = Unknowns(headers_before_prefill=early)
    async with Simulator(models=only(prefill_tokens_per_second=200), unknowns=unknowns) as server:
        began = time.monotonic()
        async with client.chat(server, "word " * 10, stream=True) as response:
            headers = time.monotonic() - began
            await response.content.readuntil(b"\n\n")
            first = time.monotonic() - began
        assert first >= 0.049
        assert (headers >= 0.049) is silent
        began = time.monotonic()
        await client.whole(server, "word " * 10)
        assert time.monotonic() - began >= 0.049


async def test_a_slow_model_takes_its_time_for_each_delta(client: Any) -> None:
    """Deltas of a stream come at the model's pace, and a whole answer takes as long as its stream."""
    async with Simulator(models=only(tokens_per_second=100)) as server:
        server.answer("one two three", times=2)
        began = time.monotonic()
        arrived: list[float] = []
        async with client.chat(server, stream=True) as response:
            for _ in range(3):
                await response.content.readuntil(b"\n\n")
                arrived.append(time.monotonic() - began)
        assert [at >= wanted for at, wanted in zip(arrived, (0.009, 0.019, 0.029), strict=True)] == [True] * 3
        began = time.monotonic()
        await client.whole(server)
        assert time.monotonic() - began >= 0.029


async def test_a_crash_while_the_prompt_is_read(client: Any) -> None:
    """A model that dies before the first delta: an event after the headers, a 400 before them."""
    for early in (True, False):
        unknowns = Unknowns(headers_before_prefill=early)
        async with Simulator(models=only(prefill_tokens_per_second=0.1), unknowns=unknowns) as server:
            asking = asyncio.create_task(client.chat(server, stream=True).__aenter__())
            await client.until(lambda server=server: server.running("llama3") == 1)
            if early:
                await asyncio.wait({asking})
            server.crash("llama3")
            response = await asking
            assert response.status == (200 if early else 400)
            assert b"The model has crashed" in await response.read()


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("0.3.16", "Trying to keep the first 12 tokens when context the overflows. However, the model is loaded with"),
        ("0.4.0", "Cannot truncate prompt with n_keep (12) >= n_ctx (12)"),
        ("0.4.25", "The number of tokens to keep from the initial prompt is greater than the context length. Try"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_does_not_fit_is_refused(client: Any, profile: str, words: str, stream: bool) -> None:
    """A prompt of as many words as the context, or more, is a 400 in the version's words, and takes no answer."""
    async with Simulator(profile=profile, models=only(context_length=12)) as server:
        server.answer("kept")
        status, body = await client.whole(server, "word " * 12, stream=stream)
        assert (status, body["error"][: len(words)]) == (400, words)
        assert (await client.whole(server, "word " * 11))[1]["choices"][0]["message"]["content"] == "kept"


async def test_a_larger_context_is_loaded_for_it(server: Simulator, client: Any) -> None:
    """What counts is the context that the answering instance was loaded with."""
    server.models[0].context_length = 5
    assert (await client.whole(server, "word " * 9))[0] == 400
    await client.post(server, "/api/v1/models/load", {"model": "llama3", "context_length": 10})
    assert (await client.whole(server, "word " * 9, model="llama3:2"))[0] == 200


@pytest.mark.parametrize(
    ("effort", "settings", "profile", "expected"),
    [
        ("none", ("on", "off"), "0.4.25", ""),
        ("none", ("low", "high"), "0.4.25", "hm"),
        ("low", ("on", "off"), "0.4.25", "hm"),
        ("none", ("on", "off"), "0.4.0", "hm"),
    ],
)
async def test_reasoning_is_turned_off(
    client: Any, effort: str, settings: tuple[str, ...], profile: str, expected: str
) -> None:
    """Effort ``none`` leaves the reasoning out where the model lists ``off`` and the version honours it."""
    async with Simulator(models=only(reasoning=settings), profile=profile) as server:
        server.answer(Answer("yes", reasoning="hm"), times=2)
        message = (await client.whole(server, reasoning_effort=effort))[1]["choices"][0]["message"]
        assert (message["content"], message["reasoning_content"]) == ("yes", expected)
        deltas = client.deltas(await client.stream(server, reasoning_effort=effort))
        assert "".join(delta.get("reasoning_content", "") for delta in deltas) == expected
