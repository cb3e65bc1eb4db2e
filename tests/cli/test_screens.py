"""How an answer is awaited, and how the engine's progress fits a terminal."""

from __future__ import annotations

import asyncio
import io

from rich.console import Console

from neuroroute.cli import screens
from neuroroute.cli.progress import EngineProgress
from neuroroute.cli.screens import Drawn, Plain, patient
from neuroroute.engine.progress import Progress


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)


async def test_a_person_is_told_that_we_still_wait(monkeypatch):
    """When nothing came for a while, a terminal's stderr says so, once; a file's does not."""
    monkeypatch.setattr(screens, "PATIENCE", 0.0)
    for terminal in (True, False):
        aside = console(terminal=terminal)
        with patient(Plain(io.StringIO(), aside)):
            await asyncio.sleep(0.001)
        assert ("Still waiting" in aside.file.getvalue()) is terminal


async def test_an_answer_that_has_begun_is_waited_for_in_silence(monkeypatch):
    """Once something came, or it is over, nothing is said."""
    monkeypatch.setattr(screens, "PATIENCE", 0.0)
    aside = console(terminal=True)
    with patient(Plain(io.StringIO(), aside)) as came:
        came()
        await asyncio.sleep(0.001)
    with patient(Plain(io.StringIO(), aside)):
        pass
    await asyncio.sleep(0.001)
    assert aside.file.getvalue() == ""


def test_where_an_answer_is_drawn_the_wait_is_told_in_its_place():
    """On the terminal that is drawn on, the line stands beside the spinner, and goes with it."""
    shown = console(terminal=True)
    drawn = Drawn(shown)
    drawn.waiting()
    shown.print(drawn)
    assert "Still waiting" in shown.file.getvalue()


def test_the_download_fits_80_columns():
    """While the model is downloaded, no line is longer than 80 columns."""
    aside = console(terminal=True)
    with EngineProgress(aside) as progress:
        for done in (0, 300_000_000, 491_400_064):
            progress(Progress("download", done, 491_400_064))
        assert progress._bars is not None
        lines = aside.render_lines(progress._bars.get_renderable(), pad=False)
    text = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert len([line for line in text if line]) == 1
    assert "491.4" in text[0]
    assert "…" not in text[0]
    assert len(text[0]) <= 80
