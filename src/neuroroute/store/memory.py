"""Conversations in memory: gone when the process ends."""

# ruff: noqa: A002 - "id" is what a conversation's name is called everywhere

from __future__ import annotations

import builtins
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from neuroroute.closing import AsyncClosing
from neuroroute.messages import ChatMessage
from neuroroute.store.checks import check_age, check_id, check_limit, check_version, to_save
from neuroroute.store.exchange import exported, imported
from neuroroute.store.protocol import ConversationSummary, SavedConversation


class MemoryStore(AsyncClosing):
    """A ConversationStore in memory, for tests and for conversations that need not last.

    Args:
        clock: gives POSIX seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: dict[str, SavedConversation] = {}
        self._spent = 0
        """The highest version of any conversation that was deleted."""
        self._lock = threading.Lock()
        self._closed = False

    async def load(self, id: str) -> SavedConversation | None:
        """The conversation, or None where there is none of this id."""
        return self._open().get(check_id(id))

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
        return self._put(to_save(id, messages, model=model, title=title, version=version, now=self._clock()))

    async def list(self, *, limit: int = 100) -> builtins.list[ConversationSummary]:
        """The conversations that were saved last, the newest first."""
        with self._lock:
            kept = [*self._open().values()]
        kept.sort(key=lambda saved: (-saved.updated, saved.id))
        return [_summary(saved) for saved in kept[: check_limit(limit)]]

    async def delete(self, id: str) -> bool:
        """Deletes the conversation; False where there was none."""
        check_id(id)
        return self._remove(lambda saved: saved.id == id) > 0

    async def expire(self, older_than_seconds: float) -> int:
        """Deletes the conversations that were last saved longer ago than this; returns how many."""
        before = self._clock() - check_age(older_than_seconds)
        return self._remove(lambda saved: saved.updated < before)

    async def export_json(self, id: str) -> bytes:
        """The conversation as a JSON file; see ConversationStore."""
        return exported(id, await self.load(id))

    async def import_json(self, data: bytes, *, id: str | None = None) -> str:
        """Takes in what ``export_json`` gave, as a new conversation; see ConversationStore."""
        saved = imported(data, id, self._clock())
        self._put(saved)
        return saved.id

    async def aclose(self) -> None:
        """Forgets everything; the store cannot be used any more."""
        self._closed = True
        self._kept.clear()

    def _open(self) -> dict[str, SavedConversation]:
        if self._closed:
            raise RuntimeError("the store is closed")
        return self._kept

    def _put(self, saved: SavedConversation) -> int:
        with self._lock:
            kept = self._open()
            there = kept.get(saved.id)
            check_version(saved, there.version if there else 0)
            version = (saved.version if there else self._spent) + 1
            kept[saved.id] = msgspec.structs.replace(
                saved,
                model=saved.model or (there.model if there else ""),
                title=saved.title or (there.title if there else ""),
                created=there.created if there else saved.created,
                version=version,
            )
            return version

    def _remove(self, gone: Callable[[SavedConversation], bool]) -> int:
        with self._lock:
            kept = self._open()
            versions = [kept.pop(saved.id).version for saved in [*kept.values()] if gone(saved)]
            self._spent = max([self._spent, *versions])
            return len(versions)


def _summary(saved: SavedConversation) -> ConversationSummary:
    return ConversationSummary(
        id=saved.id,
        model=saved.model,
        title=saved.title,
        created=saved.created,
        updated=saved.updated,
        message_count=len(saved.messages),
        version=saved.version,
    )
