"""How far something is that takes its time, told on stderr: a bar for a person, single lines for a log."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from neuroroute.cli.blocks import printable

if TYPE_CHECKING:
    from neuroroute.details import ModelProgress, Phase
    from neuroroute.engine import Progress


class _Bar:
    """One line that is drawn again and again, inside a ``with`` block; nothing of it stays on a terminal."""

    def __init__(self, aside: Console) -> None:
        self._aside = aside
        self._drawn = aside.is_terminal and not aside.quiet
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Takes the line away."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _bytes(self, what: str, total: int | None) -> None:
        """Begins a line of something that is counted in bytes."""
        told = (TextColumn("{task.description}"), BarColumn(12))  # all of it fits 80 columns
        self._begin(what, total, *told, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())

    def _time(self, what: str) -> None:
        """Begins a line of something of which nobody knows how far it is."""
        told = TextColumn("{task.description}", style="dim")
        self._begin(what, None, SpinnerColumn(style="dim"), told, TimeElapsedColumn())

    def _moved(self, done: int, total: int | None = None) -> None:
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[0], completed=done, total=total)

    def _begin(self, what: str, total: int | None, *columns: ProgressColumn) -> None:
        self.close()
        self._bars = Bars(*columns, console=self._aside, transient=True)
        self._bars.add_task(what, total=total)
        self._bars.start()


_ENGINE: Final = {
    "download": "Downloading a model, once",
    "verify": "Checking the model",
    "load": "Loading the model",
}


class EngineProgress(_Bar):
    """Called with each step of the embedded engine's start."""

    _phase = ""

    def __call__(self, step: Progress) -> None:
        """Takes the next step."""
        if step.phase != self._phase:
            self._phase = step.phase
            self._next(step)
        self._moved(step.done, step.total)

    def _next(self, step: Progress) -> None:
        what = _ENGINE[step.phase]
        if not self._drawn:
            if step.phase == "download":
                self._aside.print(f"{what} ({(step.total or 0) / 1e6:.0f} MB) ...")
        elif step.phase == "load":
            self._time(f"{what} ...")
        else:
            self._bytes(what, step.total)


_NAME = 24
"""Characters of a model's name, so that the bar has room beside it."""

_MODEL: Final[dict[Phase, str]] = {"downloading": "Downloading", "paused": "Paused:", "loading": "Loading"}


class ModelBar(_Bar):
    """Called with each step of a load or a download."""

    _phase = ""

    def __call__(self, step: ModelProgress) -> None:
        """Takes the next step."""
        if step.phase != self._phase:
            self._phase = step.phase
            self._next(step)
        if step.done_bytes is not None:
            self._moved(step.done_bytes, step.total_bytes)

    def _next(self, step: ModelProgress) -> None:
        if step.phase not in _MODEL:
            self.close()
            return
        name = printable(step.model.rpartition("/")[2])
        what = f"{_MODEL[step.phase]} {name if len(name) <= _NAME else name[: _NAME - 1] + '…'}"
        if not self._drawn:
            self._aside.print(f"{what} ...", markup=False)
        elif step.phase == "loading":
            self._time(f"{what} ...")
        else:
            self._bytes(what, step.total_bytes)


class StepLine(_Bar):
    """Called with what is looked at next; on a terminal only, one line that goes away."""

    def __call__(self, what: str) -> None:
        """Shows it."""
        if self._drawn:
            self._time(printable(what))
