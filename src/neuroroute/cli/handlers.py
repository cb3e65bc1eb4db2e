"""What the commands of a chat do, but for /retry and /exit, which are the conversation's own."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuroroute.adapter import LMStudioAdapter
from neuroroute.cli.blocks import printable
from neuroroute.cli.choice import known_model
from neuroroute.cli.markdown import WholeMarkdown
from neuroroute.cli.models import print_models
from neuroroute.cli.slash import COMMANDS
from neuroroute.cli.transcript import as_json, as_markdown
from neuroroute.conversation import Conversation


class Handlers:
    """One method for each command; ``adapter`` is whom the next turn asks."""

    def __init__(
        self, talk: Conversation, adapter: LMStudioAdapter, runner: asyncio.Runner, console: Console, aside: Console
    ) -> None:
        self.adapter = adapter
        self._talk = talk
        self._runner = runner
        self._console = console
        self._aside = aside
        self._written: set[Path] = set()

    def find(self, name: str) -> Callable[[str], None] | None:
        """The handler of a command."""
        handlers: dict[str, Callable[[str], None]] = {
            "/help": self._help,
            "/undo": self._undo,
            "/reset": self._reset,
            "/history": self._history,
            "/system": self._system,
            "/model": self._model,
            "/save": self._save,
        }
        return handlers.get(name)

    def _say(self, text: str) -> None:
        self._aside.print(Text(text, style="dim"))

    def _keep(self) -> None:
        self._runner.run(self._talk.save())

    def _help(self, _: str) -> None:
        grid = Table.grid(padding=(0, 2))
        for name, (takes, meaning) in COMMANDS.items():
            grid.add_row(Text(f"{name} {takes}".strip(), style="bold cyan"), meaning)
        self._console.print(grid)
        self._say('Alt-Enter (or Esc, Enter) begins a new line; so does Enter between """ and """.')

    def _undo(self, _: str) -> None:
        question = self._talk.undo()
        if question is None:
            self._say("There is nothing to take back.")
        else:
            self._say(f"Taken back: {_short(question.text)}")
            self._keep()

    def _reset(self, _: str) -> None:
        self._talk.reset()
        self._say("Forgotten. A new conversation begins.")
        self._keep()

    def _history(self, _: str) -> None:
        if not self._talk.messages:
            self._say("Nothing was said yet.")
            return
        text = printable(as_markdown(self._talk.messages, self.adapter.model_id))
        if self._console.is_terminal:
            self._console.print(WholeMarkdown(text))
        else:
            self._console.file.write(text)

    def _system(self, text: str) -> None:
        if text:
            self._talk.system_message = text
            self._say("The system message is set; what was said stays.")
            self._keep()
        else:
            system = self._talk.system_message
            self._say(printable(system) if system is not None else "None is set. /system TEXT sets one.")

    def _model(self, asked: str) -> None:
        found = self._runner.run(self.adapter.list_models())
        if not asked:
            print_models(self._console, found, self.adapter.model_id)
        elif known_model(found, asked):
            self.adapter = self.adapter.with_model(asked)
            self._say(f"{asked} answers from now on; the conversation goes on.")
        else:
            near = difflib.get_close_matches(asked, [model.key for model in found], 3, 0.4)
            meant = f"Did you mean {' or '.join(near)}?" if near else "/model lists those it has."
            self._aside.print(Text(f"The server has no model {asked}. {meant}", style="yellow"))

    def _save(self, name: str) -> None:
        if not name:
            self._say("Name a file: /save talk.md, or /save talk.json.")
            return
        file = Path(name).expanduser().absolute()
        if file.exists() and file not in self._written:
            self._aside.print(Text(f"{file} exists already; name another file.", style="yellow"))
            return
        write = as_markdown if file.suffix.lower() == ".md" else as_json
        try:
            file.write_text(write(self._talk.messages, self.adapter.model_id), encoding="utf-8")
        except OSError as error:
            self._aside.print(Text(f"Not saved: {error}", style="red"))
            return
        self._written.add(file)
        self._say(f"Saved to {file}.")


def _short(text: str) -> str:
    line = " ".join(printable(text).split())
    return line if len(line) <= 60 else line[:59] + "…"
