"""The panels of the picture: a function for each, which draws a report into matplotlib's axes."""

from __future__ import annotations

import math
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from neuroroute.bench import words
from neuroroute.bench.figures import percentile

if TYPE_CHECKING:
    from neuroroute.bench.report import Report

_BARS: Final = 60
_TIMES: Final = 8
"""How many times the least the most must be for a logarithmic axis."""

CARD, INK, SOFT, LINE, EMPTY = "#fcfcfb", "#1d2733", "#5d6875", "#dfe3e8", "#e9ecf0"

_HUES: Final = ("#2f7ed8", "#e8743b", "#19a979", "#a05fc4", "#d4a017", "#d9488b", "#5d9fb3", "#8a8d3b")
"""Each is legible on both grounds."""

_MARKS: Final = ("o", "s", "D", "^", "v", "P", "X", "h")


def draw_throughput(axes: Any, report: Report) -> None:
    """Tokens per second of all answers together, by how many were asked for at once."""
    axes.set_title("Throughput, tokens per second", **_TITLE)
    levels = sorted({level.concurrency for model in report.models for level in model.levels})
    for at, model in enumerate(report.models):
        hue, mark = look(at)
        points = [(levels.index(one.concurrency), one.tokens_per_second) for one in model.levels]
        known = [(place, values) for place, values in points if values is not None]
        if not known:
            continue
        places = [place for place, _ in known]
        axes.fill_between(
            places,
            [values.low for _, values in known],
            [values.high for _, values in known],
            color=hue,
            alpha=0.16,
            lw=0,
        )
        axes.plot(places, [values.median for _, values in known], color=hue, marker=mark, lw=2.2, markersize=6)
    for place, told, hue in _apart(report, levels):
        axes.annotate(told, place, (9, -3), textcoords="offset points", color=hue, **_VALUE)
    axes.set_xlim(-0.2, max(len(levels) - 1, 0.5) + 0.35)
    axes.set_ylim(0, None)
    axes.set_xticks(range(len(levels)), [str(level) for level in levels])
    axes.set_xlabel("requests at once")
    axes.grid(axis="y", color=LINE, lw=0.8)


def _apart(report: Report, levels: list[int]) -> list[tuple[tuple[float, float], str, str]]:
    """The values at the right ends of the lines, pushed apart where they would stand on each other."""
    ends: list[tuple[float, float, str]] = []
    most = 0.0
    for at, model in enumerate(report.models):
        known = [one for one in model.levels if one.tokens_per_second is not None]
        for one in known:
            most = max(most, one.tokens_per_second.high if one.tokens_per_second else 0)
        if known and known[-1].tokens_per_second is not None:
            ends.append((known[-1].tokens_per_second.median, levels.index(known[-1].concurrency), look(at)[0]))
    told: list[tuple[tuple[float, float], str, str]] = []
    least = -math.inf
    for value, place, hue in sorted(ends):
        height = max(value, least)
        least = height + most * 0.075
        told.append(((place, height), words.number(value), hue))
    return told


def draw_first_tokens(axes: Any, report: Report) -> None:
    """Time to first token: a point for each answer."""
    axes.set_title("Time to first token, ms (one request alone)", **_TITLE)
    _strips(axes, report, [model.ttft_samples_ms for model in report.models])


def draw_speeds(axes: Any, report: Report) -> None:
    """Speed of generation: median, least, most."""
    axes.set_title("Generation, tokens per second (one request alone)", **_TITLE)
    known = [model.generation_tokens_per_second for model in report.models]
    _strips(axes, report, [() if one is None else (one.low, one.median, one.high) for one in known])


def _strips(axes: Any, report: Report, rows: list[tuple[float, ...]]) -> None:
    """A line for each model: a point for each value, a bar at their median."""
    most = max((max(row) for row in rows if row), default=1.0)
    for at, (row, name) in enumerate(zip(rows, words.labels(words.names(report), 46), strict=True)):
        hue, mark = look(at)
        axes.text(0, at - 0.3, name, fontsize=8.5, color=SOFT, va="bottom")
        if not row:
            axes.text(0, at, words.NOTHING, va="center")
            continue
        middle = percentile(row, 0.5)
        axes.barh(at, middle, height=0.42, color=hue, alpha=0.28, lw=0)
        axes.plot([middle, middle], [at - 0.21, at + 0.21], color=hue, lw=2.5, solid_capstyle="butt")
        axes.plot(row, [at] * len(row), mark, color=hue, markersize=4.5, markeredgecolor=CARD, markeredgewidth=0.6)
        _at_the_right(axes, at, words.number(middle), hue, va="center")
    axes.set_xlim(0, most * 1.2)
    _rows(axes, len(rows))
    axes.grid(axis="x", color=LINE, lw=0.8)


