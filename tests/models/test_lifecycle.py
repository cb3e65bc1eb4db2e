from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from conftest import FakeClock
from neuroroute import (
    ConfigurationError,
    Event,
    LMStudioAdapter,
    ModelInvalidRequestError,
    ModelLoaded,
    ModelNotFoundError,
    ModelProgress,
    ModelTimeoutError,
    ModelUnavailableError,
    ModelUnloaded,
)
from neuroroute.simulator import Fail, SimulatedModel, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOAD = "/api/v1/models/load"


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def loading(lmstudio: Simulator, clock: FakeClock, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    async with LMStudioAdapter("qwen3-8b", base_url=lmstudio.url, clock=clock, observers=[events.append]) as made:
        yield made


def loads(lmstudio: Simulator) -> list[Any]:
    return [received.json for received in lmstudio.requests if received.path == LOAD]


def codes(loaded: Any) -> list[str]:
    return [note.code for note in loaded.notes]


async def test_a_model_is_loaded_as_asked(loading: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """What is asked is sent, and what comes back is what the server lists of the copy."""
    loaded = await loading.load_model(context_length=8192, eval_batch_size=256, flash_attention=False)
    assert loads(lmstudio) == [
        {"model": "qwen3-8b", "context_length": 8192, "eval_batch_size": 256, "flash_attention": False}
    ]
    assert (loaded.key, loaded.instance_id, loaded.context_length, loaded.notes) == ("qwen3-8b", "qwen3-8b", 8192, ())
    assert (loaded.config["eval_batch_size"], loaded.config["flash_attention"]) == (256, False)
    assert [type(event) for event in events] == [ModelLoaded]
    assert isinstance(events[0], ModelLoaded)
    assert events[0].loaded == loaded


async def test_what_is_loaded_is_not_loaded_again(loading: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A copy that is as asked will do; a context that is more than the model has counts as all that it has."""
    for _ in range(2):
        assert (await loading.load_model(context_length=10**6)).context_length == 40960
    await loading.load_model(num_experts=0 or None)
    assert len(loads(lmstudio)) == 1


async def test_less_context_than_asked_is_told(loading: LMStudioAdapter) -> None:
    """LM Studio cuts too large a context without a word; a note says what was loaded."""
    loaded = await loading.load_model(context_length=10**6)
    assert codes(loaded) == ["LOADED_OTHERWISE"]
    assert loaded.notes[0].message == "context_length is 40960, not 1000000"


async def test_another_copy_is_told(loading: LMStudioAdapter) -> None:
    """Another configuration makes another copy, and a note says that both take memory."""
    await loading.load_model()
    loaded = await loading.load_model(context_length=2048)
    assert (loaded.instance_id, codes(loaded)) == ("qwen3-8b:2", ["LOADED_TWICE"])


async def test_a_copy_that_is_not_listed(loading: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Where the server does not list what it says to have loaded, nothing is known of it, and a note says so."""
    lmstudio.fail(Fail(200, {"instance_id": "ghost", "status": "loaded"}), path=LOAD)
    loaded = await loading.load_model(context_length=2048)
    assert (loaded.instance_id, loaded.context_length, codes(loaded)) == ("ghost", None, ["LOAD_NOT_VERIFIED"])


async def test_many_load_once(loading: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """Whoever wants a model that is being loaded waits for that load, whatever name it goes by."""
    lmstudio.models[1].load_seconds = 0.05
    loaded = await asyncio.gather(
        *(loading.load_model(name, context_length=2048) for name in ("qwen3-8b", "QWEN3-8B", "qwen3-8b")),
        loading.load_model(context_length=4096),
        loading.warm_up(),
    )
    assert (len(loads(lmstudio)), len(events)) == (1, 1)
    assert [codes(one) for one in loaded[:4]] == [[], [], [], ["LOADED_OTHERWISE"]]
    assert loaded[4].loaded


async def test_leaving_does_not_end_the_load_of_others(loading: LMStudioAdapter, lmstudio: Simulator) -> None:
    """One who is cancelled while a model loads takes it from nobody."""
    lmstudio.models[1].load_seconds = 0.05
    leaving, staying = (asyncio.create_task(loading.load_model()) for _ in range(2))
    await asyncio.sleep(0.02)
    leaving.cancel()
    assert (await staying).instance_id == "qwen3-8b"
    assert len(loads(lmstudio)) == 1


async def test_a_load_that_takes_too_long(loading: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The limit ends the wait, of whoever began the load and of whoever joined it."""
    lmstudio.models[1].load_seconds = 30
    first = asyncio.create_task(loading.load_model())
    await asyncio.sleep(0.01)
    for _ in range(2):
        with pytest.raises(ModelTimeoutError, match="'qwen3-8b' was not loaded within 20 ms"):
            await loading.load_model(timeout_ms=20)
    first.cancel()


async def test_a_load_that_fails(loading: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """The server's own words come out, and nothing is told to be loaded."""
    lmstudio.models[1].load_fails = "Model loading aborted due to insufficient system resources."
    steps: list[ModelProgress] = []
    with pytest.raises(ModelUnavailableError, match="insufficient system resources"):
        await loading.load_model(on_progress=steps.append)
    assert ([step.phase for step in steps], events) == (["loading"], [])


async def test_progress_of_a_load(loading: LMStudioAdapter) -> None:
    """The beginning and the end are told, with the model's key."""
    steps: list[ModelProgress] = []
    await loading.load_model("QWEN3-8b", on_progress=steps.append)
    assert [(step.model, step.phase) for step in steps] == [("qwen3-8b", "loading"), ("qwen3-8b", "loaded")]


async def test_a_name_that_is_none(loading: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A name that is not a model's is not guessed at, and nothing is loaded."""
    for name in ("qwen3", "gpt-9"):
        with pytest.raises(ModelNotFoundError, match="the server has no model"):
            await loading.load_model(name)
    with pytest.raises(ModelInvalidRequestError, match="name the one that you mean"):
        await loading.with_model("auto").load_model()
    assert loads(lmstudio) == []


@pytest.mark.parametrize(
    "config",
    [
        {"context_length": 0},
        {"context_length": 4096.0},
        {"eval_batch_size": "many"},
        {"flash_attention": 1},
        {"num_experts": -1},
        {"offload_kv_cache_to_gpu": "yes"},
        {"timeout_ms": 0},
        {"model": ""},
    ],
    ids=str,
)
async def test_wrong_values_are_refused(loading: LMStudioAdapter, lmstudio: Simulator, config: dict[str, Any]) -> None:
    """A value that cannot be right is named, and nothing is sent."""
    with pytest.raises(ModelInvalidRequestError, match=next(iter(config))):
        await loading.load_model(**config)
    assert lmstudio.requests == []


async def test_a_server_that_cannot(loading: LMStudioAdapter, lmstudio: Simulator) -> None:
    """An older LM Studio, and what is none, is told as what it is; the load route is not tried."""
    for surfaces, words in ((("v0",), "is an LM Studio older than 0.4.0"), ((), "is no LM Studio")):
        lmstudio.surfaces = surfaces  # type: ignore[assignment]
        for verb in (loading.load_model, loading.unload_model):
            with pytest.raises(ConfigurationError, match=words):
                await verb()
    assert {received.method for received in lmstudio.requests} == {"GET"}


async def test_all_copies_are_unloaded(loading: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """A key means all copies of a model, an id of a further copy only that; what is not there is no error."""
    lmstudio.models[1] = SimulatedModel("qwen3-8b", loaded=True, instances=3)
    assert await loading.unload_model("qwen3-8b:2") == ("qwen3-8b:2",)
    assert await loading.unload_model("QWEN3-8b") == ("qwen3-8b", "qwen3-8b:3")
    assert await loading.unload_model() == ()
    gone = [event.instance_id for event in events if isinstance(event, ModelUnloaded)]
    assert gone == ["qwen3-8b:2", "qwen3-8b", "qwen3-8b:3"]


async def test_somebody_else_unloads_it(loading: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """A copy that is gone by then is not counted, and no error."""
    await loading.load_model()
    events.clear()
    lmstudio.fail(Fail(404, {"error": {"code": "model_not_found", "message": "gone"}}), path="/api/v1/models/unload")
    assert await loading.unload_model() == ()
    assert events == []


async def test_auto_sees_at_once_what_was_loaded(loading: LMStudioAdapter) -> None:
    """After a load or an unload nobody goes by what was listed before."""
    auto = loading.with_model("auto", needs={"reasoning"})
    await loading.load_model()
    assert (await auto.generate_completion("hi")).model == "qwen3-8b"
    await loading.unload_model()
    with pytest.raises(ModelUnavailableError, match="no model is loaded that has reasoning"):
        await auto.generate_completion("hi")
