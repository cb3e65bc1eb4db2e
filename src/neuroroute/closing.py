"""``async with`` for whatever has ``aclose``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class AsyncClosing(ABC):
    """Closed at the end of its ``async with``."""

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """Closes it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
