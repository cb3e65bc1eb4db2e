"""Downloading by the native routes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from neuroroute.simulator import SimulatedDownload, SimulatedModel, Simulator

DOWNLOAD = "/api/v1/models/download"


@pytest.fixture
def offer(server: Simulator) -> SimulatedDownload:
    server.downloads.offered.append(SimulatedDownload(SimulatedModel("a/b"), size_bytes=1000, seconds=math.inf))
    return server.downloads.offered[0]


async def test_a_download_goes_on_until_it_is_complete(
    server: Simulator, client: Any, offer: SimulatedDownload
) -> None:
    """A job is begun once, told while it goes on, and puts the model on the server's disk."""
    status, begun = await client.post(server, DOWNLOAD, {"model": "a/b", "quantization": "Q4_K_M"})
    assert (status, begun["status"], begun["downloaded_bytes"], begun["total_size_bytes"]) == (
        200,
        "downloading",
        0,
        1000,
    )
    assert begun["bytes_per_second"] == 0
    assert begun["estimated_completion"] > begun["started_at"]
    assert (await client.post(server, DOWNLOAD, {"model": "a/b"}))[1]["job_id"] == begun["job_id"]
    assert offer.model not in server.models
    offer.seconds = 0
    told = (await client.get(server, f"{DOWNLOAD}/status/{begun['job_id']}"))[1]
    assert (told["status"], told["downloaded_bytes"], "bytes_per_second" in told) == ("completed", 1000, False)
    assert told["completed_at"] >= told["started_at"]
    assert server.models[-1] is offer.model
    assert (await client.post(server, DOWNLOAD, {"model": "a/b"}))[1] == {"status": "already_downloaded"}


async def test_a_download_that_does_not_go_on(server: Simulator, client: Any, offer: SimulatedDownload) -> None:
    """Paused it stands still, and failed it stays."""
    offer.paused, offer.seconds = True, 0
    job = (await client.post(server, DOWNLOAD, {"model": "a/b"}))[1]["job_id"]
    told = (await client.get(server, f"{DOWNLOAD}/status/{job}"))[1]
    assert (told["status"], told["downloaded_bytes"]) == ("paused", 0)
    offer.paused, offer.fails = False, True
    assert (await client.get(server, f"{DOWNLOAD}/status/{job}"))[1]["status"] == "failed"
    assert offer.model not in server.models


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, '"model" is required'),
        ({"model": "a/b", "ttl": 1}, 400, "Unrecognized key(s) in object: 'ttl'"),
        ({"model": "nope"}, 404, 'Model "nope" not found.'),
    ],
)
async def test_what_is_refused(
    server: Simulator, client: Any, offer: SimulatedDownload, body: dict[str, Any], status: int, message: str
) -> None:
    """What is wrong with a request is told in the envelope of the native routes."""
    answered, told = await client.post(server, DOWNLOAD, body)
    assert (answered, told["error"]["message"]) == (status, message)


async def test_an_unknown_job(server: Simulator, client: Any) -> None:
    """A job that was never begun is a 404; without the native API the route is unknown."""
    assert (await client.get(server, f"{DOWNLOAD}/status/job_9"))[0] == 404
    server.surfaces = ("v0",)
    status, told = await client.post(server, DOWNLOAD, {"model": "a/b"})
    assert (status, told) == (200, {"error": f"Unexpected endpoint or method. (POST {DOWNLOAD})"})
