"""``neuroroute chat``: a conversation that remembers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from neuroroute.cli.exits import OK, exit_code, explained
from neuroroute.cli.handlers import Handlers
from neuroroute.cli.opening import Line, Wish, opened
from neuroroute.cli.remarks import on_call, remark, summary
from neuroroute.cli.saved import new_id, resumable, store_path
from neuroroute.cli.screens import screen_for, show
from neuroroute.cli.slash import Command, command, exact_command, is_open, unknown, unquoted
from neuroroute.cli.streams import consoles, piped_line
from neuroroute.cli.toolfile import tools_in
from neuroroute.conversation import Conversation
from neuroroute.errors import LMStudioError
from neuroroute.messages import UserMessage
from neuroroute.options import DEFAULTS
from neuroroute.store import SQLiteStore
from neuroroute.tools.functions import Tool

MOST_ROUNDS = 10
"""Rounds of tools in one turn."""


class Plan(NamedTuple):
    """How to talk."""

    wish: Wish
    system: str | None = None
    plain: bool = False
    resume: str | None = None
    """The beginning of an id, or ``LAST``; None begins anew."""
    keep: bool = True
    tools: Sequence[Path] = ()


def chat(plan: Plan) -> int:
    """Talks until the user leaves.

    Returns:
        0; where stdin is piped, the exit code of the last turn that failed.

    Raises:
        LMStudioError: there is nobody to talk with, or what was to be resumed or offered is not there.
    """
    console, aside = consoles()
    by_hand = sys.stdin.isatty() and console.is_terminal
    tools = tools_in(plan.tools)
    # One loop for all turns. Its runner turns Ctrl-C into the end of what runs now, on every system, and it is the
    # coroutine that ends, not the program.
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            keep = plan.resume is not None or (by_hand and plan.keep)  # what is piped in is kept only on request
            store = runner.run(stack.enter_async_context(SQLiteStore(store_path()))) if keep else None
            talk_id = runner.run(resumable(store, plan.resume)) if store and plan.resume is not None else None
            line = runner.run(stack.enter_async_context(opened(plan.wish, aside)))
            talk = runner.run(_talk(line, plan, store, talk_id))
            session = _Session(runner, line, talk, tools, console, aside, by_hand=by_hand, plain=plan.plain)
            if by_hand:
                console.print(Text.assemble(("NeuroRoute", "bold"), f" chat with {runner.run(line.who())}."))
                if talk.messages:
                    console.print(Text(f"Going on with {talk.id}; /history shows what was said.", style="dim"))
                if tools:
                    console.print(Text(f"Tools: {', '.join(tool.name for tool in tools)}.", style="dim"))
                console.print(Text("/help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.\n", style="dim"))
            code = session.run(_typing(runner, aside) if by_hand else _piped)
            if by_hand and keep and any(message.role != "system" for message in talk.messages):
                aside.print(Text(f"neuroroute chat --resume {talk.id} goes on with it.", style="dim"))
            return code
        finally:
            runner.run(stack.aclose())


async def _talk(line: Line, plan: Plan, store: SQLiteStore | None, talk_id: str | None) -> Conversation:
    system = DEFAULTS["system_message"] if plan.system is None else plan.system
    talk = line.adapter.conversation(store=store, id=talk_id or new_id(), trim="oldest", system_message=system)
    await talk.load()
    if plan.system is not None and talk.messages:
        talk.system_message = plan.system
    return talk


class _Session:
    def __init__(
        self,
        runner: asyncio.Runner,
        line: Line,
        talk: Conversation,
        tools: list[Tool[..., Any]],
        console: Console,
        aside: Console,
        *,
        by_hand: bool,
        plain: bool,
    ) -> None:
        self._runner = runner
        self._talk = talk
        self._tools = tools
        self._console = console
        self._aside = aside
        self._by_hand = by_hand
        self._plain = plain
        self._command = command if by_hand else exact_command
        # Piped, stdout holds the answers and nothing else.
        self._handlers = Handlers(talk, line.adapter, runner, console if by_hand else aside, aside)
        self._unanswered: str | UserMessage | None = None
        self._code = OK

    def run(self, read: Callable[[], str | None]) -> int:
        """Reads and answers until there is nothing more to read."""
        while (text := read()) is not None:
            typed = self._command(text)
            if typed is None:
                if said := unquoted(text).strip():
                    self._turn(said)
            elif typed.name == "/exit":
                break
            elif typed.name == "/retry":
                self._guarded(self._retry)
            else:
                self._handle(typed)
        return OK if self._by_hand else self._code

    def _handle(self, typed: Command) -> None:
        handler = self._handlers.find(typed.name)
        if handler is None:
            self._aside.print(Text(unknown(typed.name), style="yellow"))
        else:
            self._unanswered = None if typed.name in ("/undo", "/reset") else self._unanswered
            self._guarded(lambda: handler(typed.argument))

    def _retry(self) -> None:
        before = self._talk.messages
        asked = self._unanswered or self._talk.undo()
        if asked is None:
            self._aside.print("Nothing was asked yet.")
            return
        if self._by_hand:
            self._console.print(Text(f"> {asked if isinstance(asked, str) else asked.text}", style="dim"))
        without = self._talk.messages
        if not self._turn(asked) and self._talk.messages == without:  # else somebody else saved it meanwhile
            self._talk.messages = before

    def _turn(self, asked: str | UserMessage) -> bool:
        done = self._guarded(lambda: self._answer(asked))
        self._unanswered = None if done else asked
        if not done:
            self._guarded(lambda: self._runner.run(self._talk.load()))  # reads anew what somebody else saved
            self._aside.print(Text("The conversation is as it was before; /retry asks again.", style="dim"))
        return done

    def _answer(self, asked: str | UserMessage) -> None:
        model = self._handlers.adapter.model_id
        screen = screen_for(self._console, self._aside, plain=self._plain)
        if self._tools:
            told = on_call(screen)
            stream = self._talk.stream_tools(
                asked, tools=self._tools, max_rounds=MOST_ROUNDS, on_tool_call=told, model=model
            )
        else:
            stream = self._talk.stream(asked, model=model)
        if self._by_hand:
            self._console.print()
        response = self._runner.run(show(stream, screen))
        remark(response, self._aside)
        if self._by_hand:
            self._console.print(Text(f"\n{summary(response)}\n", style="dim"))

    def _guarded(self, action: Callable[[], object]) -> bool:
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
