"""What is kept of each request that was measured. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request failed."""

    code: str
    """As in :class:`~neuroroute.LMStudioError`."""
    message: str


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, whole; times are seconds since the request was sent."""

    began: float
    """When it was sent, on the clock of the measuring."""
    arrivals: tuple[float, ...]
    """When each piece of the answer came; there is at least one."""
    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False
    """The server did not count the tokens."""
    cached_tokens: int = 0
    """Tokens of the prompt that the server says it had from an earlier one."""

    @property
    def first(self) -> float:
        """Seconds to the first piece."""
        return self.arrivals[0]

    @property
    def ended(self) -> float:
        """When the last piece came, on the clock of the measuring."""
        return self.began + self.arrivals[-1]

    @property
    def gaps(self) -> list[float]:
        """Seconds between one piece and the next."""
        return [later - sooner for sooner, later in pairwise(self.arrivals)]

    @property
    def prompt_speed(self) -> float | None:
        """Tokens of the prompt that were read per second, until the first piece came."""
        read = self.prompt_tokens - self.cached_tokens
        return read / self.first if read > 0 and self.first > 0 else None

    @property
    def generation_speed(self) -> float | None:
        """Tokens per second after the first piece; None where all came in one. Pieces may have several tokens each."""
        seconds, pieces = self.arrivals[-1] - self.first, len(self.arrivals)
        after = self.completion_tokens * (pieces - 1) / pieces
        return after / seconds if seconds > 0 and after > 0 else None


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that were sent at once."""

    concurrency: int
    samples: tuple[Sample, ...]
    """Of those that succeeded."""
    failures: tuple[Failure, ...] = ()
    client_seconds: float = 0.0
    """Processor time that the client itself took."""

    @property
    def seconds(self) -> float:
        """From the first request sent to the last piece received."""
        if not self.samples:
            return 0.0
        return max(sample.ended for sample in self.samples) - min(sample.began for sample in self.samples)

    @property
    def tokens_per_second(self) -> float | None:
        """Of all answers together; None where one failed: the others had the server to themselves."""
        if self.failures or self.seconds <= 0:
            return None
        return sum(sample.completion_tokens for sample in self.samples) / self.seconds


class Warmup(msgspec.Struct, frozen=True, kw_only=True):
    """The first request to a model, which is not counted."""

    first_answer_ms: float
    """Until its answer was there; includes the load where the model was not loaded."""
    was_loaded: bool | None
    """Whether the model was in memory before; None: the server does not tell."""


def tokens_per_word(samples: Sequence[Sample], words: Sequence[int]) -> float | None:
    """How many tokens a word of ours has for a model.

    Args:
        samples: answers to prompts.
        words: how many words each prompt had.
    """
    tokens = sum(sample.prompt_tokens for sample in samples)
    return tokens / sum(words) if tokens and sum(words) else None
