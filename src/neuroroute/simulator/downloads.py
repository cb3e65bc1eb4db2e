"""``POST /api/v1/models/download`` and ``GET /api/v1/models/download/status/{job_id}``."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from neuroroute.simulator import native
from neuroroute.simulator.answers import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.received import Received

PATH = "/api/v1/models/download"
_STATUS = f"{PATH}/status/"


@dataclass(slots=True)
class SimulatedDownload:
    """A model that may be downloaded. Change it at any time: the next look at it sees it."""

    model: SimulatedModel
    """It is among the server's models when the download is complete."""
    size_bytes: int = 2_279_145_003
    seconds: float = 0.0
    """How long the download takes; ``math.inf``: it never moves."""
    paused: bool = False
    fails: bool = False
    """It is told to have failed from now on."""
    _done: float = field(default=0.0, init=False, repr=False)
    """Which part of it is there."""
    _seen: float = field(default=0.0, init=False, repr=False)
    _started: datetime | None = field(default=None, init=False, repr=False)

    def begin(self) -> None:
        """It is downloaded from now on; one that is under way stays as it is."""
        if self._started is None:
            self._started, self._seen = datetime.now(UTC), time.monotonic()

    def status(self, job_id: str) -> dict[str, Any]:
        """How far it is, as the server tells it."""
        now = time.monotonic()
        if not self.paused and not self.fails:
            self._done = min(1.0, self._done + (now - self._seen) / self.seconds) if self.seconds else 1.0
        self._seen = now
        status = "failed" if self.fails else "paused" if self.paused else "downloading"
        told: dict[str, Any] = {
            "job_id": job_id,
            "status": "completed" if self._done == 1.0 and not self.fails else status,
            "total_size_bytes": self.size_bytes,
            "downloaded_bytes": int(self.size_bytes * self._done),
            "started_at": _iso(self._started or datetime.now(UTC)),
        }
        if told["status"] == "downloading":
            left = timedelta(seconds=min(self.seconds * (1 - self._done), 1e6))
            told["bytes_per_second"] = self.size_bytes / self.seconds
            told["estimated_completion"] = _iso(datetime.now(UTC) + left)
        if told["status"] == "completed":
            told["completed_at"] = _iso(datetime.now(UTC))
        return told


class Downloads:
    """What may be downloaded, and what is being downloaded.

    That an unknown model or job is a 404, and in which words, is a guess.
    """

    def __init__(self) -> None:
        self.offered: list[SimulatedDownload] = []
        """What may be downloaded; of anything else the server knows nothing."""
        self._jobs: dict[str, SimulatedDownload] = {}
        self._numbers = itertools.count(1)

    def answer(
        self, received: Received, body: Callable[[Received], dict[str, Any]], models: list[SimulatedModel]
    ) -> dict[str, Any]:
        """The answer to a request for one of the two routes.

        Args:
            received: The request.
            body: Reads its JSON.
            models: The server's; what is complete is put there.

        Raises:
            Refused: The request is wrong, or what it is about is not there.
        """
        if received.method == "POST" and received.path == PATH:
            return self._begun(body(received), models)
        job = received.path.removeprefix(_STATUS)
        if received.method != "GET" or job not in self._jobs:
            raise Refused(native.not_found(job))
        return self._looked_at(job, models)

    def _begun(self, body: dict[str, Any], models: list[SimulatedModel]) -> dict[str, Any]:
        native.check(body, required="model", known=("model", "quantization"))
        asked = str(body["model"])
        if any(model.key == asked for model in models):
            return {"status": "already_downloaded"}
        offer = next((offer for offer in self.offered if offer.model.key == asked), None)
        if offer is None:
            raise Refused(native.not_found(asked))
        job = next((job for job, other in self._jobs.items() if other is offer), None)
        if job is None:
            job = f"job_{next(self._numbers)}"
            self._jobs[job] = offer
        offer.begin()
        return self._looked_at(job, models)

    def _looked_at(self, job: str, models: list[SimulatedModel]) -> dict[str, Any]:
        offer = self._jobs[job]
        told = offer.status(job)
        if told["status"] == "completed" and offer.model not in models:
            models.append(offer.model)
        return told


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
