"""What is shown of a benchmark: while it runs, and at its end."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from neuroroute.bench import ModelReport, Report, Step, words
from neuroroute.cli.blocks import printable

_BAR: Final = 24
"""Characters of the bar."""


class Watching:
    """Shows on a terminal how far it is and what was found so far, in a ``with`` block.

    It draws between measurements only: what it takes would be measured with them.
    """

    report: Callable[[], Report] | None = None
    """Gives what was measured so far."""

    def __init__(self, aside: Console) -> None:
        shown = aside.is_terminal and not aside.quiet
        self._live = Live(console=aside, auto_refresh=False, transient=True) if shown else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, step: Step) -> None:
        """Draws what comes next."""
        if self._live is None:
            return
        line = Table.grid(padding=(0, 1))
        what = Text(printable(f"{step.model}: {step.what} ..."), style="dim", overflow="ellipsis", no_wrap=True)
        line.add_row(ProgressBar(step.total, step.done, width=_BAR), Text(f"{step.done}/{step.total}"), what)
        shown = [] if self.report is None or not (report := self.report()).measured else [table(report)]
        self._live.update(Group(*shown, line), refresh=True)


def print_report(console: Console, report: Report) -> None:
    """Prints a table for a person; for a program a line for each model, in columns parted by tabs."""
    if console.is_terminal:
        console.print(table(report))
        return
    for model in report.models:
        console.file.write("\t".join(" ".join(printable(cell).split()) for cell in line(model)) + "\n")


def line(model: ModelReport) -> list[str]:
    """What a program gets of a model: medians, without their spread."""
    speeds = [words.middle(one.tokens_per_second, estimated=model.estimated) for one in model.levels]
    throughput = [f"{one.concurrency}={speed}" for one, speed in zip(model.levels, speeds, strict=True)]
    return [
        model.model,
        model.host,
        words.middle(model.ttft_ms),
        words.middle(model.prompt_tokens_per_second, estimated=model.estimated),
        words.middle(model.generation_tokens_per_second, estimated=model.estimated),
        words.number(model.gap_ms.p50) if model.gap_ms else words.NOTHING,
        words.number(model.gap_ms.p99) if model.gap_ms else words.NOTHING,
        ",".join(throughput) or words.NOTHING,
        f"{model.tools.valid}/{model.tools.asked}" if model.tools else words.NOTHING,
        str(model.sent),
        str(model.failed),
    ]


def table(report: Report) -> Table:
    """A column for each model, so that what is compared stands side by side."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    drawn.add_column("")
    for name in words.names(report):
        drawn.add_column(Text(printable(name)), overflow="fold")
    for name, cells in rows(report):
        drawn.add_row(Text(name), *(Text(printable(cell)) for cell in cells))
    return drawn


def rows(report: Report) -> list[tuple[str, list[str]]]:
    """What is shown, by row: its name, and a cell for each model."""
    models = report.models
    levels = sorted({level.concurrency for model in models for level in model.levels})
    shown = [
        ("time to first token, ms", [words.ranged(one.ttft_ms) for one in models]),
        ("prompt, tok/s", [words.ranged(one.prompt_tokens_per_second, estimated=one.estimated) for one in models]),
        (
            "generation, tok/s",
            [words.ranged(one.generation_tokens_per_second, estimated=one.estimated) for one in models],
        ),
        ("between tokens, ms: p50 / p99", [words.gaps(one) for one in models]),
    ]
    for concurrency in levels:
        found = [next((one for one in model.levels if one.concurrency == concurrency), None) for model in models]
        cells = [
            words.ranged(one.tokens_per_second, estimated=model.estimated) if one else words.NOTHING
            for one, model in zip(found, models, strict=True)
        ]
        shown.append((f"{concurrency} at once, tok/s", cells))
    if any(model.tools for model in models):
        shown.append(("valid tool calls", [words.tools(model) for model in models]))
    shown.append(("requests (failed)", [_requests(model) for model in models]))
    return shown


def _requests(model: ModelReport) -> str:
    return f"{model.sent} ({model.failed})" if model.failed else str(model.sent)
