from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from neuroroute.store import ConversationStore, MemoryStore, SQLiteStore


class WallClock:
    """The time of day, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> WallClock:
    return WallClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "conversations.db"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, path: Path, wall: WallClock) -> AsyncIterator[ConversationStore]:
    """Each kind of store: what a test says of it holds for all."""
    made: ConversationStore = MemoryStore(clock=wall) if request.param == "memory" else SQLiteStore(path, clock=wall)
    async with made:
        yield made
