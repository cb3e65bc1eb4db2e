from __future__ import annotations

import asyncio
import threading
from functools import partial
from random import Random

import pytest

from conftest import FakeClock
from neuroroute import BreakerChanged, BreakerPolicy, CircuitOpenError, Event, NetworkError
from neuroroute.details import LoadedModel, ModelDetails, ModelInstance
from neuroroute.hostlist import HostSettings
from neuroroute.options import DEFAULTS
from neuroroute.pipe import host as host_module
from neuroroute.pipe.background import Background
from neuroroute.pipe.gate import Gate
from neuroroute.pipe.host import Host
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.policies import HostPolicy
from neuroroute.requests import ChatRequest
from neuroroute.wire.endpoints import CHAT


def made(clock: FakeClock, *listed: ModelDetails, slots: int | None = None) -> tuple[Host, list[Event]]:
    """A host whose server lists these, and what happens at it."""
    events: list[Event] = []

    async def list_models(_: str) -> list[ModelDetails]:
        return [*listed]

    policy = HostPolicy(
        breaker=BreakerPolicy(),
        retry_budget=10,
        slots=slots,
        clock=clock,
        random=Random(1),
        tell=events.append,
        background=Background(),
        list_models=list_models,
    )
    return hosts_at(policy, 1234).all[0], events


def hosts_at(policy: HostPolicy, *ports: int) -> Hosts:
    hosts = Hosts(policy)
    hosts.use([HostSettings(url=f"http://localhost:{port}/v1", name=f"localhost:{port}") for port in ports])
    return hosts


def request(model: str, port: int) -> ChatRequest:
    return ChatRequest(
        endpoint=CHAT,
        model=model,
        messages=[],
        body=b"",
        streaming=False,
        options=DEFAULTS,
        notes=[],
        url=f"http://localhost:{port}/v1",
        host=f"localhost:{port}",
    )


def instance(parallel: int | None, id: str = "m", context_length: int | None = 4096) -> ModelInstance:  # noqa: A002
    return ModelInstance(id=id, parallel=parallel, context_length=context_length)


def listed(*instances: ModelInstance, key: str = "m") -> ModelDetails:
    return ModelDetails(key=key, source="v1", loaded=bool(instances), instances=instances)


async def test_what_is_known_is_known_once(clock: FakeClock) -> None:
    """A host is its base URL, a model its name there; each has one breaker, one gate for a loop, one budget."""
    host, _ = made(clock)
    assert (host.url, host.name) == ("http://localhost:1234/v1", "localhost:1234")
    assert host.model("m") is host.model("m")
    assert host.model("m").gate is host.model("m").gate
    assert host.model("m").breaker is not host.model("n").breaker
    assert repr(host) == "<Host localhost:1234 unknown: <RetryBudget 10.0 retries left>, 2 models>"
    assert repr(host.model("m")) == (
        "<HostedModel 'm' at localhost:1234: <Breaker closed, 0 of 0 failed>, [<Gate 0 of 4 slots taken, 0 waiting>]>"
    )


async def test_a_request_has_its_host_and_its_model(clock: FakeClock) -> None:
    """Requests to two hosts meet two breakers and two budgets, though they ask the same model."""
    hosts = hosts_at(made(clock)[0].policy, 1, 2, 3)
    here, there = request("m", 1), request("m", 2)
    assert hosts.model(here) is hosts.of(here).model("m")
    assert hosts.model(here) is not hosts.model(there)
    assert hosts.of(here).budget is not hosts.of(there).budget
    assert (hosts.of(there).url, hosts.of(there).name) == ("http://localhost:2/v1", "localhost:2")
    elsewhere = hosts.model(request("n", 3))
    assert hosts.all[2].model("n") is elsewhere
    assert hosts.of(request("n", 3)).name == "localhost:3"


async def test_what_a_breaker_does_is_told_and_drawn_from_the_adapter_s_chance(clock: FakeClock) -> None:
    """Its changes are events with host, model and cause; its jitter is that of the random source that was given."""
    host, events = made(clock)
    breaker = host.model("m").breaker
    assert host.model("m").has_answered is False
    for _ in range(5):
        breaker.judge(breaker.admit(), NetworkError("refused"))
    (opened,) = events
    assert isinstance(opened, BreakerChanged)
    assert (opened.host, opened.model, type(opened.cause)) == ("localhost:1234", "m", NetworkError)
    clock.now = 30
    breaker.judge(breaker.admit(), NetworkError("refused"))
    assert breaker.refusal().retry_after_ms == pytest.approx(Random(1).uniform(30_000, 60_000))


async def test_more_slots_are_there_at_once(clock: FakeClock) -> None:
    """In the running event loop what was learnt holds from then on, not a moment later."""
    host, _ = made(clock)
    model = host.model("m")
    gate = model.gate
    model.learn(listed(instance(6)))
    assert gate.slots == 6


