"""Models come into memory and leave it, on whichever of several hosts is best for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuroroute.details import LoadedModel, ModelDetails
from neuroroute.errors import (
    ConfigurationError,
    LMStudioError,
    ModelNotFoundError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
)
from neuroroute.models.lifecycle import Lifecycle
from neuroroute.pipe.progress import OnProgress
from neuroroute.selection import named

_OF_ONE_HOST = (ConfigurationError, ModelNotFoundError, ModelUnavailableError, NetworkError)
"""After these another host may well load it; one that takes too long goes on, and no second load is begun."""


async def load(
    lifecycles: Sequence[Lifecycle],
    asked: str,
    config: Mapping[str, Any],
    timeout_ms: float,
    on_progress: OnProgress | None,
) -> LoadedModel:
    """Has the first host load a model that can.

    Raises:
        LMStudioError: none could: the error of the first that has it, else of the first.
    """
    failures: list[LMStudioError] = []
    for lifecycle in lifecycles:
        try:
            return await lifecycle.load(asked, config, timeout_ms, on_progress)
        except _OF_ONE_HOST as error:
            failures.append(error)
        except ModelTimeoutError as error:
            if not error.retryable:  # of the load itself
                raise
            failures.append(error)
    raise next((error for error in failures if isinstance(error, ModelUnavailableError)), failures[0])


async def unload(lifecycles: Sequence[Lifecycle], models: Sequence[ModelDetails], asked: str) -> tuple[str, ...]:
    """Has a model taken out of memory wherever it is; on every host that is not down, whatever others say.

    Args:
        lifecycles: of all hosts.
        models: of all hosts.
        asked: the model's key, for all its copies, or the id of one.

    Raises:
        ModelNotFoundError: there is no such model.
        LMStudioError: a host did not; where it was taken out of memory all the same is in ``details["unloaded"]``.
    """
    named(models, asked)
    gone: list[str] = []
    failures: list[LMStudioError] = []
    for lifecycle in lifecycles:
        if not lifecycle.has_loaded(asked):
            continue
        try:
            gone += await lifecycle.unload(asked)
        except LMStudioError as error:
            failures.append(error)
    if failures:
        failures[0].details = {**failures[0].details, "unloaded": gone}
        raise failures[0]
    return tuple(gone)
