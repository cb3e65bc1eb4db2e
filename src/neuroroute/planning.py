"""What a turn sends: the whole history, or a shorter one where that no longer fits."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from neuroroute.budget import ContextBudget
from neuroroute.errors import ModelInvalidRequestError
from neuroroute.history import History
from neuroroute.messages import AnyMessage, UserMessage
from neuroroute.responses import Note
from neuroroute.trimming import trimmed

Summarise: TypeAlias = Callable[[list[AnyMessage], int], "list[AnyMessage] | Awaitable[list[AnyMessage]]"]
"""Is given the history and how many tokens it may have; gives the history to go on with."""
Trim: TypeAlias = Literal["oldest"] | Summarise | None

_TRIM_TO = 0.7
"""Trimmed to this share, so that not every further turn drops one more: each drop makes the model read all anew."""


class TurnPlan(NamedTuple):
    """A turn that is about to be taken."""

    history: History
    """What it goes on from: the history as it is, or a shorter one."""
    question: UserMessage
    options: dict[str, Any]
    notes: list[Note]


def checked_trim(trim: Any) -> Trim:
    """A way to shorten a history.

    Raises:
        ModelInvalidRequestError: it is none.
    """
    if trim is None or trim == "oldest" or callable(trim):
        return cast("Trim", trim)
    raise ModelInvalidRequestError(f"trim is {trim!r:.60}; it must be 'oldest', a function, or None")


async def planned(
    history: History,
    question: UserMessage,
    options: dict[str, Any],
    *,
    trim: Trim,
    budget: ContextBudget,
    reserve: int | None,
    read: Callable[[Any], History],
) -> TurnPlan:
    """What is asked in this turn.

    Args:
        history: what was said before.
        question: what the user says next.
        options: of the turn.
        trim: what to do where it does not fit.
        budget: what fits.
        reserve: tokens kept free for the answer.
        read: checks what a function gives as a history.
    """
    notes: list[Note] = []
    if trim is not None and not budget.fits([*history.sent(), question], reserve):
        room = int(budget.room(reserve) * _TRIM_TO)
        if callable(trim):
            shorter = read(await _summarised(trim, history.sent(), room))
            # A summary may be a system message; it does not take the place of how the model is to behave.
            lost = history.system not in (None, shorter.system)
            history = History((*history.messages[:1], *shorter.messages)) if lost else shorter
            notes = [Note("HISTORY_SUMMARISED", "the history was too long, and summarised")]
        else:
            result = trimmed([*history.sent(), question], budget=room, count=budget.estimate)
            if result.dropped:  # else the last turn alone is too long; the server will say so
                history = history.narrowed(result.messages[:-1])
                what = f"the history was too long: its {result.dropped} oldest turn(s) were not sent"
                notes = [Note("HISTORY_TRIMMED", what)]
    sent: dict[str, Any] = {"messages": [*history.sent(), question]}
    if history.previous is not None:
        sent["previous"] = history.previous
    return TurnPlan(history, question, options | sent, notes)


async def _summarised(summarise: Summarise, messages: list[AnyMessage], tokens: int) -> list[AnyMessage]:
    # In a thread where it is not async: it may well wait for an answer itself.
    waits = inspect.iscoroutinefunction(summarise)
    given: Any = summarise(messages, tokens) if waits else await asyncio.to_thread(summarise, messages, tokens)
    kept: list[AnyMessage] = await given if inspect.isawaitable(given) else given
    return kept
