"""Conversations as JSON files, to carry them from one store to another."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_mapping
from neuroroute.store.checks import to_save
from neuroroute.store.protocol import SavedConversation

_FORMAT = "neuroroute.conversation"
_VERSION = 1

_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class _File(msgspec.Struct, kw_only=True):
    format: str
    version: int
    """Of the format, not of the conversation."""
    id: str = ""
    model: str = ""
    title: str = ""
    created: _Seconds | None = None
    updated: _Seconds | None = None
    messages: list[Any]


def exported(id_: str, saved: SavedConversation | None) -> bytes:
    """The conversation as a JSON file.

    Raises:
        ModelInvalidRequestError: there is none.
    """
    if saved is None:
        raise ModelInvalidRequestError(
            f"there is no conversation {id_!r:.60}", hint="list() gives those that there are."
        )
    return msgspec.json.encode(
        _File(
            format=_FORMAT,
            version=_VERSION,
            id=saved.id,
            model=saved.model,
            title=saved.title,
            created=saved.created,
            updated=saved.updated,
            messages=[*saved.messages],
        )
    )


def imported(data: bytes, id_: str | None, now: float) -> SavedConversation:
    """The conversation in a JSON file, to be saved as a new one.

    Args:
        data: the file.
        id_: the id to give it, instead of its own.
        now: POSIX seconds, for a file that has no times.

    Raises:
        ModelInvalidRequestError: names what is wrong with the file.
    """
    file = _read(data)
    if id_ is None and not file.id:
        raise ModelInvalidRequestError("the file has no id", hint="Give one with id=...")
    saved = to_save(
        file.id if id_ is None else id_, file.messages, model=file.model, title=file.title, version=0, now=now
    )
    created = now if file.created is None else file.created
    updated = created if file.updated is None else file.updated
    return msgspec.structs.replace(saved, created=created, updated=updated)


def _read(data: bytes) -> _File:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError) as error:
        raise ModelInvalidRequestError(f"the file is not JSON: {error}") from error
    if not is_mapping(value) or value.get("format") != _FORMAT:
        raise ModelInvalidRequestError(f'format must be "{_FORMAT}": the file is no exported conversation')
    if value.get("version") != _VERSION:
        raise ModelInvalidRequestError(
            f"version must be {_VERSION}, the only one known here", hint="A newer one needs a newer NeuroRoute."
        )
    try:
        return msgspec.convert(value, _File)
    except msgspec.ValidationError as error:
        raise ModelInvalidRequestError(f"the file is wrong: {error}") from error
