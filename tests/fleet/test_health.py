"""Whether hosts are up: looked at while there are requests, and never by a completion."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

import pytest

from conftest import FakeClock
from fleet.fleets import Fleet
from neuroroute import (
    FailedOver,
    HostChanged,
    LMStudioAdapter,
    LMStudioError,
    ModelAuthenticationError,
    ModelNotFoundError,
    ModelTimeoutError,
    NetworkError,
)
from neuroroute.details import Surface
from neuroroute.fleet import health as health_module
from neuroroute.fleet.health import (
    EVERY_SECONDS,
    FIRST_LOOK_SECONDS,
    GRACE_SECONDS,
    JITTER,
    LONGEST_SECONDS,
    SLOW_LOOKS,
    Health,
)
from neuroroute.pipe.background import Background
from neuroroute.pipe.host import Host
from neuroroute.simulator import Simulator

SURFACE = Surface(listing="v1", lm_studio=True)


async def nothing(_: object) -> None:
    """Is never asked."""


class Looks:
    """What looks find, and at whom."""

    def __init__(self, clock: FakeClock, *names: str) -> None:
        self.clock = clock
        self.finds: dict[str, LMStudioError | None] = dict.fromkeys(names)
        self.looked: list[str] = []
        self.background = Background()
        self.fleet = Fleet(dict.fromkeys(names, nothing), clock=clock)
        self.health = Health(self.look, clock, Random(1), self.background)
        self.health.watch(self.fleet.hosts.all)

    async def look(self, host: Host) -> Surface:
        self.looked.append(host.name)
        if (error := self.finds[host.name]) is not None:
            raise error
        return SURFACE

    async def soon(self, after: float = 0.0) -> list[str]:
        """Whom it looks at after a while."""
        self.clock.now += after
        self.looked.clear()
        self.health.look_soon()
        for _ in range(3):
            await asyncio.sleep(0)
        return sorted(self.looked)

    def state(self, name: str) -> str:
        return next(host.state for host in self.fleet.hosts.all if host.name == name)


async def test_a_host_is_looked_at_now_and_then(clock: FakeClock) -> None:
    """Each host is looked at once in about five seconds, not all at once, and nobody while there are no requests."""
    looks = Looks(clock, "a", "b", "c")
    assert await looks.soon() == ["a", "b", "c"]
    assert await looks.soon(EVERY_SECONDS * (1 - JITTER) - 0.01) == []
    due: list[int] = []
    for _ in range(20):
        due.append(len(await looks.soon(0.1)))
    assert (sum(due), max(due)) == (3, 1)


async def test_a_host_that_is_down_is_looked_at_less_and_less(clock: FakeClock) -> None:
    """Who does not answer is looked at after twice the time, up to a minute; once it answers, it is up at once."""
    looks = Looks(clock, "a")
    looks.finds["a"] = NetworkError("refused")
    times: list[float] = []
    while clock.now < 400:
        if await looks.soon(0.5):
            times.append(clock.now)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[1] > waits[0] * 1.2
    assert max(waits) <= LONGEST_SECONDS * (1 + JITTER) + 0.5
    assert looks.state("a") == "down"
    looks.finds["a"] = None
    assert await looks.soon(LONGEST_SECONDS * 2) == ["a"]
    told = [(event.before, event.after) for event in looks.fleet.events if isinstance(event, HostChanged)]
    assert told == [("unknown", "down"), ("down", "unknown")]


async def test_whoever_answers_is_there(clock: FakeClock) -> None:
    """An error that answered is no host that is down."""
    looks = Looks(clock, "a")
    looks.finds["a"] = ModelAuthenticationError("token", status=401)
    await looks.soon()
    assert looks.state("a") == "unknown"


async def test_a_slow_host_is_down_after_some_looks_unless_it_loads(clock: FakeClock) -> None:
    """A listing that is late is no sign of death at once, and none at all while the host loads a model."""
    looks = Looks(clock, "a")
    (host,) = looks.fleet.hosts.all
    looks.finds["a"] = ModelTimeoutError("late")
    host.loading = 1
    for _ in range(2 * SLOW_LOOKS):
        await looks.health.look(host)
    assert not host.down
    host.loading = 0
    looks.finds["a"] = None
    await looks.health.look(host)
    looks.finds["a"] = ModelTimeoutError("late")
    for _ in range(SLOW_LOOKS - 1):
        await looks.health.look(host)
    assert not host.down
    await looks.health.look(host)
    assert host.down


@pytest.mark.parametrize("at_once", [1, 30])
async def test_the_first_requests_wait_for_what_hosts_have(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """All that come at first wait until the hosts have told, but not for long once one is known to have the model."""
    monkeypatch.setattr(health_module, "FIRST_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(health_module, "GRACE_SECONDS", 0.01)
    told: set[str] = set()

    async def look(host: Host) -> Surface:
        await asyncio.sleep({"a": 0.001, "b": 0.005, "c": 60}[host.name])
        told.add(host.name)
        return SURFACE

    fleet = Fleet(dict.fromkeys("abc", nothing), clock=clock)
    for has_model, seconds in ((lambda: "a" in told, 0.01), (lambda: False, 0.05)):
        told.clear()
        health = Health(look, clock, Random(1), background := Background())
        health.watch(fleet.hosts.all)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(health.first_look(has_model) for _ in range(at_once)))
        assert asyncio.get_running_loop().time() - began >= seconds
        assert told == {"a", "b"}
        assert not health.unseen
        await background.aclose()
    assert GRACE_SECONDS < FIRST_LOOK_SECONDS == 1.0


async def test_a_request_that_met_nobody_has_its_host_looked_at(clock: FakeClock) -> None:
    """A refused connection is a reason to look at once, and not only when the host is due."""
    looks = Looks(clock, "a", "b")
    await looks.soon()
    looks.looked.clear()
    looks.health.take(FailedOver(host="b", model="m", error=NetworkError("refused"), to="a"))
    looks.health.take(FailedOver(host="a", model="m", error=ModelTimeoutError("late"), to="b"))
    for _ in range(2):
        await asyncio.sleep(0)
    assert looks.looked == ["b"]


async def test_looking_costs_no_completion(lmstudio: Simulator) -> None:
    """Hosts are asked for their listing, and who lists too little, for its greeting; nothing else, and nobody twice."""
    async with Simulator(surfaces=["greeting"]) as older:
        async with LMStudioAdapter("llama3", base_url=[lmstudio.url, older.url]) as adapter:
            states = [host.state for host in await adapter.check_hosts()]
            assert (await adapter.generate_completion("Hi")).text
        paths = [received.path for received in older.requests if received.method == "GET"]
    assert states == ["up", "up"]
    assert paths == ["/api/v1/models", "/api/v0/models", "/v1/models", "/lmstudio-greeting"]
    asked = [received.path for one in (lmstudio, older) for received in one.requests if received.method == "POST"]
    assert asked == ["/v1/chat/completions"]


async def test_one_host_is_not_looked_at(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """An adapter for one server sends its requests, and nothing beside."""
    await adapter.generate_completion("Hi")
    assert [received.path for received in lmstudio.requests] == ["/v1/chat/completions"]


async def test_a_host_that_was_seen_to_load_is_not_down(clock: FakeClock) -> None:
    """While a request waits for a load there, late listings are no sign of death; for as long as a load may take."""
    looks = Looks(clock, "a")
    (host,) = looks.fleet.hosts.all
    looks.finds["a"] = ModelTimeoutError("late")
    host.model("m").seen_loading(120_000)
    for _ in range(2 * SLOW_LOOKS):
        await looks.health.look(host)
    assert not host.down
    clock.now += 121
    await looks.health.look(host)
    assert host.down


async def test_a_slow_host_is_looked_at_again_soon(clock: FakeClock) -> None:
    """A look that failed without proof is made again after a second, so that a host that hangs is soon known to."""
    looks = Looks(clock, "a")
    looks.finds["a"] = ModelTimeoutError("late")
    assert await looks.soon() == ["a"]
    assert await looks.soon(0.9) == []
    assert await looks.soon(0.2) == ["a"]


async def test_a_host_that_lost_a_model_is_looked_at(clock: FakeClock) -> None:
    """That a host does not know a model any more is a reason to ask it what it has."""
    looks = Looks(clock, "a", "b")
    await looks.soon()
    looks.looked.clear()
    looks.health.take(FailedOver(host="b", model="m", error=ModelNotFoundError("no"), to="a"))
    for _ in range(2):
        await asyncio.sleep(0)
    assert looks.looked == ["b"]
