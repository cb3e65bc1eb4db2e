"""How far the server is before it answers, told to observers and to whoever asked with ``on_progress``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

from neuroroute.details import ModelProgress
from neuroroute.pipe.events import ModelLoading, PromptProcessing, Tell
from neuroroute.pipe.hostedmodel import HostedModel
from neuroroute.requests import ChatRequest

OnProgress: TypeAlias = Callable[[ModelProgress], object]
"""Is told how far something is; must not wait."""

_log = logging.getLogger("neuroroute")


def progressing(request: ChatRequest, model: HostedModel, tell: Tell) -> Callable[[ModelProgress], None]:
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
            model.seen_loading(request.options["model_loading_timeout_ms"])
            tell(
                ModelLoading(host=request.host, model=request.model, request_id=request.id, fraction=progress.fraction)
            )
        report(request, progress)

    return progressed


def report(request: ChatRequest, progress: ModelProgress) -> None:
    """Tells ``on_progress``."""
    if (on_progress := request.options["on_progress"]) is not None:
        told_safely(on_progress)(progress)


def told_safely(on_progress: OnProgress | None) -> OnProgress:
    """What is told of a progress; if that fails it is noted in the log, and harms nothing."""

    def tell(progress: ModelProgress) -> None:
        if on_progress is not None:
            try:
                on_progress(progress)
            except Exception:  # noqa: BLE001 - it is somebody else's code
                _log.exception("on_progress failed")

    return tell
