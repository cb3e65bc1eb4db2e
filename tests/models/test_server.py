from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conftest import FakeClock
from neuroroute import LMStudioAdapter, LMStudioError, NetworkError
from neuroroute.details import Surface
from neuroroute.models import server as module
from neuroroute.simulator import Fail, Simulator

if TYPE_CHECKING:
    from neuroroute.models.server import ModelServer

V1, V0, IDS, GREETING = "/api/v1/models", "/api/v0/models", "/v1/models", "/lmstudio-greeting"


@pytest.fixture
def server(adapter: LMStudioAdapter, lmstudio: Simulator) -> ModelServer:
    return adapter._core.server(lmstudio.url)


def asked(lmstudio: Simulator) -> list[str]:
    """The paths that were asked since this was last called."""
    paths = [received.path for received in lmstudio.requests]
    lmstudio.requests.clear()
    return paths


async def test_the_best_listing_is_asked_first(server: ModelServer, lmstudio: Simulator) -> None:
    """A server that has the best listing is asked for nothing else."""
    for _ in range(2):
        assert {model.source for model in await server.list_models(1000)} == {"v1"}
    assert asked(lmstudio) == [V1, V1]


async def test_what_a_server_lacks_is_remembered(server: ModelServer, lmstudio: Simulator) -> None:
    """A server without the best listing is not asked for it each time."""
    lmstudio.surfaces = ("v0",)
    for _ in range(2):
        assert {model.source for model in await server.list_models(1000)} == {"v0"}
    assert asked(lmstudio) == [V1, V0, V0]


async def test_an_update_is_noticed(server: ModelServer, lmstudio: Simulator, clock: FakeClock) -> None:
    """A listing that is not the best is not taken for the best for ever."""
    lmstudio.surfaces = ("v0",)
    await server.list_models(1000)
    lmstudio.surfaces = ("v1", "v0")
    clock.now += module.LESSER_KNOWN_SECONDS - 1
    assert (await server.list_models(1000))[0].source == "v0"
    clock.now += 1
    assert (await server.list_models(1000))[0].source == "v1"


async def test_a_downgrade_is_noticed(server: ModelServer, lmstudio: Simulator) -> None:
    """A listing that has become an unknown route, a 200 as it is, gives way to the next best at once."""
    await server.list_models(1000)
    lmstudio.surfaces = ("v0",)
    asked(lmstudio)
    assert [(await server.list_models(1000))[0].source for _ in range(2)] == ["v0", "v0"]
    assert asked(lmstudio) == [V1, V0, V0]


async def test_a_restart_as_another_version() -> None:
    """A server that was down is probed anew when it is back."""
    lmstudio = Simulator(surfaces=())
    async with lmstudio:
        adapter = LMStudioAdapter("llama3", base_url=lmstudio.url)
        await adapter.list_models()
    async with adapter:
        with pytest.raises(NetworkError):
            await adapter.list_models()
        lmstudio.surfaces = ("v1",)
        async with lmstudio:
            assert (await adapter.list_models())[0].source == "v1"


async def test_a_failure_is_no_lack(server: ModelServer, lmstudio: Simulator) -> None:
    """A listing that only failed this time is asked again the next time."""
    lmstudio.fail(Fail(500, b"oops"), path=V1)
    assert [(await server.list_models(1000))[0].source for _ in range(2)] == ["v0", "v1"]


async def test_a_known_listing_that_fails(server: ModelServer, lmstudio: Simulator) -> None:
    """One that worked and fails now gives way this time, and is not asked twice."""
    await server.list_models(1000)
    asked(lmstudio)
    lmstudio.fail(Fail(503, b"oops"), path=V1)
    assert (await server.list_models(1000))[0].source == "v0"
    assert asked(lmstudio) == [V1, V0]
    assert (await server.list_models(1000))[0].source == "v1"


async def test_all_fail(server: ModelServer, lmstudio: Simulator) -> None:
    """Without a listing the error is that of the plainest one."""
    for path in (V1, V0, IDS):
        lmstudio.fail(Fail(500, {"error": f"no {path}"}), path=path)
    with pytest.raises(LMStudioError, match="no /v1/models"):
        await server.list_models(1000)


@pytest.mark.parametrize(
    ("surfaces", "surface", "paths"),
    [
        (("v1", "v0"), Surface(listing="v1", lm_studio=True), [V1]),
        (("v0",), Surface(listing="v0", lm_studio=True), [V1, V0]),
        (("greeting",), Surface(listing="openai", lm_studio=True), [V1, V0, IDS, GREETING]),
        ((), Surface(listing="openai", lm_studio=False), [V1, V0, IDS, GREETING]),
    ],
)
async def test_which_apis_it_has(
    server: ModelServer, lmstudio: Simulator, surfaces: tuple[str, ...], surface: Surface, paths: list[str]
) -> None:
    """A native API tells LM Studio, else its greeting does; all of it is asked once."""
    lmstudio.surfaces = surfaces  # type: ignore[assignment]
    assert [await server.surface(1000) for _ in range(2)] == [surface, surface]
    assert asked(lmstudio) == paths
