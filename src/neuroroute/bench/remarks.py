"""What a reader of a report must know beside its figures. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from neuroroute.bench import words

if TYPE_CHECKING:
    from neuroroute.bench.report import ModelReport, Report, ToolCalls

_WHOLE: Final = 0.8
"""Pieces for a token from which on each token counts as a piece of its own."""

_BUSY: Final = 0.2
"""Share of the time that the client itself may take before it is told."""

_CACHED: Final = 0.1
"""Share of the prompts from which on it is told that the server knew them; what a chat template begins with is less."""

_UNEVEN: Final = 2.0
"""How many times the median the slowest may take."""

_FEW: Final = 8
"""Tokens of an answer that are too few to tell a speed."""


def how(report: Report) -> str:
    """How it was measured, in a few sentences."""
    if not report.measured:
        return "Nothing was measured."
    unfinished = "" if report.finished else "Stopped before the end; this is what was measured so far. "
    return (
        f"{unfinished}{words.conditions(report)}; {report.seconds:.0f} s in all. Medians, in brackets the least and "
        "the most. Each prompt begins as no other does, so that no prompt cache helps. The warm-up is not counted."
    )


def remarks(report: Report) -> list[str]:
    """What is odd about the figures; failures are told by :func:`failures`."""
    told: list[str] = []
    for model, name in zip(report.models, words.names(report), strict=True):
        told += [f"{name}: {remark}." for remark in _of(model)]
    return told


def failures(report: Report) -> list[str]:
    """What failed, counted."""
    told: list[str] = []
    for model, name in zip(report.models, words.names(report), strict=True):
        for one in model.failures:
            times = "once" if one.count == 1 else f"{one.count} times"
            told.append(f"{name}: failed {times}: {one.code}: {one.message.rstrip('.')}.")
        if model.given_up is not None:
            told.append(f"{name} {'was asked no more' if model.levels else 'could not be measured'}.")
    return told


def _of(model: ModelReport) -> list[str]:
    told: list[str] = []
    if model.warmup is not None and model.warmup.was_loaded is False:
        seconds = model.warmup.first_answer_ms / 1000
        told.append(f"was not loaded before; its first answer took {seconds:.1f} s, the load included (not counted)")
    if model.estimated:
        told.append("the server does not count tokens; what has a ~ is estimated")
    if model.prompt_tokens and model.cached_tokens > _CACHED * model.prompt_tokens.median * model.prompt_tokens.count:
        told.append(f"the server had {model.cached_tokens} tokens of prompts from earlier ones; no speed counts them")
    if model.pieces_per_token is not None and model.pieces_per_token < _WHOLE:
        each = words.number(1 / model.pieces_per_token)
        told.append(f"tokens came in pieces of about {each}; what is between tokens is between pieces")
    if model.completion_tokens is not None and model.completion_tokens.median < _FEW:
        told.append(f"its answers had only {words.number(model.completion_tokens.median)} tokens; speeds are rough")
    if model.ttft_ms is not None and model.ttft_ms.high > _UNEVEN * model.ttft_ms.median:
        told.append("some answers took far longer to begin than others; is something else busy? Measure again")
    if model.client_share is not None and model.client_share > _BUSY:
        told.append(f"this client itself was busy for {model.client_share:.0%} of the time; the server may be faster")
    if model.tools is not None and (odd := _odd_calls(model.tools)):
        told.append(f"tool calls: {odd}")
    return told


def _odd_calls(tools: ToolCalls) -> str:
    counted = (
        (tools.no_call, "without a call"),
        (tools.unknown_tool, "of a tool that was not offered"),
        (tools.bad_arguments, "with arguments that the tool does not take"),
        (tools.other_tool, "of another tool than the question's"),
        (tools.failed, "failed"),
        (tools.mended, "put right by NeuroRoute and judged as they were then"),
    )
    return ", ".join(f"{count} {what}" for count, what in counted if count)