@pytest.mark.parametrize(
    ("details", "slots", "context"),
    [
        (listed(instance(7)), 7, 4096),
        (listed(instance(2, "other"), instance(5, context_length=100)), 5, 100),
        (listed(instance(2, "x", 50), instance(5, "y", 60)), 2, 50),
        (listed(instance(None)), 4, 4096),
        (listed(), 4, None),
        (listed(instance(7), key="other"), 7, 4096),
        (listed(instance(7, "other"), key="other"), 4, None),
    ],
)
async def test_a_listing_is_learnt_from(
    clock: FakeClock, details: ModelDetails, slots: int, context: int | None
) -> None:
    """Slots and context are those of the instance that is asked by its id, else of the first; else they stay."""
    host, _ = made(clock, details)
    model = host.model("m")
    before = model.gate
    await host.listings.details("m")
    assert (before.slots, model.context_length) == (slots, context)


async def test_slots_hold_for_gates_that_come_later(clock: FakeClock) -> None:
    """What was learnt holds in other event loops, too, and for gates that are there already."""
    host, _ = made(clock, listed(instance(9)))
    model = host.model("m")
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def gate() -> Gate:
        return model.gate

    thread = threading.Thread(target=lambda: (loop.call_soon(ready.set), loop.run_forever()))
    thread.start()
    ready.wait(1)
    try:
        early = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(gate(), loop))
        assert early is not model.gate
        await host.listings.details("m")
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(gate(), loop))
        assert early.slots == 9
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert await asyncio.to_thread(lambda: asyncio.run(gate()).slots) == 9


async def test_a_breaker_that_opens_sends_queues_away_in_every_loop(clock: FakeClock) -> None:
    """Opened from outside any event loop, a breaker empties the queues of all loops, each in its own thread."""
    host, events = made(clock, slots=1)
    model = host.model("m")
    await model.gate.enter()
    waiting = asyncio.create_task(model.gate.enter())
    await asyncio.sleep(0)
    await asyncio.to_thread(model.breaker.force_open)
    with pytest.raises(CircuitOpenError, match="by force"):
        await waiting
    assert events == [BreakerChanged(host="localhost:1234", model="m", before="closed", after="open", cause=None)]
    model.breaker.reset()
    assert [event.after for event in events if isinstance(event, BreakerChanged)] == ["open", "closed"]


async def test_loops_that_ended_are_left_alone(clock: FakeClock) -> None:
    """A gate of an event loop that is closed is neither resized nor emptied, and nothing fails for it."""
    host, _ = made(clock)
    model = host.model("m")
    loops: list[asyncio.AbstractEventLoop] = []

    async def gate() -> None:
        loops.append(asyncio.get_running_loop())
        assert model.gate.slots == 4

    await asyncio.to_thread(lambda: asyncio.run(gate()))
    model.learn(listed(instance(8)))
    model.breaker.force_open()
    assert loops[0].is_closed()


async def test_made_up_names_do_not_fill_the_memory(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many models those are forgotten of which nothing is known but that they were asked for."""
    monkeypatch.setattr(host_module, "MOST_MODELS", 4)
    host, _ = made(clock, slots=1)
    down, busy, idle = host.model("down"), host.model("busy"), host.model("idle")
    down.breaker.force_open()
    entered = await busy.gate.enter()
    for number in range(50):
        host.model(f"made up {number}")
        assert len(host._models) <= 4
    assert (host.model("down"), host.model("busy")) == (down, busy)
    assert host.model("idle") is not idle
    busy.gate.leave(entered)
    down.breaker.reset()
    assert busy.is_idle
    assert down.is_idle


async def test_a_crash_loop_does_not_forgive_itself(clock: FakeClock) -> None:
    """A load closes the breaker, but not one that comes less than the breaker's window after the load before."""
    host, _ = made(clock)
    model = host.model("m")

    async def load() -> LoadedModel:
        return LoadedModel(key="m", instance_id="m")

    for clock.now, state in ((0, "closed"), (59.99, "open"), (100, "open"), (160, "closed")):
        model.breaker.force_open()
        await model.loaded_by("m", load)
        assert model.breaker.state == state


async def test_each_model_has_a_load_of_its_own(clock: FakeClock) -> None:
    """Who wants a model that is being loaded waits for that load; another model is loaded beside it."""
    host, _ = made(clock)
    loads: list[str] = []

    async def load(name: str) -> LoadedModel:
        loads.append(name)
        await asyncio.sleep(0)
        return LoadedModel(key=name, instance_id=name)

    await asyncio.gather(*(host.model(name).loaded_by(name, partial(load, name)) for name in ("m", "n", "m")))
    assert loads == ["m", "n"]
