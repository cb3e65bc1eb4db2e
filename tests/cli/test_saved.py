from __future__ import annotations

import re
from pathlib import Path

import pytest

from neuroroute import AssistantMessage, ConfigurationError, SQLiteStore, UserMessage
from neuroroute.cli.saved import LAST, new_id, resumable

SAID = [UserMessage(content="Hello"), AssistantMessage(content="Hi")]


async def test_a_conversation_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    """An id, the beginning of one, or nothing, which is the newest, leads to one conversation."""
    async with SQLiteStore(tmp_path / "chats.db") as store:
        for name in ("abd2", "abc", "abc1"):
            await store.save(name, SAID, version=0)
        found = [await resumable(store, wanted) for wanted in ("abc", "abc1", "abd", LAST)]
        assert found == ["abc", "abc1", "abd2", "abc1"]


async def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    """None, or more than one, is told with where to look."""
    async with SQLiteStore(tmp_path / "chats.db") as store:
        with pytest.raises(ConfigurationError, match="none was kept yet"):
            await resumable(store, LAST)
        for name in ("abc1", "abd2"):
            await store.save(name, SAID, version=0)
        with pytest.raises(ConfigurationError, match=r"2 conversations have an id that begins with 'ab'.*chat --list"):
            await resumable(store, "ab")
        with pytest.raises(ConfigurationError, match=r"no conversation has an id that begins with 'x'.*chat --list"):
            await resumable(store, "x")


def test_ids_can_be_typed() -> None:
    """A new id is eight characters, and another each time."""
    assert re.fullmatch("[0-9a-f]{8}", new_id())
    assert new_id() != new_id()
