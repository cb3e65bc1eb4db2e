from __future__ import annotations

import asyncio

import pytest

from conftest import chats
from neuroroute import LMStudioAdapter, LMStudioError, ModelNotFoundError, ModelUnavailableError
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator, StreamFault


@pytest.fixture
def auto(adapter: LMStudioAdapter) -> LMStudioAdapter:
    return adapter.with_model("auto")


async def test_auto_asks_whichever_is_loaded(auto: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The loaded model is asked by its own id, whole and streamed, and nothing is noted."""
    response = await auto.generate_completion("hi")
    assert (response.model, response.notes) == ("llama3", ())
    assert (await auto.stream("hi").whole()).model == "llama3"
    assert [received.json["model"] for received in chats(lmstudio)] == ["llama3", "llama3"]


async def test_auto_for_one_call(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """As an option it holds for the call; what is needed chooses among the loaded."""
    lmstudio.models.append(SimulatedModel("seer", loaded=True, vision=True))
    response = await adapter.generate_completion("hi", model="auto", needs={"vision"})
    assert (response.model, response.notes) == ("seer", ())
    response = await adapter.generate_completion("hi", model="auto")
    assert (response.model, [note.code for note in response.notes]) == ("llama3", ["MODEL_CHOSEN"])
    assert (await adapter.generate_completion("hi")).notes == ()


async def test_a_plain_id_costs_nothing(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Who names a model has nothing looked up, and is not read generously."""
    await adapter.generate_completion("hi")
    await adapter.generate_completion("hi", model="qwen3-8b")
    assert len(lmstudio.requests) == 2
    with pytest.raises(ModelNotFoundError):  # two are loaded by now
        await adapter.generate_completion("hi", model="AUTO")
    assert len(lmstudio.requests) == 3


async def test_many_who_ask_at_once(auto: LMStudioAdapter, lmstudio: Simulator) -> None:
    """They are told from one listing."""
    await asyncio.gather(*(auto.generate_completion("hi") for _ in range(4)))
    assert sum(received.path == "/api/v1/models" for received in lmstudio.requests) <= 2  # one more for the slots


async def test_none_is_loaded(auto: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Without a loaded model nothing is sent; the error says what there is."""
    lmstudio.unload("llama3")
    with pytest.raises(ModelUnavailableError, match="no model is loaded") as caught:
        await auto.generate_completion("hi")
    assert "Load one: llama3, qwen3-8b" in str(caught.value)
    assert chats(lmstudio) == []


async def test_a_server_that_is_down() -> None:
    """Who was never told a model gets the listing's error."""
    async with LMStudioAdapter("auto", base_url="127.0.0.1:9") as auto:
        with pytest.raises(LMStudioError) as caught:
            await auto.generate_completion("hi")
    assert caught.value.code == "NETWORK_ERROR"


async def test_a_listing_that_fails_once(
    auto: LMStudioAdapter, lmstudio: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the listing fails the model that was chosen before is asked again."""
    monkeypatch.setattr("neuroroute.pipe.selecting._MAX_AGE", 0)
    await auto.generate_completion("hi")
    for path in ("/api/v1/models", "/api/v0/models", "/v1/models"):
        lmstudio.fail(Fail(500), path=path, times=2)
    assert (await auto.generate_completion("hi")).model == "llama3"
    with pytest.raises(LMStudioError):
        await auto.generate_completion("hi", needs={"tool_use"})


async def test_a_stream_goes_on_with_the_same_model(auto: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What was chosen for a request holds for its continuation."""
    lmstudio.answer(Answer("one two three", stream_fault=StreamFault("cut", after=2)))
    lmstudio.answer(" three")
    lmstudio.models.insert(0, SimulatedModel("a", loaded=True))
    stream = auto.stream("Count.", continue_stream=True, needs={"chat"})
    assert (await stream.whole()).text
    assert [received.json["model"] for received in chats(lmstudio)] == ["a", "a"]
    assert sum(note.code == "MODEL_CHOSEN" for note in stream.response.notes) == 1
