"""``neuroroute chat``: a conversation that remembers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from neuroroute.cli.exits import OK, exit_code, explained
from neuroroute.cli.handlers import Handlers
from neuroroute.cli.opening import Line, Wish, opened
from neuroroute.cli.remarks import remark, summary
from neuroroute.cli.screens import screen_for, show
from neuroroute.cli.slash import Command, command, exact_command, is_open, unknown, unquoted
from neuroroute.cli.streams import consoles, piped_line
from neuroroute.cli.talk import Talk
from neuroroute.errors import LMStudioError

if TYPE_CHECKING:
    from neuroroute.messages import AnyMessage


def chat(wish: Wish, system: str | None, *, plain: bool) -> int:
    """Talks until the user leaves.

    Returns:
        0; where stdin is piped, the exit code of the last turn that failed.

    Raises:
        LMStudioError: there is nobody to talk with.
    """
    console, aside = consoles()
    by_hand = sys.stdin.isatty() and console.is_terminal
    # One loop for all turns. Its runner turns Ctrl-C into the end of what runs now, on every system, and it is the
    # coroutine that ends, not the program.
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            line = runner.run(stack.enter_async_context(opened(wish, aside)))
            session = _Session(runner, line, Talk(system), console, aside, by_hand=by_hand, plain=plain)
            if by_hand:
                console.print(Text.assemble(("NeuroRoute", "bold"), f" chat with {runner.run(line.who())}."))
                console.print(Text("/help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.\n", style="dim"))
            return session.run(_typing(runner, aside) if by_hand else _piped)
        finally:
            runner.run(stack.aclose())


class _Session:
    def __init__(
        self,
        runner: asyncio.Runner,
        line: Line,
        talk: Talk,
        console: Console,
        aside: Console,
        *,
        by_hand: bool,
        plain: bool,
    ) -> None:
        self._runner = runner
        self._talk = talk
        self._console = console
        self._aside = aside
        self._by_hand = by_hand
        self._plain = plain
        self._command = command if by_hand else exact_command
        # Piped, stdout holds the answers and nothing else.
        self._handlers = Handlers(talk, line.adapter, runner, console if by_hand else aside, aside)
        self._code = OK

    def run(self, read: Callable[[], str | None]) -> int:
        """Reads and answers until there is nothing more to read."""
        while (text := read()) is not None:
            typed = self._command(text)
            if typed is None:
                if said := unquoted(text).strip():
                    self._turn(self._talk.asking(said))
            elif typed.name == "/exit":
                break
            elif typed.name == "/retry":
                self._retry()
            else:
                self._handle(typed)
        return OK if self._by_hand else self._code

    def _handle(self, typed: Command) -> None:
        handler = self._handlers.find(typed.name)
        if handler is None:
            self._aside.print(Text(unknown(typed.name), style="yellow"))
        else:
            self._guarded(lambda: handler(typed.argument))

    def _retry(self) -> None:
        asked = self._talk.asking_again()
        if asked is None:
            self._aside.print("Nothing was asked yet.")
            return
        if self._by_hand:
            self._console.print(Text(f"> {asked[-1].text}", style="dim"))
        self._turn(asked)

    def _turn(self, asked: list[AnyMessage]) -> None:
        if not self._guarded(lambda: self._answer(asked)):
            self._talk.failed(asked)
            self._aside.print(Text("The conversation is as it was before; /retry asks again.", style="dim"))

    def _answer(self, asked: list[AnyMessage]) -> None:
        stream = self._handlers.adapter.stream(messages=asked)
        if self._by_hand:
            self._console.print()
        response = self._runner.run(show(stream, screen_for(self._console, self._aside, plain=self._plain)))
        self._talk.answered(response.messages)
        remark(response, self._aside)
        if self._by_hand:
            self._console.print(Text(f"\n{summary(response)}\n", style="dim"))

    def _guarded(self, action: Callable[[], None]) -> bool:
        """Whether it was done; Ctrl-C ends it and, where a person types, nothing else."""
        try:
            action()
        except LMStudioError as error:
            self._aside.print(Text(explained(error), style="red"))
            self._code = exit_code(error)
        except KeyboardInterrupt:
            if not self._by_hand:
                raise
            self._aside.print(Text("Stopped.", style="yellow"))
        else:
            return True
        return False


def _typing(runner: asyncio.Runner, aside: Console) -> Callable[[], str | None]:
    from neuroroute.cli.editing import Editor, LineStopped

    editor = Editor()

    def read() -> str | None:
        try:
            return runner.run(editor.read())
        except EOFError:
            return None
        except (LineStopped, KeyboardInterrupt):
            aside.print(Text("Ctrl-D or /exit leaves.", style="dim"))
            return ""

    return read


def _piped() -> str | None:
    """A line of stdin, or a block between two lines of quotation marks."""
    text = piped_line()
    if not text:
        return None
    while is_open(text) and (more := piped_line()):
        text += more
    return text.rstrip("\r\n")
