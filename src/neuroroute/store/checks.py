"""What all stores check alike, before anything is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from neuroroute.errors import ConversationConflictError, ModelInvalidRequestError
from neuroroute.jsontypes import is_series, is_text
from neuroroute.messages import AnyMessage, ChatMessage, message_from
from neuroroute.store.protocol import SavedConversation
from neuroroute.wire.encode import encode_turn


def check_id(value: str) -> str:
    """The id, found right.

    Raises:
        ModelInvalidRequestError: it is no text, or empty, or not Unicode.
    """
    if not _unicode("id", value):
        raise ModelInvalidRequestError("id must be the id of a conversation, not empty")
    return value


def check_limit(value: object) -> int:
    """How many to list, found right.

    Raises:
        ModelInvalidRequestError: it is no whole number of at least 1.
    """
    if type(value) is not int or not 1 <= value < 2**63:
        raise ModelInvalidRequestError("limit must be a whole number of at least 1")
    return value


def check_age(value: object) -> float:
    """An age in seconds, found right.

    Raises:
        ModelInvalidRequestError: it is no number of at least 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ModelInvalidRequestError("older_than_seconds must be a number of seconds of at least 0")
    return value


def to_save(
    id_: str,
    messages: Iterable[ChatMessage | Mapping[str, Any]],
    *,
    model: str = "",
    title: str = "",
    version: int,
    now: float,
) -> SavedConversation:
    """What is to be saved, found right; its version is the one that it builds on.

    Raises:
        ModelInvalidRequestError: names what is wrong.
    """
    if type(version) is not int or not 0 <= version < 2**63:
        raise ModelInvalidRequestError("version must be the version that was loaded, or 0 for a new conversation")
    _unicode("model", model)
    _unicode("title", title)
    return SavedConversation(
        id=check_id(id_),
        messages=_checked(messages),
        model=model,
        title=title,
        created=now,
        updated=now,
        version=version,
    )


def check_version(saved: SavedConversation, found: int) -> None:
    """Whether what is to be saved builds on what is there.

    Args:
        saved: what is to be saved.
        found: the version that is there, 0 where there is none.

    Raises:
        ConversationConflictError: it does not.
    """
    if saved.version == found:
        return
    if not saved.version:
        what = "is there already"
    elif not found:
        what = "was deleted since it was loaded"
    else:
        what = f"has version {found}; what is to be saved builds on version {saved.version}"
    raise ConversationConflictError(
        f"conversation {saved.id!r:.60} {what}", details={"id": saved.id, "loaded": saved.version, "found": found}
    )


def _unicode(field: str, value: object) -> bool:
    if not is_text(value):
        raise ModelInvalidRequestError(f"{field} must be a text, not a value of type {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _surrogate(field) from error
    return bool(value)


def _checked(messages: object) -> tuple[AnyMessage, ...]:
    if not is_series(messages):
        raise ModelInvalidRequestError(f"messages must be a list of messages, not {type(messages).__name__}")
    checked = tuple([message_from(value, f"messages[{index}]") for index, value in enumerate(messages)])
    for index, message in enumerate(checked):
        try:
            encode_turn(message)  # kept with the message, so that it is no work done twice
        except UnicodeEncodeError as error:
            raise _surrogate(f"messages[{index}]") from error
    return checked


def _surrogate(field: str) -> ModelInvalidRequestError:
    return ModelInvalidRequestError(
        f"{field} holds a lone surrogate (half of a UTF-16 pair), which is not Unicode text",
        hint="Decode the text properly, or drop it with text.encode('utf-8', 'ignore').decode().",
    )
