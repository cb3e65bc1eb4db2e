"""How measured values are written for a person, in tables and pictures. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neuroroute.bench.figures import Spread
    from neuroroute.bench.report import ModelReport, Report

NOTHING = "-"
"""In place of what was not measured."""

UNTRAINED = " (not trained)"
"""Behind the tool calls of a model of which the server says that it was not trained for them."""


def number(value: float) -> str:
    """Three digits of it, without a power of ten."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2f}".rstrip("0").rstrip(".")


def ranged(values: Spread | None, *, estimated: bool = False) -> str:
    """A median, with the least and the most where there were several: ``25.1 (24.8-26)``."""
    if values is None:
        return NOTHING
    told = ("~" if estimated else "") + number(values.median)
    low, high = number(values.low), number(values.high)
    return told if low == high else f"{told} ({low}-{high})"


def middle(values: Spread | None, *, estimated: bool = False) -> str:
    """A median alone."""
    return NOTHING if values is None else ("~" if estimated else "") + number(values.median)


def gaps(model: ModelReport) -> str:
    """Milliseconds between tokens, p50 and p99."""
    return NOTHING if model.gap_ms is None else f"{number(model.gap_ms.p50)} / {number(model.gap_ms.p99)}"


def tools(model: ModelReport) -> str:
    """How many of the tool calls were good."""
    found = model.tools
    if found is None:
        return NOTHING
    return f"{found.valid} of {found.asked}" + (UNTRAINED if found.trained is False else "")


def names(report: Report) -> list[str]:
    """What each model is called: with its host, where there are several hosts."""
    several = len({model.host for model in report.models}) > 1
    return [f"{model.model} @ {model.host}" if several else model.model for model in report.models]


def shortened(text: str, longest: int) -> str:
    """A text that is not longer than this; what is cut is in its middle, since names differ at their ends."""
    if len(text) <= longest:
        return text
    tail = longest // 2
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def labels(texts: Sequence[str], longest: int) -> list[str]:
    """The texts, not longer than this; those that are cut to the same are numbered."""
    cut = [shortened(text, longest) for text in texts]
    return [f"{label} ({at + 1})" if cut.count(label) > 1 else label for at, label in enumerate(cut)]


def conditions(report: Report) -> str:
    """Under which conditions it was measured, in a line."""
    plan = report.plan
    prompts = [model.prompt_tokens.median for model in report.models if model.prompt_tokens]
    size = f"prompts of about {number(sum(prompts) / len(prompts))} tokens" if prompts else "no answers"
    count = f"{plan.rounds} round{'' if plan.rounds == 1 else 's'}"
    return f"{count}, {size}, answers of at most {plan.max_tokens}"
