"""PURE: a history that was too long for the model, without its oldest turns."""

from __future__ import annotations

from collections.abc import Callable

from neuroroute.errors import ModelContextLengthError
from neuroroute.messages import AnyMessage
from neuroroute.responses import estimate_history_tokens, estimate_message_tokens
from neuroroute.trimming import Trimmed, trimmed

_COUNTED_SHARE = 0.9
"""Of the room, where the server counted the prompt: templates cost a little more than estimates tell."""
_GUESSED_SHARE = 0.7
"""Of the room, where nobody counted."""


def shortened(
    messages: list[AnyMessage], error: ModelContextLengthError, context_length: int, max_tokens: int
) -> Trimmed | None:
    """What is left when the oldest whole turns go, as few as will do; None where nothing can go.

    Args:
        messages: what was too long.
        error: with the number of tokens that the server counted, where it told.
        context_length: tokens that fit, the answer included.
        max_tokens: of the answer, -1 for no limit.
    """
    reserve = context_length // 2 if max_tokens < 1 else min(max_tokens, context_length // 2)
    share = _GUESSED_SHARE if error.prompt_tokens is None else _COUNTED_SHARE
    count = _counter(messages, error.prompt_tokens)
    left = trimmed(messages, budget=int((context_length - reserve) * share), count=count)
    return left if left.dropped else None


def _counter(messages: list[AnyMessage], counted: int | None) -> Callable[[AnyMessage], int]:
    """Estimates, put right by what was counted of all of them together."""
    estimated = estimate_history_tokens(messages)
    ratio = 1.0 if counted is None else max(counted / max(estimated, 1), 0.1)
    return lambda message: round(estimate_message_tokens(message) * ratio) + 1
