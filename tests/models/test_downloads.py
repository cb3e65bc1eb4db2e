from __future__ import annotations

import math

import pytest

from conftest import FakeClock
from neuroroute import (
    ConfigurationError,
    DownloadedModel,
    LMStudioAdapter,
    ModelDownloaded,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelProgress,
    ModelTimeoutError,
    ModelUnavailableError,
)
from neuroroute.models.downloads import POLL_SECONDS, STALLED_SECONDS
from neuroroute.simulator import Fail, SimulatedDownload, SimulatedModel, Simulator

KEY, STATUS = "ibm/granite-4-micro", "/api/v1/models/download/status/job_1"


@pytest.fixture
def offer(lmstudio: Simulator) -> SimulatedDownload:
    lmstudio.downloads.offered.append(SimulatedDownload(SimulatedModel(KEY), size_bytes=1000, seconds=math.inf))
    return lmstudio.downloads.offered[0]


async def test_a_download_is_watched(lmstudio: Simulator, clock: FakeClock, offer: SimulatedDownload) -> None:
    """It is asked for once and looked at once a second, until it is complete and listed."""
    steps: list[ModelProgress] = []
    events: list[object] = []

    def step(progress: ModelProgress) -> None:
        steps.append(progress)
        if len(steps) == 2:
            offer.paused = True
        if len(steps) == 3:
            offer.paused, offer.seconds = False, 0

    async with LMStudioAdapter("x", base_url=lmstudio.url, clock=clock, observers=[events.append]) as adapter:
        done = await adapter.download_model(KEY, quantization="Q4_K_M", on_progress=step)
        assert done == DownloadedModel(model=KEY, size_bytes=1000)
        assert (await adapter.find_model(KEY)).loaded is False
    assert [one.phase for one in steps] == ["downloading", "downloading", "paused", "downloaded"]
    assert (steps[0].done_bytes, steps[-1].done_bytes, steps[-1].total_bytes) == (0, 1000, 1000)
    assert clock.slept == [POLL_SECONDS] * 3
    posts = [received.json for received in lmstudio.requests if received.method == "POST"]
    assert posts == [{"model": KEY, "quantization": "Q4_K_M"}]
    assert events == [ModelDownloaded(host=adapter._core.hosts.all[0].name, model=KEY, size_bytes=1000)]


async def test_what_is_there_is_not_waited_for(adapter: LMStudioAdapter, clock: FakeClock) -> None:
    """A model that is on the disk is told to be there."""
    assert await adapter.download_model("llama3") == DownloadedModel(model="llama3", already=True)
    assert clock.slept == []


@pytest.mark.parametrize("paused", [False, True])
async def test_a_download_that_stands_still(adapter: LMStudioAdapter, offer: SimulatedDownload, paused: bool) -> None:
    """One that does not move for ten minutes is given up, paused or not."""
    offer.paused = paused
    with pytest.raises(ModelTimeoutError, match="it has stood still for 10 minutes"):
        await adapter.download_model(KEY)


async def test_a_limit(adapter: LMStudioAdapter, clock: FakeClock, offer: SimulatedDownload) -> None:
    """A limit ends the wait, however well the download goes."""
    with pytest.raises(ModelTimeoutError, match="it took longer than 2500 ms"):
        await adapter.download_model(KEY, timeout_ms=2500)
    assert clock.now == 3


async def test_complete_at_the_last_moment(adapter: LMStudioAdapter, offer: SimulatedDownload) -> None:
    """What is complete when the limit passes is complete."""

    def finish(_: ModelProgress) -> None:
        offer.seconds = 0

    assert (await adapter.download_model(KEY, timeout_ms=1000, on_progress=finish)).size_bytes == 1000


async def test_a_server_that_is_away_for_a_while(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock, offer: SimulatedDownload
) -> None:
    """A look that fails ends nothing, as long as it may succeed again."""
    lmstudio.fail(Fail(503), path=STATUS, times=5)
    offer.seconds = 0.0001
    assert (await adapter.download_model(KEY)).size_bytes == 1000
    assert len(clock.slept) >= 6


async def test_a_server_that_stays_away(
    adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock, offer: SimulatedDownload
) -> None:
    """A server that cannot be asked any more is given up after ten minutes, with its failure as the cause."""
    lmstudio.fail(Fail(503, {"error": "away"}), path=STATUS, times=700)
    with pytest.raises(ModelTimeoutError) as caught:
        await adapter.download_model(KEY)
    assert "away" in str(caught.value.__cause__)
    assert clock.now == STALLED_SECONDS


async def test_a_look_that_is_refused(adapter: LMStudioAdapter, lmstudio: Simulator, offer: SimulatedDownload) -> None:
    """A look that will never succeed ends the wait with the server's error."""
    lmstudio.fail(Fail(404, {"error": {"message": "no such job", "code": "not_found"}}), path=STATUS)
    with pytest.raises(ModelInvalidRequestError, match="no such job"):
        await adapter.download_model(KEY)


async def test_a_download_that_fails(adapter: LMStudioAdapter, offer: SimulatedDownload) -> None:
    """A download that the server calls failed is an error, and no retry mends it."""
    offer.fails = True
    with pytest.raises(ModelUnavailableError, match="the download failed") as caught:
        await adapter.download_model(KEY)
    assert caught.value.retryable is False


async def test_what_nobody_offers(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """An unknown model, a wrong value and a server that cannot download are told as such."""
    with pytest.raises(ModelNotFoundError) as caught:
        await adapter.download_model("nope")
    assert "catalogue" in caught.value.hint
    for wrong in ({"model": ""}, {"model": "x", "quantization": ""}, {"model": "x", "timeout_ms": -1}):
        with pytest.raises(ModelInvalidRequestError):
            await adapter.download_model(**wrong)  # type: ignore[arg-type]
    lmstudio.surfaces = ("v0",)
    with pytest.raises(ConfigurationError, match="is an LM Studio older"):
        await adapter.download_model(KEY)
