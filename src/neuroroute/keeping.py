"""A history in its store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.history import History
from neuroroute.jsontypes import is_text
from neuroroute.store import ConversationStore, SavedConversation


class Keeper:
    """Knows where a history is kept, and on top of which version it is saved next."""

    def __init__(self, store: ConversationStore | None, id: str | None) -> None:  # noqa: A002 - the word for it
        """Checks both.

        Args:
            store: None: it is kept nowhere.
            id: None: a new one.

        Raises:
            ModelInvalidRequestError: no store, or no id.
        """
        given: Any = store
        if given is not None and not all(callable(getattr(given, verb, None)) for verb in ("load", "save")):
            kind = type(given).__name__
            raise ModelInvalidRequestError(f"store must be a store such as SQLiteStore('chats.db'), not a {kind}")
        if id is not None and (not is_text(id) or not id):
            raise ModelInvalidRequestError(f"id is {id!r:.60}; it must be a text that is not empty, or None: a new one")
        self.store = store
        self.id = id or uuid4().hex
        self._version: int | None = None if store is not None and id is not None else 0

    @property
    def known(self) -> bool:
        """Whether what the store has is known; else it has to be loaded before anything is saved."""
        return self._version is not None

    async def load(self) -> SavedConversation | None:
        """What the store has."""
        saved = None if self.store is None else await self.store.load(self.id)
        self._version = 0 if saved is None else saved.version
        return saved

    async def save(self, history: History, model: str) -> None:
        """Saves it, on top of what was loaded or saved last.

        Raises:
            CancelledError: the caller was cancelled; if it is still ``known`` what the store has, all was saved first.
            ConversationConflictError: somebody else saved it in between; it has to be loaded again.
            ConfigurationError: the store cannot be written; likewise.
        """
        if self.store is None:
            return
        version, self._version = self._version or 0, None
        saving = asyncio.ensure_future(
            self.store.save(self.id, history.messages, model=model, title=history.title, version=version)
        )
        try:
            self._version = await asyncio.shield(saving)
        except asyncio.CancelledError:
            with suppress(Exception):  # the cancellation is what the caller waits for
                self._version = await saving
            raise
