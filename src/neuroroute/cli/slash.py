"""PURE: what is typed at the prompt of a chat: commands, and texts of several lines."""

from __future__ import annotations

import difflib
from typing import Final, NamedTuple

COMMANDS: Final = {
    "/help": ("", "this list"),
    "/retry": ("", "ask the last question again"),
    "/undo": ("", "take the last question and its answer back"),
    "/reset": ("", "forget the conversation; the system message stays"),
    "/history": ("", "show the conversation"),
    "/system": ("[TEXT]", "show or set the system message"),
    "/model": ("[ID]", "list the models, or go on with another"),
    "/save": ("FILE", "write the conversation: Markdown if FILE ends in .md, else JSON"),
    "/exit": ("", "leave (Ctrl-D does, too)"),
}
"""Each command, what it takes and what it does."""

FENCE: Final = '"""'


class Command(NamedTuple):
    """A command as it was typed."""

    name: str
    argument: str


def command(line: str) -> Command | None:
    """The command that the line is, known or not; None: it is said to the model. A space before the slash says so."""
    if not line.startswith("/"):
        return None
    name, _, argument = line.partition(" ")
    return Command(name.strip().lower(), argument.strip())


def exact_command(line: str) -> Command | None:
    """The command that a piped line is: a known one, with nothing after it unless it takes something.

    Any other line is said to the model: a program that pipes texts does not look at how they begin.
    """
    name, _, argument = line.partition(" ")
    takes = COMMANDS.get(name)
    return None if takes is None or (argument.strip() and not takes[0]) else Command(name, argument.strip())


def unknown(name: str) -> str:
    """What to say of a command that does not exist: names near ones."""
    near = difflib.get_close_matches(name, COMMANDS, 3, 0.5)
    near = near or [known for known in COMMANDS if len(name) > 1 and known.startswith(name)]
    meant = f"did you mean {' or '.join(near)}?" if near else "/help lists the commands."
    return f"There is no command {name}; {meant} To say it to the model, put a space before it."


def is_open(text: str) -> bool:
    """Whether a text that began with three quotation marks still waits for the closing ones."""
    opened = text.lstrip().startswith(FENCE)
    return opened and not (text.rstrip().endswith(FENCE) and len(text.strip()) >= 2 * len(FENCE))


def unquoted(text: str) -> str:
    """The text without the quotation marks around it, if it has them."""
    stripped = text.strip()
    if stripped.startswith(FENCE) and not is_open(text):
        return stripped[len(FENCE) : -len(FENCE)].strip("\n")
    return text
