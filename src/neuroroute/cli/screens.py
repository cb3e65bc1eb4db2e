"""Shows an answer while it is made: plain where a program reads, drawn as Markdown where a person does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from neuroroute.cli.blocks import printable, settled
from neuroroute.cli.markdown import WholeMarkdown
from neuroroute.cli.streams import unechoed

if TYPE_CHECKING:
    from neuroroute.responses import ModelResponse
    from neuroroute.streams import CompletionStream
    from neuroroute.toolloop import ToolStream
    from neuroroute.turns import TurnStream


PATIENCE = 10.0
"""Seconds without a first chunk after which a person is told that we still wait."""
_STILL = "Still waiting: the model is being loaded, or reads the prompt."


class Screen(Protocol):
    """Where one answer is shown. What was shown stays when it is left, however that happens."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def reasoning(self, text: str) -> None:
        """More of what the model thinks."""

    def text(self, text: str) -> None:
        """More of what it says."""

    def calling(self, call: str) -> None:
        """A tool is run now."""

    def waiting(self) -> None:
        """Nothing has come for a while."""


async def show(stream: CompletionStream | TurnStream | ToolStream, screen: Screen) -> ModelResponse:
    """Reads an answer to its end and shows it as it comes.

    Raises:
        LMStudioError: it failed; what came stays on the screen.
    """
    with screen, patient(screen) as came:
        async with stream:
            came()
            async for chunk in stream:
                if chunk.reasoning:
                    screen.reasoning(chunk.reasoning)
                if chunk.chunk:
                    screen.text(chunk.chunk)
    return stream.response


@contextmanager
def patient(screen: Screen) -> Generator[Callable[[], None]]:
    """Tells the screen once if nothing has come for ten seconds; what it gives is called when something has."""
    timer = asyncio.get_running_loop().call_later(PATIENCE, screen.waiting)
    try:
        yield timer.cancel
    finally:
        timer.cancel()


def screen_for(console: Console, aside: Console, *, plain: bool = False) -> Screen:
    """The screen that suits what is connected.

    Args:
        console: stdout.
        aside: stderr.
        plain: whether the answer shall stand there as it was written.
    """
    if not plain and console.is_terminal and not console.is_dumb_terminal:
        return Drawn(console)
    return Plain(console.file, aside)


