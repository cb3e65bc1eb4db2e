"""About how many tokens texts have: a quarter of their UTF-8 length, put right by what servers counted."""

from __future__ import annotations

from collections.abc import Sequence

from neuroroute.messages import AnyMessage
from neuroroute.responses import estimate_history_tokens, estimate_message_tokens, estimate_tokens

_SLOW, _FAST = 0.25, 4.0
"""Bounds of what is learnt: what is further off was counted of something else."""
_KEPT = 0.8
"""How much of what was learnt before counts beside a new count."""


class TokenEstimate:
    """What is learnt of one model's tokens.

    Every count weighs as much as it counted, and older ones less from count to count: long prompts tell more than
    short ones, of which half is what the chat template puts around them.
    """

    __slots__ = ("_counted", "_estimated")

    def __init__(self) -> None:
        self._counted = 0.0
        self._estimated = 0.0

    @property
    def ratio(self) -> float:
        """By what plain estimates are multiplied; 1 while nothing was learnt."""
        return min(max(self._counted / self._estimated, _SLOW), _FAST) if self._estimated else 1.0

    def learn(self, messages: Sequence[AnyMessage], tokens: int) -> None:
        """Takes over how many tokens these have together, as a server counted."""
        plain = estimate_history_tokens(messages)
        if plain and tokens > 0:
            self._counted = self._counted * _KEPT + tokens
            self._estimated = self._estimated * _KEPT + plain

    def text(self, text: str) -> int:
        """About how many tokens a text has."""
        return max(round(estimate_tokens(text) * self.ratio), bool(text))

    def message(self, message: AnyMessage) -> int:
        """About how many tokens a message has, with what a chat template puts around it."""
        return round(estimate_message_tokens(message) * self.ratio) + 1


class TokenEstimates:
    """What is learnt of every model, by the name that it is asked by."""

    def __init__(self) -> None:
        self._models: dict[str, TokenEstimate] = {}

    def of(self, model: str) -> TokenEstimate:
        """What is learnt of this one; the same object for all who ask."""
        return self._models.setdefault(model, TokenEstimate())
