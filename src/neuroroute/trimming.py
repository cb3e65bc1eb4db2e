"""A history cut to what a model can hold: the oldest turns go, whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from neuroroute.messages import AnyMessage, AssistantMessage, FunctionMessage, SystemMessage, ToolMessage, UserMessage


class Trimmed(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a history."""

    messages: list[AnyMessage]
    """The very list that was given, where nothing was dropped."""
    dropped: int
    """How many turns were left out."""
    tokens: int
    """What is left takes so many."""
    fits: bool
    """Whether that is within the budget; if not, the system messages and the last turn alone are over it."""


def turns_of(messages: Sequence[AnyMessage]) -> list[list[AnyMessage]]:
    """The history in turns.

    A turn is a user message and all that follows up to the next. The system messages that the history begins with are a
    head of their own, the first list, if there are any. A call and its result are always in one turn: where a user
    message came between them, in either order, both turns are one.

    Returns:
        Lists that hold every message once, in order.
    """
    start = _head(messages)
    turns: list[list[AnyMessage]] = []
    for message in messages[start:]:
        if not turns or isinstance(message, UserMessage):
            turns.append([])
        turns[-1].append(message)
    joined = [[*messages[:start]]] if start else []
    until = -1
    for index, (turn, reach) in enumerate(zip(turns, _reaches(turns), strict=True)):
        if index > until:
            joined.append(turn)
        else:
            joined[-1].extend(turn)
        until = max(until, reach)
    return joined


def trimmed(messages: list[AnyMessage], *, budget: int, count: Callable[[AnyMessage], int]) -> Trimmed:
    """Drops the oldest turns, as few as will do, until the rest is within the budget.

    System messages stay where they are, the last turn stays, and no call is parted from its result. If the rest is over
    the budget even so, it is given all the same, with ``fits=False``.

    Args:
        messages: the history, which is left as it is.
        budget: tokens that the rest may take.
        count: how many tokens a message takes, asked once for each.
    """
    turns = turns_of(messages)
    costs = [sum(count(message) for message in turn if not isinstance(message, SystemMessage)) for turn in turns]
    tokens = sum(costs) + sum(count(message) for message in messages if isinstance(message, SystemMessage))
    first = 1 if _head(messages) else 0
    gone = first
    while tokens > budget and gone < len(turns) - 1:
        tokens -= costs[gone]
        gone += 1
    if gone > first:
        kept = [message for turn in turns[:gone] for message in turn if isinstance(message, SystemMessage)]
        messages = [*kept, *(message for turn in turns[gone:] for message in turn)]
    return Trimmed(messages=messages, dropped=gone - first, tokens=tokens, fits=tokens <= budget)


def _head(messages: Sequence[AnyMessage]) -> int:
    """How many system messages the history begins with."""
    others = (index for index, message in enumerate(messages) if not isinstance(message, SystemMessage))
    return next(others, len(messages))


def _reaches(turns: list[list[AnyMessage]]) -> list[int]:
    """For every turn, the last one that it shares a call and its result with."""
    pairs = _Pairs(len(turns))
    for index, turn in enumerate(turns):
        for message in turn:
            for key in _calls(message):
                pairs.call(key, index)
            if isinstance(message, ToolMessage):
                pairs.result(("tool", message.tool_call_id), index)
            elif isinstance(message, FunctionMessage):
                pairs.result(("function", message.name or ""), index)
    return pairs.reaches


_Key = tuple[str, str]
"""What a result names of its call: a tool call's id, or in the older form a function's name."""


def _calls(message: AnyMessage) -> Iterable[_Key]:
    if isinstance(message, AssistantMessage):
        for call in message.tool_calls:
            yield "tool", call.id
        if message.function_call is not None:
            yield "function", message.function_call.name


class _Pairs:
    """Finds the call of each result.

    Ids come again: LM Studio has sent empty ones (#830), names are those of functions. So a result belongs to the
    latest call of its id that has none yet, else to the latest, else to the next one. Turns are gone through in order,
    so that what was found last reaches furthest.
    """

    __slots__ = ("_called", "_early", "_open", "reaches")

    def __init__(self, turns: int) -> None:
        self.reaches = [*range(turns)]
        self._open: dict[_Key, list[int]] = {}
        self._called: dict[_Key, int] = {}
        self._early: dict[_Key, int] = {}

    def call(self, key: _Key, turn: int) -> None:
        self._called[key] = turn
        self._open.setdefault(key, []).append(turn)
        if key in self._early:
            self.reaches[self._early.pop(key)] = turn

    def result(self, key: _Key, turn: int) -> None:
        if unanswered := self._open.get(key):
            self.reaches[unanswered.pop()] = turn
        elif key in self._called:
            self.reaches[self._called[key]] = turn
        else:
            self._early.setdefault(key, turn)
