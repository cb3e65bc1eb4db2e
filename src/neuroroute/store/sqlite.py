"""Conversations in a SQLite file, which several processes may use at once."""

# ruff: noqa: A002 - "id" is what a conversation's name is called everywhere

from __future__ import annotations

import builtins
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from neuroroute.closing import AsyncClosing
from neuroroute.localfile import FileThread, local_path
from neuroroute.messages import ChatMessage
from neuroroute.store.checks import check_age, check_id, check_limit, to_save
from neuroroute.store.exchange import exported, imported
from neuroroute.store.protocol import ConversationSummary, SavedConversation

if TYPE_CHECKING:
    from neuroroute.store.database import Database


class SQLiteStore(AsyncClosing):
    """A ConversationStore in one file.

    A save that has returned is on the disk. SQLite works in a thread of the store's own, so that no event loop waits
    for a disk; one store may be used from several event loops and threads. The file is opened on first use: a process
    that forks does so before. It must be on a local disk: SQLite's locks do not hold on network drives.

    Args:
        path: the file; made on first use, readable by its owner only, as is the folder if that is made, too.
        clock: gives POSIX seconds.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self._path = local_path(path, "SQLiteStore")
        self._clock = clock
        self._file = FileThread("store", self._opened)

    async def load(self, id: str) -> SavedConversation | None:
        """The conversation, or None where there is none of this id."""
        check_id(id)
        return await self._file.run(lambda database: database.load(id))

    async def save(
        self,
        id: str,
        messages: Iterable[ChatMessage | Mapping[str, Any]],
        *,
        model: str = "",
        title: str = "",
        version: int,
    ) -> int:
        """Saves the whole history and returns its new version; see ConversationStore."""
        saved = to_save(id, messages, model=model, title=title, version=version, now=self._clock())
        return await self._file.run(lambda database: database.save(saved))

    async def list(self, *, limit: int = 100) -> builtins.list[ConversationSummary]:
        """The conversations that were saved last, the newest first."""
        check_limit(limit)
        return await self._file.run(lambda database: database.list(limit))

    async def delete(self, id: str) -> bool:
        """Deletes the conversation; False where there was none."""
        check_id(id)
        return await self._file.run(lambda database: database.delete(id))

    async def expire(self, older_than_seconds: float) -> int:
        """Deletes the conversations that were last saved longer ago than this; returns how many."""
        before = self._clock() - check_age(older_than_seconds)
        return await self._file.run(lambda database: database.expire(before))

    async def export_json(self, id: str) -> bytes:
        """The conversation as a JSON file; see ConversationStore."""
        return exported(id, await self.load(id))

    async def import_json(self, data: bytes, *, id: str | None = None) -> str:
        """Takes in what ``export_json`` gave, as a new conversation; see ConversationStore."""
        saved = imported(data, id, self._clock())
        await self._file.run(lambda database: database.save(saved))
        return saved.id

    async def aclose(self) -> None:
        """Closes the file after what was begun is done; the store cannot be used any more."""
        await self._file.aclose()

    def _opened(self) -> Database:
        from neuroroute.store.database import Database

        return Database(self._path)
