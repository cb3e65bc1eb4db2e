"""A report as a picture; needs matplotlib, which is loaded here and nowhere else."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from neuroroute.bench import panels, words
from neuroroute.bench.checks import check_picture
from neuroroute.bench.panels import CARD, EMPTY, INK, LINE, SOFT, look

if TYPE_CHECKING:
    from neuroroute.bench.report import Report

_DARK: Final = {CARD: "#11161d", INK: "#e8edf3", SOFT: "#9aa7b5", LINE: "#2b333d", EMPTY: "#262e38"}
"""What an SVG shows instead to whoever likes it dark."""

_SETTINGS: Final = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "neuroroute",
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}
_WIDTH: Final = 12.0
_ROW: Final = 0.27
"""Inches of a line of the table."""

_BETWEEN: Final = 0.95
"""Inches between the panels."""

_COLUMNS: Final = (
    ("generation, tok/s", 0.415),
    ("prompt, tok/s", 0.54),
    ("first token, ms", 0.665),
    ("between tokens, ms (p50 / p99)", 0.86),
    ("valid tool calls", 0.97),
)
"""Of the table: titles, and where they end as a share of the width."""


def draw(report: Report, path: str | Path) -> None:
    """Draws a report into a file that ends in ``.png`` or ``.svg``.

    Raises:
        ConfigurationError: another ending, matplotlib is not installed, or the file cannot be written.
    """
    path = Path(path)
    check_picture(path)
    matplotlib: Any = import_module("matplotlib")  # its types are far from complete
    with matplotlib.rc_context(_SETTINGS):
        figure = _figure(report)
        svg = path.suffix.lower() == ".svg"
        figure.savefig(path, dpi=160, facecolor=CARD, metadata={"Date": None} if svg else None)
    if svg:
        drawn = path.read_text(encoding="utf-8")
        path.write_text(drawn.replace("<defs>", f"{_dark_style()}<defs>", 1), encoding="utf-8", newline="\n")


def _figure(report: Report) -> Any:
    count = len(report.models)
    header = 1.25 + _ROW * count
    panel = max(2.3, 0.9 + 0.42 * count)
    height = header + 2 * panel + _BETWEEN + 1.1
    figure: Any = import_module("matplotlib.figure").Figure(figsize=(_WIDTH, height))
    _heading(figure, report, height)
    grid = figure.add_gridspec(
        2,
        2,
        left=0.055,
        right=0.97,
        top=1 - (header + 0.35) / height,
        bottom=0.75 / height,
        wspace=0.13,
        hspace=_BETWEEN / panel,
    )
    last = panels.draw_tools if any(model.tools for model in report.models) else panels.draw_speeds
    draws = (panels.draw_throughput, panels.draw_first_tokens, panels.draw_gaps, last)
    for place, draw_panel in enumerate(draws):
        axes = figure.add_subplot(grid[place // 2, place % 2])
        _plain(axes)
        draw_panel(axes, report)
    _footing(figure, report, height)
    return figure


def _heading(figure: Any, report: Report, height: float) -> None:
    """Title, conditions, and the table, which is the legend too."""

    def place(inches: float) -> float:
        return 1 - inches / height

    titles = dict.fromkeys(model.model for model in report.models)
    title = words.shortened(" · ".join(titles), 70) if len(titles) < 3 else f"{len(titles)} local models"
    hosts = dict.fromkeys(model.host for model in report.models)
    where = f" · on {next(iter(hosts))}" if len(hosts) == 1 else f" · on {len(hosts)} hosts"
    figure.text(0.03, place(0.42), title, fontsize=17, fontweight="bold")
    figure.text(0.03, place(0.70), f"{words.conditions(report)}{where}", color=SOFT)
    for (name, right), rows in zip(_COLUMNS, _columns(report), strict=True):
        figure.text(right, place(1.02), name, ha="right", color=SOFT, fontsize=8.5)
        for at, told in enumerate(rows):
            figure.text(right, place(1.29 + at * _ROW), told, ha="right")
    line: Any = import_module("matplotlib.lines").Line2D
    for at, name in enumerate(words.labels(words.names(report), 38)):
        hue, mark = look(at)
        middle = place(1.29 + at * _ROW - 0.05)
        figure.add_artist(line([0.036], [middle], marker=mark, color=hue, markersize=8, linestyle=""))
        figure.text(0.048, place(1.29 + at * _ROW), name, fontweight="bold")


def _columns(report: Report) -> list[list[str]]:
    models = report.models
    return [
        [words.middle(model.generation_tokens_per_second, estimated=model.estimated) for model in models],
        [words.middle(model.prompt_tokens_per_second, estimated=model.estimated) for model in models],
        [words.middle(model.ttft_ms) for model in models],
        [words.gaps(model) for model in models],
        [words.tools(model).removesuffix(words.UNTRAINED) for model in models],
    ]


def _footing(figure: Any, report: Report, height: float) -> None:
    failed = f" · {report.failed} requests failed" if report.failed else ""
    stopped = "" if report.finished else " · stopped before its end"
    told = f"medians, with least and most · no prompt cache · warm-up not counted{failed}{stopped}"
    figure.text(0.03, 0.2 / height, told, color=SOFT, fontsize=8.5)
    whose = f"neuroroute bench {report.neuroroute} · {report.started[:10]}"
    figure.text(0.97, 0.2 / height, whose, color=SOFT, fontsize=8.5, ha="right")


def _plain(axes: Any) -> None:
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _dark_style() -> str:
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark}!important}}'
        for light, dark in _DARK.items()
        for what in ("fill", "stroke")
    )
    return f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
