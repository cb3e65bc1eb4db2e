"""A download that the server makes, watched until it ends."""

from __future__ import annotations

import math

from neuroroute.details import DownloadedModel, ModelProgress, Phase
from neuroroute.errors import LMStudioError, ModelNotFoundError, ModelTimeoutError, ModelUnavailableError
from neuroroute.limits import milliseconds
from neuroroute.models.lifecycle import native_models
from neuroroute.models.server import ModelServer
from neuroroute.pipe.events import ModelDownloaded
from neuroroute.pipe.host import Host
from neuroroute.pipe.progress import OnProgress, told_safely
from neuroroute.wire.lifecycle import DownloadStatus

POLL_SECONDS = 1.0
STALLED_SECONDS = 600.0
"""How long a download may stand still, paused or not, or not be told of."""

_ASK_MS = 30_000.0
_PHASES: dict[str, Phase] = {
    "downloading": "downloading",
    "paused": "paused",
    "completed": "downloaded",
    "already_downloaded": "downloaded",
}


async def download(
    host: Host,
    server: ModelServer,
    model: str,
    quantization: str | None,
    timeout_ms: float | None,
    on_progress: OnProgress | None,
) -> DownloadedModel:
    """Has the server download a model, and waits for it. Whoever leaves does not stop it: LM Studio has no way to.

    Raises:
        ModelTimeoutError: it took longer than the limit, or stood still for ten minutes.
        ModelUnavailableError: it failed.
        LMStudioError: the server does not know the model, or cannot download.
    """
    await native_models(host, server)
    try:
        status = await server.download(model, quantization, _ASK_MS)
    except ModelNotFoundError as error:
        error.hint = "Is it an id of LM Studio's catalogue, or a link to a model on Hugging Face?"
        raise
    already = status.status == "already_downloaded"
    tell = told_safely(on_progress)
    watch = _Watch(host, server, status, timeout_ms)
    while True:
        tell(_progress(model, watch.status))
        if _PHASES.get(watch.status.status) == "downloaded":
            size = _whole(watch.status.total_size_bytes)
            if not already:
                host.policy.tell(ModelDownloaded(host=host.name, model=model, size_bytes=size))
            return DownloadedModel(model=model, size_bytes=size, already=already)
        await watch.wait()


class _Watch:
    """Looks at a download once a second."""

    def __init__(self, host: Host, server: ModelServer, status: DownloadStatus, timeout_ms: float | None) -> None:
        self.status = status
        self._clock = host.policy.clock
        self._server = server
        self._timeout_ms = math.inf if timeout_ms is None else timeout_ms
        self._ends = self._clock.monotonic() + self._timeout_ms / 1000
        self._moved_at = self._clock.monotonic()

    async def wait(self) -> None:
        """Waits, and looks again; a server that is not to be reached for a while is no end.

        Raises:
            LMStudioError: it has failed, or there is no more time.
        """
        if self.status.status not in _PHASES:
            raise ModelUnavailableError(
                f"the download {self.status.status}", retryable=False, hint="Look at LM Studio's list of downloads."
            )
        await self._clock.sleep(POLL_SECONDS)
        failure: LMStudioError | None = None
        try:
            status = await self._server.download_status(self.status.job_id, _ASK_MS)
        except LMStudioError as error:
            if not error.retryable:
                raise
            failure = error
        else:
            if status.downloaded_bytes != self.status.downloaded_bytes or status.status != self.status.status:
                self._moved_at = self._clock.monotonic()
            self.status = status
        now = self._clock.monotonic()
        if _PHASES.get(self.status.status) == "downloaded":
            return
        if now >= self._ends:
            raise _late(f"it took longer than {milliseconds(self._timeout_ms)} ms") from failure
        if now - self._moved_at >= STALLED_SECONDS:
            raise _late(f"it has stood still for {STALLED_SECONDS / 60:.0f} minutes") from failure


def _late(why: str) -> ModelTimeoutError:
    hint = "The server may go on with it: ask again to watch it, or look at LM Studio's list of downloads."
    return ModelTimeoutError(f"the download is not watched any more: {why}", retryable=False, hint=hint)


def _progress(model: str, status: DownloadStatus) -> ModelProgress:
    return ModelProgress(
        model=model,
        phase=_PHASES.get(status.status, "paused"),
        done_bytes=_whole(status.downloaded_bytes),
        total_bytes=_whole(status.total_size_bytes),
        bytes_per_second=status.bytes_per_second,
    )


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)
