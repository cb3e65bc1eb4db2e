"""The prompt of a chat on a terminal: prompt-toolkit, with a history that only its user can read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import platformdirs
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from neuroroute.cli.slash import COMMANDS, is_open


class LineStopped(Exception):  # noqa: N818 - a wish, not a fault
    """Ctrl-C at the prompt: the line is thrown away."""


class Editor:
    """Reads what the user types: Enter sends, Alt-Enter (or Esc, Enter) begins a new line."""

    def __init__(self) -> None:
        self._session: PromptSession[str] = PromptSession(
            FormattedText([("bold ansicyan", "> ")]),
            history=_history(),
            multiline=True,
            prompt_continuation=FormattedText([("ansibrightblack", ". ")]),
            key_bindings=_keys(),
            completer=_Slashes(),
            complete_while_typing=True,
            interrupt_exception=LineStopped,
            reserve_space_for_menu=len(COMMANDS),
        )

    async def read(self) -> str:
        """The next text.

        Raises:
            LineStopped: Ctrl-C.
            EOFError: Ctrl-D.
        """
        # Ctrl-C comes as a key while the prompt stands; a handler for the signal would be the event loop's to restore.
        return await self._session.prompt_async(handle_sigint=False)


class _Slashes(Completer):
    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        typed = document.text_before_cursor
        if typed.startswith("/") and " " not in typed:
            for name, (_, meaning) in COMMANDS.items():
                if name.startswith(typed):
                    yield Completion(name, start_position=-len(typed), display_meta=meaning)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open(buffer.text):
            buffer.newline()
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def break_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline()

    return keys


def _history() -> History:
    try:
        return FileHistory(str(history_file()))
    except OSError:  # a home that cannot be written to is no reason not to chat
        return InMemoryHistory()


def history_file() -> Path:
    """The file of what was typed, made if it is missing; it and its folder are for their owner alone.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(platformdirs.user_data_dir("neuroroute", appauthor=False))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "chat_history"
    os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    return file
