"""How many tokens a history takes, and how many are left: estimated, and put right by what the server counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from neuroroute.details import ModelDetails
from neuroroute.errors import LMStudioError, ModelInvalidRequestError
from neuroroute.estimates import TokenEstimate
from neuroroute.messages import AnyMessage

DEFAULT_RESERVE = 1024
"""Tokens kept free for the answer where ``max_tokens`` does not say: its default."""


class ContextBudget:
    """Tokens of a conversation: how many fit, are used and are left.

    Estimates are a quarter of the UTF-8 length, times what the model's last counts have taught, of whichever requests.
    """

    __slots__ = ("_estimate", "_known", "given", "limit", "used")

    def __init__(self, limit: int | None = None, estimate: TokenEstimate | None = None) -> None:
        size: object = limit
        if size is not None and (type(size) is not int or size < 1):
            raise ModelInvalidRequestError(
                f"max_context_tokens is {size!r:.60}; it must be a whole number of at least 1"
            )
        self.given = limit
        """As it was given."""
        self.limit = limit
        """Tokens that fit: as given, else the context that the model was loaded with; None while it is not known."""
        self.used = 0
        """Tokens of the last prompt and its answer, as the server counted (or an estimate, where it did not)."""
        self._estimate = estimate or TokenEstimate()
        self._known = limit is not None

    @property
    def left(self) -> int | None:
        """Tokens that are free; None while the limit is not known."""
        return None if self.limit is None else max(self.limit - self.used, 0)

    def __repr__(self) -> str:
        return f"<ContextBudget {self.used} of {self.limit or 'an unknown number of'} tokens used>"

    async def learn_limit(self, details: Callable[[], Awaitable[ModelDetails | None]]) -> None:
        """Asks for the model's context, until a copy of it is loaded; a server that does not tell leaves it unknown."""
        if self._known:
            return
        try:
            found = await details()
        except LMStudioError:
            return  # asked again with the next turn
        self.limit = None if found is None else found.context_length
        self._known = found is None or found.loaded is not False

    def estimate(self, message: AnyMessage) -> int:
        """About how many tokens a message has."""
        return self._estimate.message(message)

    def room(self, reserve: int | None) -> int:
        """Tokens that a prompt may have, so that an answer of ``reserve`` tokens fits after it."""
        if self.limit is None:
            return 1 << 62
        wanted = DEFAULT_RESERVE if reserve is None or reserve < 1 else reserve
        return max(self.limit - min(wanted, self.limit // 2), 1)

    def fits(self, messages: Iterable[AnyMessage], reserve: int | None) -> bool:
        """Whether these messages and an answer fit."""
        return self.limit is None or sum(map(self.estimate, messages)) <= self.room(reserve)
