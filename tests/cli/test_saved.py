from __future__ import annotations

from pathlib import Path

import pytest

from neuroroute import AssistantMessage, ConfigurationError, ConversationConflictError, SQLiteStore, UserMessage
from neuroroute.cli.saved import LAST, Keeper

SAID = [UserMessage(content="Hello  there,\nparrot"), AssistantMessage(content="Hi")]


async def test_what_is_kept_can_be_resumed(tmp_path: Path) -> None:
    """A conversation goes on by its id, the beginning of it, or as the newest; its title is how it began."""
    async with SQLiteStore(tmp_path / "chats.db") as store:
        first, second = Keeper(store, "abc1"), Keeper(store, "abd2")
        await first.keep(SAID, "llama3")
        await second.keep(SAID[:1], "llama3")
        await first.keep([*SAID, *SAID], "llama3")
        for wanted in ("abc1", "abc", LAST):
            keeper, messages = await Keeper.resumed(store, wanted)
            assert (keeper.id, messages) == ("abc1", [*SAID, *SAID])
        await keeper.keep(SAID, "llama3")
        assert {one.id: one.title for one in await store.list()} == {
            "abc1": "Hello there, parrot",
            "abd2": "Hello there, parrot",
        }


async def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    """None, or more than one, is told with where to look."""
    async with SQLiteStore(tmp_path / "chats.db") as store:
        with pytest.raises(ConfigurationError, match="no conversation was kept yet"):
            await Keeper.resumed(store, LAST)
        for name in ("abc1", "abd2"):
            await Keeper(store, name).keep(SAID, "llama3")
        with pytest.raises(ConfigurationError, match="2 conversations have ids that begin with 'ab'.*chat --list"):
            await Keeper.resumed(store, "ab")
        with pytest.raises(ConfigurationError, match="no conversation has an id that begins with 'x'"):
            await Keeper.resumed(store, "x")


async def test_nothing_is_kept_of_nothing(tmp_path: Path) -> None:
    """A chat without a turn leaves no trace."""
    async with SQLiteStore(tmp_path / "chats.db") as store:
        await Keeper(store).keep([], "llama3")
        assert await store.list() == []


async def test_two_who_go_on_with_one(tmp_path: Path) -> None:
    """The second of two programs is told, instead of overwriting the first."""
    async with SQLiteStore(tmp_path / "chats.db") as store:
        await Keeper(store, "a").keep(SAID, "llama3")
        one, _ = await Keeper.resumed(store, "a")
        two, _ = await Keeper.resumed(store, "a")
        await one.keep([*SAID, *SAID], "llama3")
        with pytest.raises(ConversationConflictError):
            await two.keep(SAID, "llama3")
