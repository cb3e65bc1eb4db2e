"""Tokens and speed, which are told beside an answer. Where they are odd they count as not told: the answer is good."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from neuroroute.responses import Stats, TokenUsage
from neuroroute.wire.failures import UNDECODABLE

T = TypeVar("T")


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class _Timings(msgspec.Struct, gc=False):
    """llama.cpp's; milliseconds."""

    prompt_per_second: float | None = None
    predicted_per_second: float | None = None
    prompt_ms: float | None = None
    predicted_ms: float | None = None


_usage = msgspec.json.Decoder(_Usage | None)
_stats = msgspec.json.Decoder(Stats | None)
_timings = msgspec.json.Decoder(_Timings | None)


def usage_of(raw: msgspec.Raw | msgspec.UnsetType) -> TokenUsage | None:
    """Tokens, from ``usage``."""
    usage = _decoded(raw, _usage)
    if usage is None:
        return None
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return TokenUsage(prompt=prompt, completion=completion, total=usage.total_tokens or prompt + completion)


def stats_of(raw: msgspec.Raw | msgspec.UnsetType) -> Stats | None:
    """Speed, from LM Studio's ``stats``."""
    return _decoded(raw, _stats)


def timings_of(raw: msgspec.Raw | msgspec.UnsetType) -> Stats | None:
    """Speed, from llama.cpp's ``timings``."""
    timings = _decoded(raw, _timings)
    if timings is None:
        return None
    return Stats(
        tokens_per_second=timings.predicted_per_second,
        prompt_tokens_per_second=timings.prompt_per_second,
        time_to_first_token=None if timings.prompt_ms is None else timings.prompt_ms / 1000,
        generation_time=None if timings.predicted_ms is None else timings.predicted_ms / 1000,
    )


def _decoded(raw: msgspec.Raw | msgspec.UnsetType, decoder: msgspec.json.Decoder[T | None]) -> T | None:
    if raw is msgspec.UNSET:
        return None
    try:
        return decoder.decode(raw)
    except UNDECODABLE:
        return None
