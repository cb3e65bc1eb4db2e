"""What an adapter does with several hosts, on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conftest import FakeClock, chats, only
from neuroroute import (
    CircuitOpenError,
    Event,
    FailedOver,
    Hedged,
    HostChanged,
    HostSettings,
    LMStudioAdapter,
    ModelInvalidRequestError,
    ModelTimeoutError,
    NetworkError,
    SyncLMStudioAdapter,
)
from neuroroute.simulator import SimulatedModel, Simulator


@pytest.fixture
async def other() -> AsyncIterator[Simulator]:
    """Another LM Studio, which has ``qwen3-8b`` loaded beside ``llama3``."""
    models = [SimulatedModel("llama3", loaded=True), SimulatedModel("qwen3-8b", loaded=True), SimulatedModel("big")]
    async with Simulator(models=models) as simulator:
        yield simulator


@pytest.fixture
async def pair(lmstudio: Simulator, other: Simulator, clock: FakeClock) -> AsyncIterator[LMStudioAdapter]:
    """An adapter for two hosts, ``one`` and ``two``."""
    hosts = [HostSettings(url=lmstudio.url, name="one"), HostSettings(url=other.url, name="two")]
    async with LMStudioAdapter("llama3", base_url=hosts, clock=clock) as adapter:
        yield adapter


async def test_each_host_has_its_token(lmstudio: Simulator, other: Simulator, tmp_path: Path) -> None:
    """A host's own token goes to it alone, with listings and completions; the adapter's to the others."""
    lmstudio.api_token, other.api_token = "sk-lm-one:1", "sk-lm-two:2"
    file = tmp_path / "hosts.toml"
    file.write_text(
        f"[[hosts]]\nurl = '{lmstudio.url}'\napi_token = 'sk-lm-one:1'\n[[hosts]]\nurl = '{other.url}'\n",
        encoding="utf-8",
    )
    async with LMStudioAdapter("llama3", base_url=file, api_token="sk-lm-two:2") as adapter:
        assert [host.state for host in await adapter.check_hosts()] == ["up", "up"]
        for number in range(6):
            await adapter.generate_completion(str(number), extra_headers={"X-Mine": "yes"})
    for simulator in (lmstudio, other):
        assert chats(simulator)
        assert {received.headers["Authorization"] for received in simulator.requests} == {
            f"Bearer {simulator.api_token}"
        }
        assert {received.headers["X-Mine"] for received in chats(simulator)} == {"yes"}


async def test_the_models_of_all_hosts_are_listed_as_one(pair: LMStudioAdapter, other: Simulator) -> None:
    """A model that several have is listed once, with all its copies, and the hosts that have it."""
    models = {model.key: model for model in await pair.list_models()}
    assert [(key, models[key].hosts, models[key].loaded) for key in ("llama3", "qwen3-8b", "big")] == [
        ("llama3", ("one", "two"), True),
        ("qwen3-8b", ("one", "two"), True),
        ("big", ("two",), False),
    ]
    assert len(models["llama3"].instances) == 2
    assert await pair.with_model("big").is_available()
    await other.__aexit__(None, None, None)
    assert {model.hosts for model in await pair.list_models()} == {("one",)}


async def test_auto_is_a_model_of_any_host(lmstudio: Simulator, other: Simulator, clock: FakeClock) -> None:
    """``auto`` with needs finds the host that has such a model loaded."""
    other.models[1].vision = True
    async with LMStudioAdapter("auto", base_url=[lmstudio.url, other.url], clock=clock) as adapter:
        response = await adapter.generate_completion("Hi", needs={"vision"})
    assert (response.model, response.host) == ("qwen3-8b", f"127.0.0.1:{other.port}")


async def test_models_are_loaded_where_it_is_said(pair: LMStudioAdapter, lmstudio: Simulator, other: Simulator) -> None:
    """load_model takes a host that has the model, or the one that was named; unload_model takes it from all."""
    assert (await pair.load_model("big")).key == "big"
    assert other.models[2].loaded
    assert (await pair.load_model("qwen3-8b", host="one")).key == "qwen3-8b"
    assert lmstudio.models[1].loaded
    assert await pair.unload_model("qwen3-8b") == ("qwen3-8b", "qwen3-8b")
    assert [simulator.models[1].loaded for simulator in (lmstudio, other)] == [False, False]
    assert await pair.unload_model("llama3", host="two") == ("llama3",)
    assert lmstudio.models[0].loaded
    assert (await pair.generate_completion("Hi")).host == "one"
    with pytest.raises(ModelInvalidRequestError, match="host must say which one is to download it: one, two"):
        await pair.download_model("big")


async def test_unknown_hosts_are_named(pair: LMStudioAdapter) -> None:
    """A host that there is not is an error that names those that there are."""
    for wrong in (pair.drain("three"), pair.load_model("big", host="three")):
        with pytest.raises(ModelInvalidRequestError, match="host is 'three'; it must be one of one, two"):
            await wrong
    for verb in (pair.resume, pair.breaker_at):
        with pytest.raises(ModelInvalidRequestError, match="it must be one of one, two"):
            verb("three")


async def test_draining_waits_for_what_is_under_way(pair: LMStudioAdapter, other: Simulator) -> None:
    """drain() sends no new requests and returns when the last has its answer, or says in time that it has not."""
    pair.breaker_at("one").force_open()
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def hold(_: object) -> str:
        asked.set()
        await goes_on.wait()
        return "late"

    other.script(hold)
    answer = asyncio.create_task(pair.generate_completion("Hi"))
    await asked.wait()
    with pytest.raises(ModelTimeoutError, match="1 requests are still under way at two after 10 ms"):
        await pair.drain("two", timeout_ms=10)
    assert [(host.name, host.state) for host in pair.hosts] == [("one", "up"), ("two", "draining")]
    draining = asyncio.create_task(pair.drain("two"))
    with pytest.raises(CircuitOpenError):
        await pair.generate_completion("Hi")
    goes_on.set()
    await draining
    assert (await answer).text == "late"
    pair.resume("two")
    assert (await pair.generate_completion("Hi")).host == "two"


@pytest.mark.parametrize("limit", [0, -1, "soon", True])
async def test_a_wrong_limit_is_refused(pair: LMStudioAdapter, limit: float) -> None:
    """The time limit of drain() is milliseconds over 0; nothing is drained where it is not."""
    with pytest.raises(ModelInvalidRequestError, match="timeout_ms"):
        await pair.drain("one", timeout_ms=limit)
    assert pair.hosts[0].state != "draining"


async def test_a_late_answer_is_asked_of_another_host(lmstudio: Simulator, other: Simulator, clock: FakeClock) -> None:
    """The second request of a hedge goes to another host, even if that is busier."""
    never = asyncio.Event()

    async def hang(_: object) -> str:
        await never.wait()
        return ""

    events: list[Event] = []
    urls = [HostSettings(url=lmstudio.url, weight=100), HostSettings(url=other.url)]
    lmstudio.script(hang)
    async with LMStudioAdapter("llama3", base_url=urls, clock=clock, observers=[only(events, Hedged)]) as adapter:
        response = await adapter.generate_completion("Hi", hedge_after_ms=20)
    assert response.host == f"127.0.0.1:{other.port}"
    assert len(events) == 1


async def test_a_host_that_goes_and_comes_is_told(lmstudio: Simulator, other: Simulator, clock: FakeClock) -> None:
    """That a host goes down and comes back is an event; its requests go to the other, and back."""
    events: list[Event] = []
    async with LMStudioAdapter(
        "llama3", base_url=[lmstudio.url, other.url], clock=clock, observers=[events.append]
    ) as adapter:
        await adapter.check_hosts()
        await other.__aexit__(None, None, None)
        for number in range(8):
            assert (await adapter.generate_completion(str(number))).host == f"127.0.0.1:{lmstudio.port}"
        await adapter.check_hosts()
        await other.__aenter__()
        await adapter.check_hosts()
    changes = [(event.before, event.after) for event in events if isinstance(event, HostChanged)]
    assert changes == [("up", "down"), ("down", "up")]
    assert 1 <= sum(isinstance(event, FailedOver) for event in events) <= 8


async def test_when_all_are_gone_the_error_names_one(clock: FakeClock) -> None:
    """The error of a fleet of which nobody answers names a host, and how many attempts there were."""
    async with LMStudioAdapter("m", base_url="127.0.0.1:9,localhost:9", clock=clock, max_retries=1) as adapter:
        with pytest.raises(NetworkError) as caught:
            await adapter.generate_completion("Hi")
        assert [host.state for host in adapter.hosts] == ["down", "down"]
    assert caught.value.host in ("127.0.0.1:9", "localhost:9")
    assert caught.value.attempts >= 2


def test_hosts_without_asyncio(lmstudio_url: str) -> None:
    """The blocking adapter has the same verbs and views."""
    with SyncLMStudioAdapter("llama3", base_url=[HostSettings(url=lmstudio_url, name="one"), "127.0.0.1:9"]) as adapter:
        assert [host.state for host in adapter.check_hosts()] == ["up", "down"]
        (model,) = adapter.hosts[0].models
        assert (model.name, model.loaded, model.breaker, model.slots) == ("llama3", True, "closed", 4)
        adapter.drain("one")
        adapter.resume("one")
        assert adapter.hosts[0].state == "up"


@pytest.fixture
def lmstudio_url() -> object:
    with Simulator() as simulator:
        yield simulator.url
