"""What holds for every host of an adapter: how retries wait, when breakers open, and what all of them use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

import msgspec

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_number

if TYPE_CHECKING:
    from neuroroute.details import ModelDetails
    from neuroroute.pipe.background import Background
    from neuroroute.pipe.events import Tell
    from neuroroute.pipe.reply import Clock


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How retries wait, and how many there may be at a host."""

    max_backoff: float = 30_000
    """Milliseconds; no back-off of ours is longer (what a server asks for may be)."""
    budget: float = 10
    """Retries that are free for each host, once and then again each minute; beyond those, every five calls that succeed
    pay for one."""

    def __post_init__(self) -> None:
        if not is_number(self.max_backoff) or not 0 <= self.max_backoff < float("inf"):
            raise ModelInvalidRequestError("RetryPolicy.max_backoff must be a number of milliseconds of at least 0")
        if not is_number(self.budget) or not 0 <= self.budget < float("inf"):
            raise ModelInvalidRequestError("RetryPolicy.budget must be a number of retries of at least 0")


class BreakerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a breaker opens, and for how long. Times are milliseconds."""

    failure_ratio: float = 0.5
    """It opens when this share of the attempts in the window failed, over 0 and at most 1 ..."""
    minimum_calls: int = 5
    """... and there were at least so many of them."""
    window: float = 60_000
    """How long an attempt counts."""
    open_for: float = 30_000
    """How long it stays open at first; doubles, with jitter, while probes fail."""
    max_open_for: float = 120_000
    """No longer than this, however many probes fail."""
    probe_lease: float = 60_000
    """A probe that is not heard of for so long loses its turn to another."""
    slow_first_chunk: float | None = None
    """A stream whose first chunk takes longer than this is slow; None: none is."""
    slow_ratio: float = 0.5
    """It opens, too, when this share of the attempts in the window was slow."""

    def __post_init__(self) -> None:
        for name in ("failure_ratio", "slow_ratio"):
            if not _between(getattr(self, name), 0, 1):
                raise ModelInvalidRequestError(f"BreakerPolicy.{name} must be a number over 0 and at most 1")
        if type(self.minimum_calls) is not int or self.minimum_calls < 1:
            raise ModelInvalidRequestError("BreakerPolicy.minimum_calls must be a whole number of at least 1")
        for name in ("window", "open_for", "max_open_for", "probe_lease"):
            if not _between(getattr(self, name), 0, 1e12):
                raise ModelInvalidRequestError(f"BreakerPolicy.{name} must be a number of milliseconds over 0")
        if self.slow_first_chunk is not None and not _between(self.slow_first_chunk, 0, 1e12):
            raise ModelInvalidRequestError(
                "BreakerPolicy.slow_first_chunk must be a number of milliseconds over 0, or None"
            )
        if self.max_open_for < self.open_for:
            raise ModelInvalidRequestError("BreakerPolicy.max_open_for must be at least open_for")


class HostPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every host of an adapter."""

    breaker: BreakerPolicy
    retry_budget: float
    slots: int | None
    """As they were given; None: as many as the server lists."""
    clock: Clock
    random: Random
    tell: Tell
    background: Background
    list_models: Callable[[str], Awaitable[list[ModelDetails]]]
    """Lists the models of the host at a base URL."""


def _between(value: object, low: float, high: float) -> bool:
    return is_number(value) and low < value <= high
