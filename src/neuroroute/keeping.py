"""A history in its store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from neuroroute.errors import ConfigurationError, ConversationConflictError, LMStudioError, ModelInvalidRequestError
from neuroroute.history import History
from neuroroute.jsontypes import is_text
from neuroroute.messages import AnyMessage
from neuroroute.store import ConversationStore


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

    async def load(self, read: Callable[[tuple[AnyMessage, ...]], History]) -> History | None:
        """What the store has, if anything.

        Args:
            read: checks it; what cannot be read is never saved over.
        """
        saved = None if self.store is None else await self.store.load(self.id)
        history = None if saved is None else read(saved.messages)
        self._version = 0 if saved is None else saved.version
        return history

    async def save(self, history: History, model: str) -> None:
        """Saves it, on top of what was loaded or saved last.

        Raises:
            CancelledError: the caller was cancelled; if it is still ``known`` what the store has, all was saved first.
            ConversationConflictError: somebody else saved it in between; it has to be loaded again.
            ConfigurationError: the store cannot be written.
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
            while not saving.done():  # cancelled again, perhaps: the store goes on all the same
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([saving])
            with suppress(Exception):  # the cancellation is what the caller waits for
                self._version = saving.result()
            raise
        except ConversationConflictError:
            raise
        except Exception as error:
            self._version = version
            if isinstance(error, LMStudioError):
                raise
            raise ConfigurationError(f"the store failed: {type(error).__name__}", hint="Look at its cause.") from error
