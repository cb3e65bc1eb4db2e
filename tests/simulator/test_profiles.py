"""The versions of LM Studio."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from neuroroute.simulator import PROFILES, Answer, Profile, SimulatedModel, Simulator
from neuroroute.simulator import profiles as module


def two(**fields: Any) -> list[SimulatedModel]:
    return [SimulatedModel("a", loaded=True, **fields), SimulatedModel("b", loaded=True)]


def test_the_newest_is_the_default() -> None:
    """Without a word it is the newest version that is known."""
    assert list(PROFILES) == ["0.3.5", "0.3.16", "0.3.30", "0.4.0", "0.4.25"]
    assert Simulator().profile is PROFILES["0.4.25"]
    assert Simulator().surfaces == {"greeting", "v0", "v1"}


def test_an_unknown_version_names_those_there_are() -> None:
    """A name that is no version says which names are."""
    with pytest.raises(ValueError, match=r"named '0\.5'; there are 0\.3\.5, 0\.3\.16, 0\.3\.30, 0\.4\.0, 0\.4\.25"):
        Simulator(profile="0.5")


def test_every_field_tells_its_source() -> None:
    """Each field of a profile says where its values come from, or that they are a guess."""
    text = Path(module.__file__).read_text(encoding="utf-8")
    told = text.split("class Profile:")[1].split("_0_3_5 =")[0]
    for field in dataclasses.fields(Profile)[1:]:
        doc = told.split(f"    {field.name}: ")[1].split('"""')[1]
        assert any(word in doc for word in ("guess", "reports", "documentation", "recorded", "notes", "staff")), (
            field.name
        )


@pytest.mark.parametrize(
    ("profile", "v0", "v1"),
    [("0.3.5", False, False), ("0.3.16", True, False), ("0.3.30", True, False), ("0.4.0", True, True)],
)
async def test_surfaces_come_with_versions(client: Any, profile: str, v0: bool, v1: bool) -> None:
    """A route that came later is unknown, and so a 200 with an error."""
    async with Simulator(profile=profile) as server:
        for path, there in (("/api/v0/models", v0), ("/api/v1/models", v1), ("/v1/models", True)):
            status, body = await client.get(server, path)
            assert (status, "error" not in body) == (200, there)


async def test_an_argument_wins_over_the_profile(client: Any) -> None:
    """What is said expressly wins."""
    async with Simulator(profile="0.3.5", surfaces=("v1",), auto_evict=True) as server:
        assert server.auto_evict
        assert "models" in (await client.get(server, "/api/v1/models"))[1]


@pytest.mark.parametrize(
    ("profile", "status", "words"),
    [("0.3.5", 404, 'Model "x" not found. Please'), ("0.3.16", 400, 'Invalid model identifier "x".')],
)
async def test_an_unknown_model(client: Any, profile: str, status: int, words: str) -> None:
    """An unknown model among several is refused in the version's words and status."""
    async with Simulator(profile=profile, models=two()) as server:
        got, body = await client.whole(server, model="x")
    assert (got, body["error"]["message"][: len(words)]) == (status, words)


@pytest.mark.parametrize(("profile", "status"), [("0.3.5", 404), ("0.3.16", 400)])
async def test_nothing_loaded_and_a_load_that_fails(client: Any, profile: str, status: int) -> None:
    """The words stay the same; the status was a 404 once."""
    models = [SimulatedModel("a", load_fails="Operation canceled.")]
    async with Simulator(profile=profile, models=models) as server:
        assert (await client.whole(server, model="x"))[0] == status
        got, body = await client.whole(server, model="a")
    assert (got, body["error"]["message"]) == (status, 'Failed to load model "a". Error: Operation canceled.')


@pytest.mark.parametrize(("profile", "expected"), [("0.3.16", 0), ("0.3.30", 1)])
async def test_usage_of_a_stream(client: Any, profile: str, expected: int) -> None:
    """Usage in a stream came with 0.3.18."""
    async with Simulator(profile=profile) as server:
        events = client.events(await client.stream(server, stream_options={"include_usage": True}))
    assert sum("usage" in event for event in events if event != "[DONE]") == expected


@pytest.mark.parametrize(("profile", "fragments"), [("0.3.16", 1), ("0.3.30", 3)])
async def test_arguments_of_a_stream(client: Any, profile: str, fragments: int) -> None:
    """Arguments come in fragments since 0.3.17, in one piece before; what they say is the same."""
    async with Simulator(profile=profile) as server:
        server.answer(Answer(tool_calls=[("get", '{"a":"12345"}', "7")]))
        deltas = client.deltas(await client.stream(server))
    calls = [delta["tool_calls"][0] for delta in deltas]
    assert len(calls) == fragments
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("7", "get")
    assert "".join(call["function"]["arguments"] for call in calls) == '{"a":"12345"}'


@pytest.mark.parametrize(
    ("profile", "architecture", "expected"),
    [
        ("0.3.30", "qwen3", {"content": "<think>hm</think>yes"}),
        ("0.3.30", "gpt-oss", {"content": "yes", "reasoning": "hm"}),
        ("0.3.16", "gpt-oss", {"content": "<think>hm</think>yes"}),
        ("0.4.25", "qwen3", {"content": "yes", "reasoning_content": "hm"}),
    ],
)
async def test_where_reasoning_goes(client: Any, profile: str, architecture: str, expected: dict[str, str]) -> None:
    """Reasoning is left in the content, or has the field that version and model give it, whole and streamed."""
    async with Simulator(profile=profile, models=two(architecture=architecture)) as server:
        server.answer(Answer("yes", reasoning="hm"), times=2)
        message = (await client.whole(server, model="a"))[1]["choices"][0]["message"]
        deltas = client.deltas(await client.stream(server, model="a"))
    names = ("content", "reasoning", "reasoning_content")
    assert {name: message[name] for name in names if message.get(name)} == expected
    said = {name: "".join(delta.get(name, "") for delta in deltas) for name in names}
    assert {name: text for name, text in said.items() if text} == expected


async def test_an_answer_may_say_otherwise(client: Any) -> None:
    """An answer's own form of reasoning wins over the version's."""
    async with Simulator(profile="0.3.5") as server:
        server.answer(Answer("yes", reasoning="hm", reasoning_form="reasoning_content"))
        message = (await client.whole(server))[1]["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("yes", "hm")


@pytest.mark.parametrize(("profile", "most"), [("0.3.30", 1), ("0.4.0", 4)])
async def test_how_many_at_once(client: Any, profile: str, most: int) -> None:
    """Before 0.4.0 one request at a time is answered."""
    async with Simulator(profile=profile) as server:
        server.answer(Answer("late", delay=60), times=5)
        asking = [client.begin(server) for _ in range(5)]
        await client.until(lambda: server.running("llama3") + server.queued("llama3") == 5)
        assert server.running("llama3") == most
        server.unload("llama3")
        assert {status for status, _ in [await one for one in asking]} == {400}


async def test_a_profile_of_ones_own(client: Any) -> None:
    """A profile is data: a test changes what it wants to."""
    mine = dataclasses.replace(PROFILES["0.4.25"], name="mine", stream_usage=False)
    async with Simulator(profile=mine) as server:
        events = client.events(await client.stream(server, stream_options={"include_usage": True}))
    assert not any("usage" in event for event in events if event != "[DONE]")
