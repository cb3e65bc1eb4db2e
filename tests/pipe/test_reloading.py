from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest

from conftest import FakeClock
from neuroroute import Event, LMStudioAdapter, LMStudioError, ModelNotFoundError, ModelReloaded, ModelUnavailableError
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def asking(lmstudio: Simulator, clock: FakeClock, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    """An adapter that has had an answer, of a server that loads nothing by itself."""
    lmstudio.jit = False
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, clock=clock, random=Random(1), observers=[events.append]
    ) as made:
        await made.generate_completion("hi")
        yield made


def loads(lmstudio: Simulator) -> list[object]:
    return [received.json for received in lmstudio.requests if received.path == "/api/v1/models/load"]


async def test_a_model_that_is_gone_is_loaded_again(
    lmstudio: Simulator, asking: LMStudioAdapter, events: list[Event]
) -> None:
    """After a crash, a server that says that no model is loaded is told to load it, and the request is sent again."""
    lmstudio.crash("llama3")
    response = await asking.generate_completion("still there?")
    assert (response.text, response.attempts) == ("You said: still there?", 2)
    assert loads(lmstudio) == [{"model": "llama3"}]
    assert ModelReloaded(host=response.host, model="llama3") in events


async def test_many_who_miss_it_load_it_once(lmstudio: Simulator, asking: LMStudioAdapter, events: list[Event]) -> None:
    """However many requests find the model gone, it is loaded once, told once, and all have their answer."""
    lmstudio.models[0].load_seconds = 0.05
    lmstudio.unload("llama3")
    responses = await asyncio.gather(*(asking.generate_completion("hi") for _ in range(30)))
    assert [response.text for response in responses] == ["You said: hi"] * 30
    assert len(loads(lmstudio)) == 1
    assert sum(isinstance(event, ModelReloaded) for event in events) == 1
    assert asking.breaker.state == "closed"


async def test_it_is_loaded_as_it_was(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """A model that was listed with a context length is loaded with that again."""
    lmstudio.models[0].context_length = 2048
    lmstudio.reload("llama3")
    await asyncio.gather(asking.generate_completion("hi"), asking.generate_completion("hi"))  # two: slots are learnt
    await asyncio.sleep(0.05)
    lmstudio.crash("llama3")
    await asking.generate_completion("hi")
    assert loads(lmstudio) == [{"model": "llama3", "context_length": 2048}]


async def test_another_model_in_its_place(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """Where the server does not know the model any more since two others are loaded, it is loaded again, too."""
    lmstudio.models += [SimulatedModel("b", loaded=True), SimulatedModel("c", loaded=True)]
    lmstudio.unload("llama3")
    assert (await asking.generate_completion("hi")).model == "llama3"


async def test_a_model_that_never_was_there_is_not_loaded(lmstudio: Simulator) -> None:
    """Whoever never had an answer from a model does not load it: the server was set up not to."""
    lmstudio.jit = False
    lmstudio.unload("llama3")
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        with pytest.raises(ModelUnavailableError, match="No models loaded"):
            await adapter.generate_completion("hi")
    assert (loads(lmstudio), len(lmstudio.requests)) == ([], 1)


async def test_one_reload_at_most(lmstudio: Simulator, asking: LMStudioAdapter, clock: FakeClock) -> None:
    """A model that is gone again after its reload is not loaded once more for the same request."""
    lmstudio.fail("no_models_loaded", times=3)
    lmstudio.unload("llama3")
    with pytest.raises(ModelUnavailableError, match="No models loaded"):
        await asking.generate_completion("hi")
    assert (len(loads(lmstudio)), len(clock.slept)) == (1, 1)


async def test_a_crash_loop_opens_the_breaker(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """A first reload makes what failed before it forgotten; in a loop of crashes the next ones do not."""
    lmstudio.script(lambda request: Fail(400, {"error": "The model has crashed without additional information."}))
    for _ in range(3):
        lmstudio.unload("llama3")
        with pytest.raises(ModelUnavailableError):
            await asking.generate_completion("hi", max_retries=1)
    assert asking.breaker.state == "open"


async def test_without_retries_nothing_is_loaded(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """A reload is for the attempt after it: who asks for no retry gets neither."""
    lmstudio.unload("llama3")
    with pytest.raises(ModelUnavailableError):
        await asking.generate_completion("hi", max_retries=0)
    assert loads(lmstudio) == []


async def test_a_load_that_fails_is_told(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """The error stays the server's first word, and says why the model could not be loaded again."""
    lmstudio.models[0].load_fails = "Model loading aborted due to insufficient system resources."
    lmstudio.unload("llama3")
    with pytest.raises(ModelUnavailableError, match="No models loaded") as caught:
        await asking.generate_completion("hi")
    assert "Loading it again failed: Failed to load" in caught.value.hint


async def test_an_older_server_is_left_as_it_is(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """A server without the native API cannot load, and is not asked to."""
    lmstudio.surfaces = ("v0", "greeting")
    lmstudio.unload("llama3")
    with pytest.raises(ModelUnavailableError, match="No models loaded"):
        await asking.generate_completion("hi")
    assert loads(lmstudio) == []


async def test_a_model_that_was_deleted(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """A model that is not listed any more cannot be loaded: the error comes out as it is."""
    lmstudio.models[0] = SimulatedModel("b", loaded=True)
    lmstudio.models.append(SimulatedModel("c", loaded=True))
    with pytest.raises(ModelNotFoundError):
        await asking.generate_completion("hi")
    assert loads(lmstudio) == []


async def test_somebody_else_was_faster(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """A model that is listed as loaded by now is not loaded again, which would make a second copy."""
    lmstudio.fail("no_models_loaded")
    assert (await asking.generate_completion("hi")).attempts == 2
    assert loads(lmstudio) == []


async def test_closing_while_it_loads(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """An adapter that is closed while a model loads ends the request with an error of its own."""
    lmstudio.models[0].load_seconds = 30
    lmstudio.unload("llama3")
    asked = asyncio.create_task(asking.generate_completion("hi"))
    async with asyncio.timeout(3):
        while not loads(lmstudio):
            await asyncio.sleep(0.005)
    await asking.aclose()
    with pytest.raises(LMStudioError):
        await asked


async def test_an_answer_that_says_nothing_is_no_load(lmstudio: Simulator, asking: LMStudioAdapter) -> None:
    """A 200 that does not say that the model is loaded is not taken for a load."""
    lmstudio.unload("llama3")
    lmstudio.fail(Fail(200, {"error": "Unexpected endpoint or method. (POST /api/v1/models/load)"}),
                  path="/api/v1/models/load")  # fmt: skip
    with pytest.raises(ModelUnavailableError) as caught:
        await asking.generate_completion("hi")
    assert "Unexpected endpoint" in caught.value.hint


@pytest.mark.parametrize("jit", [True, False])
async def test_a_crash_under_load_is_nothing_to_see(lmstudio: Simulator, asking: LMStudioAdapter, jit: bool) -> None:
    """One crash, with all slots taken and a queue behind them: everybody has an answer."""
    lmstudio.jit = jit
    lmstudio.script(lambda request: Answer("fine", delay=0.05))
    asked = [asyncio.create_task(asking.generate_completion("hi")) for _ in range(20)]
    while lmstudio.running("llama3") < 4:
        await asyncio.sleep(0.001)
    lmstudio.crash("llama3")
    assert [(await one).text for one in asked] == ["fine"] * 20
