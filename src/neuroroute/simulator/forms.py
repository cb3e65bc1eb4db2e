"""The routes that ask a model for text: what each makes of a request, and of the same answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuroroute.simulator import chat, validation
from neuroroute.simulator.answers import Fail, Refused
from neuroroute.simulator.chat import Completion
from neuroroute.simulator.delivery import Events
from neuroroute.simulator.wordings import ErrorCase

if TYPE_CHECKING:
    from collections.abc import Mapping


def _as_it_is(case: ErrorCase | Fail) -> ErrorCase | Fail:
    return case


@dataclass(frozen=True, slots=True)
class Form:
    """One of them."""

    ids: str
    """What the ids of its answers begin with."""
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """The request as one to chat: with ``messages``. Raises :class:`Refused`."""
    body: Callable[[Completion], dict[str, Any]]
    """The answer in one body."""
    events: Callable[[Completion], Events]
    """The answer as a stream."""
    case: Callable[[ErrorCase | Fail], ErrorCase | Fail] = _as_it_is
    """A failure in the envelope of the route."""


def _read_chat(body: Mapping[str, Any]) -> Mapping[str, Any]:
    if refused := validation.refusal(body):
        raise Refused(refused)
    return body


CHAT = Form("chatcmpl-", _read_chat, chat.body, chat.events)
"""``POST /v1/chat/completions``."""
