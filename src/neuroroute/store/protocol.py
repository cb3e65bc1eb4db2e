"""What every store of conversations promises, and the values that it gives."""

# ruff: noqa: A002 - "id" is what a conversation's name is called everywhere

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from neuroroute.messages import AnyMessage, ChatMessage


class SavedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as it was saved."""

    id: str
    """What it is loaded by."""
    messages: tuple[AnyMessage, ...]
    """The whole history."""
    model: str = ""
    """The model that it was held with."""
    title: str = ""
    """What a list of conversations shows."""
    created: float
    """When it was first saved, in POSIX seconds."""
    updated: float
    """When it was last saved, in POSIX seconds."""
    version: int
    """Grows with every save; give it back when you save."""


class ConversationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says of a conversation, its messages not loaded."""

    id: str
    """What it is loaded by."""
    model: str
    """The model that it was held with."""
    title: str
    """What a list of conversations shows."""
    created: float
    """When it was first saved, in POSIX seconds."""
    updated: float
    """When it was last saved, in POSIX seconds."""
    message_count: int
    """How many messages it has."""
    version: int
    """Grows with every save."""


class ConversationStore(Protocol):
    """Keeps conversations by id; several processes may use one store at once.

    Every verb is done whole or not at all, also when its caller is cancelled (then it may be either: load to see).
    A wrong argument is a ModelInvalidRequestError that names it; a store that cannot be used is a ConfigurationError.
    """

    async def load(self, id: str) -> SavedConversation | None:
        """The conversation, or None where there is none of this id."""
        ...

    async def save(
        self,
        id: str,
        messages: Iterable[ChatMessage | Mapping[str, Any]],
        *,
        model: str = "",
        title: str = "",
        version: int,
    ) -> int:
        """Saves the whole history; what is unchanged at its beginning is not written again.

        Args:
            id: any text but the empty one.
            messages: the whole history.
            model: the model; empty leaves the one that is saved.
            title: the title; empty leaves the one that is saved.
            version: what was loaded, or what the last save returned; 0 for a new conversation.

        Returns:
            The new version. It never comes again for this id, even when the conversation is deleted and begun anew.

        Raises:
            ConversationConflictError: another has saved or deleted it in between; nothing was written.
        """
        ...

    async def list(self, *, limit: int = 100) -> builtins.list[ConversationSummary]:
        """The conversations that were saved last, the newest first."""
        ...

    async def delete(self, id: str) -> bool:
        """Deletes the conversation; False where there was none."""
        ...

    async def expire(self, older_than_seconds: float) -> int:
        """Deletes the conversations that were last saved longer ago than this; returns how many."""
        ...

    async def export_json(self, id: str) -> bytes:
        """The conversation as a JSON file, its messages in the shape of chat completions.

        Raises:
            ModelInvalidRequestError: there is no conversation of this id.
        """
        ...

    async def import_json(self, data: bytes, *, id: str | None = None) -> str:
        """Takes in what ``export_json`` gave, with its times, as a new conversation.

        Args:
            data: the JSON file.
            id: the id to save it under, instead of the file's own.

        Returns:
            The id that it has now.

        Raises:
            ModelInvalidRequestError: the file is wrong; says where.
            ConversationConflictError: there is a conversation of this id already; nothing was written.
        """
        ...

    async def aclose(self) -> None:
        """Closes the store; it cannot be used any more."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
