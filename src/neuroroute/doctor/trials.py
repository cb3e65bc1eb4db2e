"""The trials: small requests, sent as a program's would be, each within its time.

Only the first is sent a second time, where it failed as passes by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, Final

import msgspec

from neuroroute.adapter import LMStudioAdapter
from neuroroute.errors import LMStudioError, ModelRateLimitedError, ModelTimeoutError
from neuroroute.responses import ModelResponse

WEATHER: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The name of the city."}},
            "required": ["city"],
        },
    },
}
"""The tool that is offered."""

_CITY: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
    "required": ["city", "country"],
    "additionalProperties": False,
}
_TELLING: Final = (
    "You can call functions. When you are asked about the weather, call get_weather, and write nothing else."
)
_QUESTION: Final = "What is the weather in Paris now?"

_READING: Final = " ".join(
    f"Room {number} of the house has {number + 2} windows, a door to the garden and a table for {number + 3} guests."
    for number in range(1, 5)
)
"""Enough to read for its speed to be measured; it fits into the smallest context that models are loaded with."""

_NOT_AT_ONCE: Final = (ModelTimeoutError, ModelRateLimitedError)
"""Retryable, but not worth another wait, or worse for being asked again."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How a request went: its answer, or why there is none."""

    response: ModelResponse | None = None
    error: LMStudioError | None = None
    healed: LMStudioError | None = None
    """How it failed before, if it was tried a second time and answered."""
    told: bool = False
    """Whether the model had to be told by the system message."""


def stream_request(model: str) -> dict[str, Any]:
    """The request whose stream is watched: something to read, and something to write."""
    question = f"{_READING}\n\nCount from one to ten in words."
    return {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 32,
        "temperature": 0,
    }


class Trials:
    """Asks one model.

    Args:
        adapter: whom.
        within: seconds that each answer may take.
    """

    def __init__(self, adapter: LMStudioAdapter, within: float) -> None:
        self._adapter = adapter
        self._limits: Any = {"timeout_ms": within * 1000, "max_retries": 0, "temperature": 0.0}
        self._within = within

    async def completion(self) -> Trial:
        """A few words; once more, if they failed as an adapter would heal by trying again."""
        first = await self._few_words()
        if first.error is None or not first.error.retryable or isinstance(first.error, _NOT_AT_ONCE):
            return first
        second = await self._few_words()
        return first if second.response is None else msgspec.structs.replace(second, healed=first.error)

    async def _few_words(self) -> Trial:
        asked = self._adapter.generate_completion("Say hello, in one word.", max_tokens=32, **self._limits)
        return await self._tried(asked)

    async def tool_call(self) -> Trial:
        """A call of a tool that is offered; if none comes, once more with a system message that asks for it."""
        offer: Any = {"tools": [WEATHER], "max_tokens": 256, **self._limits}
        first = await self._tried(self._adapter.generate_completion(_QUESTION, **offer))
        if first.response is None or first.response.tool_calls:
            return first
        second = await self._tried(self._adapter.generate_completion(_QUESTION, system_message=_TELLING, **offer))
        return msgspec.structs.replace(second, told=True)

    async def structured(self) -> Trial:
        """An answer that is to keep to a schema."""
        asked = self._adapter.generate_completion(
            "Which city is the capital of France? Answer with city and country.",
            response_format=_CITY,
            max_tokens=256,
            **self._limits,
        )
        return await self._tried(asked)

    async def _tried(self, asking: Awaitable[ModelResponse]) -> Trial:
        most = self._within * 1.5 + 1
        try:
            # The adapter's own limit speaks first, with what it knows; this one is for what it does not bound.
            async with asyncio.timeout(most):
                return Trial(response=await asking)
        except LMStudioError as error:
            return Trial(error=error)
        except TimeoutError:
            return Trial(error=ModelTimeoutError(f"no answer within {most:g} s"))


async def closed(adapter: LMStudioAdapter) -> None:
    """Ends it within a second, whatever hangs."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(adapter.aclose(), 1.0)