class Unseen:
    """Nowhere: the answer is wanted whole, by a machine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def reasoning(self, text: str) -> None:
        """See :class:`Screen`."""

    def text(self, text: str) -> None:
        """See :class:`Screen`."""

    def calling(self, call: str) -> None:
        """See :class:`Screen`."""

    def waiting(self) -> None:
        """See :class:`Screen`."""


class Plain:
    """The text as it comes and nothing else; reasoning goes to stderr, and only to a person."""

    def __init__(self, file: IO[str], aside: Console) -> None:
        self._file = file
        self._for_person = file.isatty()
        self._aside = aside
        self._last = "\n"
        self._thinking = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._think_no_more()
        if not self._last.endswith("\n"):
            self._write("\n")

    def reasoning(self, text: str) -> None:
        """See :class:`Screen`."""
        if self._aside.is_terminal:
            self._thinking = True
            self._aside.print(Text(printable(text), style="dim"), end="", soft_wrap=True)

    def text(self, text: str) -> None:
        """See :class:`Screen`."""
        self._think_no_more()
        self._write(printable(text) if self._for_person else text)

    def calling(self, call: str) -> None:
        """See :class:`Screen`."""
        self._think_no_more()
        if not self._last.endswith("\n"):
            self._write("\n")
        self._aside.print(Text(printable(call), style="dim"))

    def waiting(self) -> None:
        """See :class:`Screen`."""
        if self._aside.is_terminal:
            self._aside.print(Text(_STILL, style="dim"))

    def _think_no_more(self) -> None:
        if self._thinking:
            self._thinking = False
            self._aside.print()

    def _write(self, text: str) -> None:
        self._last = text or self._last
        self._file.write(text)
        self._file.flush()


class Drawn:
    """Markdown on a terminal.

    Blocks that cannot change any more are printed for good and scroll away; only the block that still grows is drawn
    again and again, at most as much of it as fits the screen, and printed whole at its end. So an answer taller than
    the screen neither flickers nor leaves copies of itself behind. Entered on a running event loop, which draws it:
    with a thread of its own, rich mistakes its place when what is drawn changes its height.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._thought = ""
        self._tail = ""
        self._gap = False
        """Something stands above, from which the next block keeps a line's distance."""
        self._live = Live(
            self,
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._spinner = Spinner("dots", style="dim")
        self._drawing = ExitStack()
        self._drawn: tuple[str, str] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._drawing.enter_context(unechoed(self._console.file.fileno()))
        self._drawing.enter_context(self._live)
        self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        thought, self._thought, tail, self._tail = self._thought, "", self._tail, ""
        self._drawing.close()
        self._print_thought(thought)
        if tail.strip():
            self._print(WholeMarkdown(tail))

    def reasoning(self, text: str) -> None:
        """See :class:`Screen`."""
        *lines, self._thought = (self._thought + printable(text)).split("\n")
        for line in lines:
            self._print_thought(line)

    def text(self, text: str) -> None:
        """See :class:`Screen`."""
        if self._thought:
            thought, self._thought = self._thought, ""
            self._print_thought(thought)
        self._tail += printable(text)
        if "\n" in text:
            blocks, self._tail = settled(self._tail)
            for block in blocks:
                self._print(WholeMarkdown(block))

    def calling(self, call: str) -> None:
        """See :class:`Screen`."""
        tail, self._tail = self._tail, ""
        if tail.strip():
            self._print(WholeMarkdown(tail))
        self._print_thought(printable(call))

    def waiting(self) -> None:
        """See :class:`Screen`."""
        self._spinner.update(text=Text(_STILL, style="dim"))  # a line on stderr would stand in what is drawn

    def _print_thought(self, line: str) -> None:
        if line.strip():
            self._console.print(Text(line, style="dim italic"))
            self._gap = True

    def _print(self, block: WholeMarkdown) -> None:
        gap, self._gap = self._gap, True
        self._console.print(_Lines(block, gap=gap))

    def _draw(self) -> None:
        """Draws what has changed, and comes back: twelve times a second, less often where drawing takes long."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._drawn != (self._tail, self._thought) or self._waiting():
            self._drawn = (self._tail, self._thought)
            self._live.refresh()
        self._timer = loop.call_later(max(1 / 12, 4 * (loop.time() - began)), self._draw)

    def _waiting(self) -> bool:
        return not (self._gap or self._tail or self._thought)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is drawn again and again; rich asks for it also when something is printed above it."""
        if self._tail.strip():
            yield _Lines(WholeMarkdown(self._tail), gap=self._gap, fitting=True)
        elif self._thought.strip():
            yield _Lines(Text(self._thought, style="dim italic"), fitting=True)
        elif self._waiting():
            yield self._spinner


class _Lines:
    """Something without the empty lines around it, after an empty line of ours if it needs one."""

    def __init__(self, whole: RenderableType, *, gap: bool = False, fitting: bool = False) -> None:
        self._whole = whole
        self._gap = gap
        self._fitting = fitting
        """Only as many of the last lines as fit the screen."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._whole, options.update(height=None), pad=False)
        said = [number for number, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
        lines = lines[said[0] : said[-1] + 1] if said else []
        if self._gap:
            lines.insert(0, [])
        for line in lines[-max(1, options.size.height - 2) :] if self._fitting else lines:
            yield from _unpadded(line)
            yield Segment.line()


def _unpadded(line: list[Segment]) -> list[Segment]:
    """The line without spaces that cannot be seen at its end: whoever copies it does not want them."""
    end = len(line)
    while end and not line[end - 1].text.strip() and not ((style := line[end - 1].style) and style.bgcolor):
        end -= 1
    return line[:end]
