"""What an adapter does with several hosts, on real sockets."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import FakeClock, chats, only
from neuroroute import (
    AdapterClosedError,
    CircuitOpenError,
    ConfigurationError,
    Event,
    FailedOver,
    Hedged,
    HostChanged,
    HostSettings,
    LMStudioAdapter,
    ModelInvalidRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    SyncLMStudioAdapter,
)
from neuroroute.simulator import Blackhole, ChaosProxy, Received, SimulatedModel, Simulator


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


@pytest.mark.parametrize("given", [None, "a list"])
async def test_a_manager_that_knows_nothing_leaves_the_hosts_as_they_are(
    lmstudio: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """With hosts of the environment and a configuration manager that returns its default, names and tokens stay."""
    lmstudio.api_token = "sk-lm-one:1"
    file = tmp_path / "hosts.toml"
    more = "" if given is None else "[[hosts]]\nurl = '127.0.0.1:9'\n"
    file.write_text(f"[[hosts]]\nurl = '{lmstudio.url}'\nname = 'one'\napi_token = 'sk-lm-one:1'\n{more}", "utf-8")
    monkeypatch.setenv("LMSTUDIO_URL", str(file))

    class Manager:
        def get(self, key: str, default: Any) -> Any:
            return default

    app = SimpleNamespace(state=SimpleNamespace(config_manager=Manager()))
    async with LMStudioAdapter("llama3", app=app) as adapter:
        assert (await adapter.generate_completion("Hi")).host == "one"
        assert "sk-lm" not in repr(adapter._core._settings)


async def test_a_host_that_hangs_holds_nobody_up(lmstudio: Simulator) -> None:
    """While one host does not answer, listings, ``auto`` and embeddings come from the others, soon."""
    async with ChaosProxy(lmstudio.url, Blackhole()) as proxy:
        began = time.monotonic()
        async with LMStudioAdapter("auto", base_url=[proxy.url, lmstudio.url]) as adapter:
            assert await adapter.is_available()
            assert (await adapter.generate_completion("Hi")).text
            assert (await adapter.embed("Hi", model="auto")).vectors
        assert time.monotonic() - began < 4  # 5 s is what one listing may take


async def test_a_hedge_goes_to_another_copy_or_host(clock: FakeClock, other: Simulator) -> None:
    """The second request avoids the copy that has the first, whichever that is."""
    other.models[0].instances = 2
    never = asyncio.Event()
    asked: list[str] = []

    async def first_hangs(received: Received) -> str:
        asked.append(received.json["model"])
        if len(asked) % 2:
            await never.wait()
        return "yes"

    other.script(first_hangs)
    async with LMStudioAdapter("llama3", base_url=other.url, clock=clock) as adapter:
        await adapter.list_models()
        for number in range(4):
            await adapter.generate_completion(str(number), hedge_after_ms=10)
    assert all(set(asked[at : at + 2]) == {"llama3", "llama3:2"} for at in range(0, 8, 2))


async def test_an_older_host_is_left_for_one_that_has_the_route(other: Simulator, clock: FakeClock) -> None:
    """A route that one host is too old for is asked of another, be that known from its listing or from its answer."""
    async with Simulator(profile="0.3.16") as older:
        hosts = [older.url, other.url]
        async with LMStudioAdapter("llama3", base_url=hosts, clock=clock) as adapter:
            for api in ("native", "responses"):
                for number in range(6):
                    response = await adapter.generate_completion(f"{api} {number}", api=api)
                    assert response.host == f"127.0.0.1:{other.port}"


async def test_who_asks_again_for_a_load_waits_for_the_same(pair: LMStudioAdapter, other: Simulator) -> None:
    """A load outlives who asked for it, and each who waits has a limit of its own; the model is loaded once."""
    other.models[2].load_seconds = 0.2
    with pytest.raises(ModelTimeoutError, match="'big' was not loaded within 50 ms"):
        await pair.load_model("big", timeout_ms=50)
    short = asyncio.create_task(pair.load_model("big", timeout_ms=20))
    assert (await pair.load_model("big")).instance_id == "big"
    with pytest.raises(ModelTimeoutError, match="within 20 ms"):
        await short
    loads = [received for received in other.requests if received.path == "/api/v1/models/load"]
    assert len(loads) == 1


async def test_requests_wait_for_a_load_that_is_under_way(pair: LMStudioAdapter, other: Simulator) -> None:
    """A request for a model that is being loaded is sent once it is; so are many that come before it is loaded."""
    other.models[2].load_seconds = 0.05
    other.unknowns = replace(other.unknowns, concurrent_loads_duplicate=True)
    big = pair.with_model("big")
    await asyncio.gather(big.load_model(), *(big.generate_completion(str(number)) for number in range(5)))
    assert other.models[2].instances == 1
    await big.unload_model()
    await asyncio.gather(*(big.generate_completion(str(number)) for number in range(5)))
    assert len((await big.get_details()).instances) == 1


async def test_a_load_that_fails_is_tried_on_the_next_host(
    pair: LMStudioAdapter, lmstudio: Simulator, other: Simulator
) -> None:
    """load_model and warm_up take the next host that has the model; where none can, the error names a host."""
    lmstudio.models.append(SimulatedModel("big", load_fails="load_failed_resources"))
    assert (await pair.load_model("big")).host == "two"
    await pair.unload_model("big")
    other.models[2].load_fails = "load_failed_resources"
    with pytest.raises(ModelUnavailableError) as caught:
        await pair.load_model("big")
    assert caught.value.host in ("one", "two")


async def test_a_copy_is_unloaded_where_it_is(pair: LMStudioAdapter, other: Simulator) -> None:
    """The id of a further copy is asked of the hosts that have it; a host that fails stops no other."""
    other.models[0].instances = 2
    assert await pair.unload_model("llama3:2") == ("llama3:2",)
    async with Simulator(surfaces=["v0", "greeting"]) as older:
        hosts = [older.url, other.url]
        async with LMStudioAdapter("llama3", base_url=hosts) as mixed:
            with pytest.raises(ConfigurationError) as caught:
                await mixed.unload_model()
    assert caught.value.details["unloaded"] == ["llama3"]


async def test_closing_while_hosts_are_first_looked_at_leaves_nothing(lmstudio: Simulator) -> None:
    """Requests that wait for the first look when the adapter is closed end typed, and open nothing anew."""
    async with ChaosProxy(lmstudio.url, Blackhole()) as proxy:
        adapter = LMStudioAdapter("llama3", base_url=[proxy.url, "127.0.0.1:9"])
        asked = [asyncio.create_task(adapter.generate_completion(str(number))) for number in range(3)]
        await asyncio.sleep(0.05)
        await adapter.aclose()
        for failure in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(failure, AdapterClosedError)
        assert adapter._core.transport.pools._pools == {}


async def test_embeddings_are_made_where_the_texts_fit(lmstudio: Simulator) -> None:
    """Of hosts with different contexts, long texts go to one that has room, and no truncation is told of."""
    small = [SimulatedModel("nomic-embed", type="embedding", loaded=True, context_length=50)]
    large = [SimulatedModel("nomic-embed", type="embedding", loaded=True, context_length=2048)]
    async with Simulator(models=small) as first, Simulator(models=large) as second:
        hosts = [HostSettings(url=first.url, weight=100), HostSettings(url=second.url)]
        async with LMStudioAdapter("nomic-embed", base_url=hosts) as adapter:
            result = await adapter.embed("word " * 200, strict=True)
    assert (result.host, result.notes) == (f"127.0.0.1:{second.port}", ())


async def test_hosts_of_a_manager_have_their_tokens(lmstudio: Simulator, tmp_path: Path) -> None:
    """The first request sends the token of a host that the configuration manager named."""
    lmstudio.api_token = "sk-lm-one:1"
    file = tmp_path / "hosts.toml"
    file.write_text(f"[[hosts]]\nurl = '{lmstudio.url}'\napi_token = 'sk-lm-one:1'\n", "utf-8")
    manager = SimpleNamespace(get=lambda key, default: str(file) if key == "LMSTUDIO_URL" else default)
    app = SimpleNamespace(state=SimpleNamespace(config_manager=manager))
    async with LMStudioAdapter("llama3", app=app) as adapter:
        assert (await adapter.generate_completion("Hi")).text


async def test_a_host_that_is_down_loads_nothing(pair: LMStudioAdapter, other: Simulator) -> None:
    """load_model and unload_model pass over a host that is down, whatever it listed when it was up."""
    await pair.check_hosts()
    await other.__aexit__(None, None, None)
    await pair.check_hosts()
    assert (await pair.load_model()).host == "one"
    assert await pair.unload_model() == ("llama3",)


async def test_a_model_that_was_loaded_by_hand_is_asked_at_once(clock: FakeClock) -> None:
    """That a model was listed as not loaded holds nobody up for long, once it is: all are asked side by side."""
    answered = asyncio.Event()

    async def wait(_: object) -> str:
        await answered.wait()
        return "yes"

    async with Simulator(models=[SimulatedModel("m")]) as server:
        server.script(wait)
        async with LMStudioAdapter("m", base_url=server.url, clock=clock) as adapter:
            await adapter.list_models()
            server.load("m")
            listings = adapter._core.hosts.all[0].listings
            listings._listed_at = listings._asked_at = -math.inf
            asked = [asyncio.create_task(adapter.generate_completion(str(number))) for number in range(3)]
            await server.wait_for_requests(5)  # two listings, and the three; while none of them has its answer
            assert (len(chats(server)), [task.done() for task in asked]) == (3, [False] * 3)
            answered.set()
            assert [response.text for response in await asyncio.gather(*asked)] == ["yes"] * 3
