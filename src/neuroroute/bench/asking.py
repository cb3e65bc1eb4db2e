"""One request to a model, with the times at which its answer came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, Final

from neuroroute.bench.plan import prompt
from neuroroute.bench.samples import Failure, Sample, Wave
from neuroroute.errors import LMStudioError, ModelEmptyResponseError
from neuroroute.jsontypes import is_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neuroroute.adapter import LMStudioAdapter
    from neuroroute.responses import LMStudioResponse
    from neuroroute.streams import CompletionStream

_OPTIONS: Final[dict[str, Any]] = {"system_message": None, "temperature": 0}


@dataclass(frozen=True, slots=True)
class Means:
    """What is measured with; tests give their own."""

    clock: Callable[[], float] = perf_counter
    """Seconds that only go forward."""
    processor: Callable[[], float] = process_time
    """Seconds of processor time that the client has taken."""
    random: Random | None = None
    """Where the words of prompts come from."""


class Asker:
    """Sends requests to one model, and keeps the times.

    Args:
        adapter: of the model.
        means: clocks and chance.
    """

    def __init__(self, adapter: LMStudioAdapter, means: Means) -> None:
        self._adapter = adapter
        self._means = means
        self._random = means.random or Random()

    async def wave(self, concurrency: int, words: int, max_tokens: int) -> Wave:
        """So many requests at once. What can be done before they are sent is done before the clock runs."""
        streams = [self._prepared(words, max_tokens) for _ in range(concurrency)]
        spent = self._means.processor()
        outcomes = await asyncio.gather(*map(self._outcome, streams))
        return Wave(
            concurrency=concurrency,
            samples=tuple(outcome for outcome in outcomes if isinstance(outcome, Sample)),
            failures=tuple(outcome for outcome in outcomes if isinstance(outcome, Failure)),
            client_seconds=self._means.processor() - spent,
        )

    async def one(self, words: int, max_tokens: int) -> Sample:
        """One request.

        Raises:
            LMStudioError: it failed.
        """
        return await self._taken(self._prepared(words, max_tokens))

    def _prepared(self, words: int, max_tokens: int) -> CompletionStream:
        return self._adapter.stream(prompt(words, self._random), max_tokens=max_tokens, **_OPTIONS)

    async def _outcome(self, stream: CompletionStream) -> Sample | Failure:
        try:
            return await self._taken(stream)
        except LMStudioError as error:
            return failed(error)

    async def _taken(self, stream: CompletionStream) -> Sample:
        clock = self._means.clock
        began = clock()
        async with stream:
            arrivals = [clock() - began async for chunk in stream if chunk.chunk or chunk.reasoning or chunk.tool_calls]
        response = stream.response
        if not arrivals:
            raise ModelEmptyResponseError("the answer was empty")
        return Sample(
            began=began,
            arrivals=tuple(arrivals),
            prompt_tokens=response.tokens.prompt,
            completion_tokens=response.tokens.completion,
            estimated=response.tokens.estimated,
            cached_tokens=_cached(response.raw),
        )


def failed(error: LMStudioError) -> Failure:
    """What is kept of an error."""
    return Failure(code=error.code, message=error.message)


def count_of(failures: Sequence[Failure]) -> dict[Failure, int]:
    """How often each came, in the order in which they came first."""
    counted: dict[Failure, int] = {}
    for one in failures:
        counted[one] = counted.get(one, 0) + 1
    return counted


def _cached(raw: LMStudioResponse) -> int:
    """Tokens that the server had from an earlier prompt, where it tells."""
    details = raw.get("usage", {}).get("prompt_tokens_details")
    cached = details.get("cached_tokens") if is_mapping(details) else None
    return cached if type(cached) is int and cached > 0 else 0
