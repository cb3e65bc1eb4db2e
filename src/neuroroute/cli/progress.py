"""How the embedded engine gets ready, told on stderr: bars for a person, single lines for a log."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from neuroroute.engine import Progress

_PHASES: Final = {
    "download": "Downloading a model, once",
    "verify": "Checking the model",
    "load": "Loading the model",
}


class EngineProgress:
    """Called with each step of the engine's start, inside a ``with`` block; nothing of it stays on a terminal."""

    def __init__(self, aside: Console) -> None:
        self._aside = aside
        self._drawn = aside.is_terminal and not aside.quiet
        self._showing = ExitStack()
        self._phase = ""
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._showing.close()

    def __call__(self, step: Progress) -> None:
        """Takes the next step."""
        if step.phase != self._phase:
            self._phase = step.phase
            self._begin(step)
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[0], completed=step.done)

    def _begin(self, step: Progress) -> None:
        self._showing.close()
        self._bars = None
        what = _PHASES[step.phase]
        if not self._drawn:
            if step.phase == "download":
                self._aside.print(f"{what} ({(step.total or 0) / 1e6:.0f} MB) ...")
        elif step.phase == "load":  # how far it is, nobody knows
            self._showing.enter_context(self._aside.status(f"{what} ...", spinner_style="dim"))
        else:
            told = (TextColumn("{task.description}"), BarColumn(12))  # all of it fits 80 columns
            columns = (*told, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bars = self._showing.enter_context(Bars(*columns, console=self._aside, transient=True))
            self._bars.add_task(what, total=step.total)