def draw_gaps(axes: Any, report: Report) -> None:
    """How the times between tokens are spread."""
    axes.set_title("Between two tokens, ms", **_TITLE)
    rows = [[max(gap, 0.1) for gap in model.gap_samples_ms] for model in report.models]
    values = [gap for row in rows for gap in row] or [1.0, 10.0]
    edges = _gap_axis(axes, min(values), max(values))
    low, high = edges[0], edges[-1]
    for at, (row, model) in enumerate(zip(rows, report.models, strict=True)):
        hue, _ = look(at)
        base = at + 0.3
        axes.plot([low, high], [base, base], color=LINE, lw=0.8)
        if not row or model.gap_ms is None:
            continue
        heights = _heights(row, edges)
        axes.stairs(
            [base - height * 0.75 for height in heights], edges, baseline=base, fill=True, color=hue, alpha=0.45
        )
        for value, style in ((model.gap_ms.p50, "-"), (model.gap_ms.p99, ":")):
            axes.plot([max(value, low)] * 2, [base, base - 0.75], color=hue, lw=1.6, linestyle=style)
        told = f"p50 {words.number(model.gap_ms.p50)}   p99 {words.number(model.gap_ms.p99)}"
        _at_the_right(axes, base - 0.08, told, hue)
    _rows(axes, len(rows))
    axes.grid(axis="x", color=LINE, lw=0.8)


def _gap_axis(axes: Any, least: float, most: float) -> list[float]:
    """Sets the axis, with room at its right; gives the edges of the bars. It is logarithmic only where it must be."""
    if most < _TIMES * least:
        axes.set_xlim(0, most * 1.6)
        return [most * 1.05 * step / _BARS for step in range(_BARS + 1)]
    low, high = least / 1.3, most * 1.3
    axes.set_xscale("log")
    axes.set_xlim(low, high * 3)
    ticker: Any = import_module("matplotlib.ticker")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    return [low * (high / low) ** (step / _BARS) for step in range(_BARS + 1)]


def _at_the_right(axes: Any, at: float, told: str, hue: str, va: str = "baseline") -> None:
    """Writes into a row, at the panel's right edge."""
    place = axes.get_yaxis_transform()
    ground = {"facecolor": CARD, "edgecolor": "none", "pad": 1.5}
    axes.text(0.995, at, told, transform=place, ha="right", va=va, color=hue, bbox=ground, **_VALUE)


def _heights(row: list[float], edges: list[float]) -> list[float]:
    """How many values lie between two edges, 1 where most do."""
    counts = [sum(below <= value < above for value in row) for below, above in pairwise(edges)]
    return [count / max(counts) for count in counts]


def draw_tools(axes: Any, report: Report) -> None:
    """How many tool calls were good."""
    axes.set_title("Valid tool calls", **_TITLE)
    for at, (model, name) in enumerate(zip(report.models, words.labels(words.names(report), 46), strict=True)):
        hue, _ = look(at)
        axes.text(0, at - 0.3, name, fontsize=8.5, color=SOFT, va="bottom")
        if model.tools is None:
            axes.text(0, at, words.NOTHING, va="center")
            continue
        share = model.tools.valid / model.tools.asked
        axes.barh(at, 1, height=0.42, color=EMPTY, lw=0)
        axes.barh(at, share, height=0.42, color=hue, alpha=0.75, lw=0)
        axes.text(1.02, at, words.tools(model), va="center", color=hue, fontweight="bold")
    axes.set_xlim(0, 1.5)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    _rows(axes, len(report.models))


_VALUE: Final[dict[str, Any]] = {"fontweight": "bold", "fontsize": 9}
_TITLE: Final[dict[str, Any]] = {"loc": "left", "fontsize": 11, "fontweight": "bold", "color": INK, "pad": 8}


def _rows(axes: Any, count: int) -> None:
    """A line for each model, the first on top."""
    axes.set_ylim(*((0.75, -1.0) if count == 1 else (count - 0.55, -0.65)))
    axes.set_yticks([])


def look(at: int) -> tuple[str, str]:
    """Colour and mark of a model."""
    return _HUES[at % len(_HUES)], _MARKS[at % len(_MARKS)]
