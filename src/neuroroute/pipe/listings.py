"""A host's listing of its models, asked for once by all who need it at the same time."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from neuroroute.details import ModelDetails
from neuroroute.errors import LMStudioError
from neuroroute.pipe.background import Background

ListModels: TypeAlias = Callable[[], Awaitable[list[ModelDetails]]]
OnListed: TypeAlias = Callable[[list[ModelDetails]], None]
"""Is told what was listed, while ``last`` is still what was listed before."""


class Listings:
    """What a server lists. Asking never runs a completion and never loads a model."""

    def __init__(self, background: Background, list_models: ListModels, on_listed: OnListed) -> None:
        self._background = background
        self._list_models = list_models
        self._on_listed = on_listed
        self.last: list[ModelDetails] = []
        """What was listed last."""
        self._listed_at = self._asked_at = -math.inf

    async def details(self, model_id: str, *, max_age: float = 0.0) -> ModelDetails | None:
        """What is listed of a model; None where there is no listing, or it is not in it.

        Args:
            model_id: a key, or the id of an instance.
            max_age: seconds that may have passed since it was listed.
        """
        try:
            models = await self.models(max_age=max_age)
        except LMStudioError:
            return None
        return next((model for model in models if model.answers_to(model_id)), None)

    async def models(self, *, max_age: float = 0.0) -> list[ModelDetails]:
        """All that is listed.

        Args:
            max_age: seconds that may have passed since it was listed.

        Raises:
            LMStudioError: there is no listing.
        """
        if time.monotonic() - self._listed_at >= max_age:
            await self._background.result(self, self._list)
        return self.last

    def ask(self, max_age: float) -> None:
        """Asks in the background, for ``on_listed``, unless it was asked in the last so many seconds."""
        if time.monotonic() - self._asked_at > max_age:
            self._background.begin(self, self._list)

    async def _list(self) -> None:
        self._asked_at = time.monotonic()
        self.take(await self._list_models())

    def take(self, models: list[ModelDetails]) -> None:
        """Takes over what was listed."""
        self._on_listed(models)
        self.last, self._listed_at = models, time.monotonic()
