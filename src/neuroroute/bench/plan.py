"""What is measured, in which order, and with which prompts. PURE."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_number

ALONE = 2
"""Requests of a round that are sent one after the other."""

TOKENS_PER_WORD = 1.3
"""Until the first answer tells how many tokens our words really have."""

_MOST_AT_ONCE = 256
_ASKING = 14
"""Words of a prompt beside those that are chosen."""

_WORDS = (
    *("river", "stone", "winter", "garden", "signal", "copper", "window", "market", "silver", "engine", "forest"),
    *("letter", "bridge", "candle", "harbor", "meadow", "thunder", "basket", "mirror", "violin", "planet"),
    *("saddle", "pepper", "lantern", "cotton", "glacier", "pencil", "marble", "rocket", "island"),
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured.

    Raises:
        ModelInvalidRequestError: a value cannot be right; says which would be.
    """

    rounds: int = 3
    """How often everything is measured."""
    prompt_tokens: int = 256
    """About how long a prompt is; how long it was in truth is told with what was measured."""
    max_tokens: int = 64
    """How long an answer may become."""
    concurrency: tuple[int, ...] = (1, 2, 4)
    """How many requests are sent at once; one alone is always measured."""
    tools: bool = True
    """Whether the model is asked to call tools."""
    timeout_ms: float = 300_000
    """How long an answer may take to begin."""

    def __post_init__(self) -> None:
        for name, low, high in (("rounds", 1, 1000), ("prompt_tokens", 16, 1 << 20), ("max_tokens", 2, 1 << 20)):
            _check(name, getattr(self, name), low, high)
        levels: Any = self.concurrency
        if not isinstance(levels, tuple) or not levels:
            raise ModelInvalidRequestError("concurrency must be a tuple of whole numbers, such as (1, 2, 4)")
        for level in self.concurrency:
            _check("concurrency", level, 1, _MOST_AT_ONCE)
        if not is_number(self.timeout_ms) or not 0 < self.timeout_ms < 1e12:
            raise ModelInvalidRequestError("timeout_ms must be a number of milliseconds over 0")

    @property
    def levels(self) -> tuple[int, ...]:
        """How many requests are sent at once, 1 among them, each level once and in order."""
        return tuple(sorted({1, *self.concurrency}))

    @property
    def slots(self) -> int:
        """How many requests must find their way at once, so that no queue of ours is measured."""
        return self.levels[-1]


def _check(name: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ModelInvalidRequestError(f"{name} is {value!r:.60}; it must be a whole number from {low} to {high}")


def turns(round_number: int, count: int) -> list[int]:
    """Whose turn it is in a round, one after the other: each begins in another one, so that drift hits all alike."""
    return [(round_number + place) % count for place in range(count)]


def prompt(words: int, random: Random) -> str:
    """A prompt of so many words, about: it begins as no other does, so that no cache of prompts knows it."""
    beginning = f"{random.getrandbits(64):016x}"
    chosen = " ".join(random.choice(_WORDS) for _ in range(max(1, words - _ASKING)))
    return f"Story {beginning}, with the words {chosen}. Write this story, at length and without an end."


def words_for(tokens: int, tokens_per_word: float) -> int:
    """How many words make a prompt of so many tokens."""
    return max(1, round(tokens / tokens_per_word))


QUICK = Plan(rounds=2, prompt_tokens=64, max_tokens=32, concurrency=(1, 4))
"""Enough for a first look."""
