"""How far the server is before it answers, told to observers and to whoever asked with ``on_progress``."""

from __future__ import annotations

import logging
from collections.abc import Callable

from neuroroute.details import ModelProgress
from neuroroute.pipe.events import ModelLoading, PromptProcessing, Tell
from neuroroute.pipe.host import Host
from neuroroute.requests import ChatRequest

_log = logging.getLogger("neuroroute")


def progressing(request: ChatRequest, host: Host, tell: Tell) -> Callable[[ModelProgress], None]:
    """What a decoder tells its progress to. While the model loads, waiting is not failing: the deadline moves, once."""

    def progressed(progress: ModelProgress) -> None:
        if progress.phase == "processing_prompt":
            tell(
                PromptProcessing(
                    host=request.host, model=request.model, request_id=request.id, fraction=progress.fraction
                )
            )
        else:
            request.wait_for_loading()
            host.seen_loading(request)
            tell(
                ModelLoading(host=request.host, model=request.model, request_id=request.id, fraction=progress.fraction)
            )
        report(request, progress)

    return progressed


def report(request: ChatRequest, progress: ModelProgress) -> None:
    """Calls ``on_progress``; if that fails it is noted in the log, and harms no request."""
    on_progress: Callable[[ModelProgress], object] | None = request.options["on_progress"]
    if on_progress is None:
        return
    try:
        on_progress(progress)
    except Exception:  # noqa: BLE001 - it is somebody else's code
        _log.exception("on_progress failed")
