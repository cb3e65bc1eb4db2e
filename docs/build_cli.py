"""Builds docs/cli.md from the commands and docs/cli.template, so that neither can drift from the other: ``make docs``.

The template has what is told of a command beside its help: examples, and what does not fit a line. A line such as
``{usage ask}`` stands for the command's usage and help, ``{options ask}`` for the table of its options, ``{commands}``,
``{who}``, ``{environment}`` and ``{exit codes}`` for these lists, ``{others}`` for the sections of all commands that
the template does not know.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from building import build

from neuroroute import errors
from neuroroute.cli.environment import VARIABLES
from neuroroute.cli.exits import MEANINGS, exit_code
from neuroroute.cli.program import program
from neuroroute.errors import LMStudioError

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "cli.md"
TEMPLATE = ROOT / "docs" / "cli.template"

LAST = 1
"""The exit code of all errors that no other code has."""

WHO = ("--engine", "--url")
"""Options that are told once, since most commands have them."""


def page() -> str:
    """The whole page."""
    template = TEMPLATE.read_text(encoding="utf-8")
    named = {*re.findall(r"^\{(?:usage|options) (.+)\}$", template, re.MULTILINE)}
    commands = dict(_commands(program, ""))
    if unknown := named - commands.keys():
        msg = f"docs/cli.template has commands that there are not: {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    others = [name for name in commands if name not in named and name.split()[0] not in named]

    def filled(found: re.Match[str]) -> str:
        kind, _, name = found[1].partition(" ")
        match kind:
            case "usage":
                return _usage(commands[name])
            case "options":
                return _options(commands[name])
            case "others":
                return "\n\n".join(
                    f"## {name}\n\n{_usage(commands[name])}\n\n{_options(commands[name])}" for name in others
                )
            case _:
                return _LISTS[found[1]]()

    made = re.sub(r"^\{([a-z -]+)\}$", filled, template, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", made).rstrip() + "\n"


def _commands(group: click.Group, above: str) -> Iterator[tuple[str, click.Context]]:
    """All commands, each with a context that knows its name; those of a group after the group."""
    context = click.Context(group, info_name=f"neuroroute {above}".strip())
    for name in sorted(group.commands):
        command = group.commands[name]
        full = f"{above} {name}".strip()
        yield full, click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, full)


def _usage(context: click.Context) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    return f"    {usage}\n\n{_text(command.help or '')}"


def _text(help_text: str) -> str:
    """Help as Markdown: paragraphs of one line each become lines of 120, what is marked stays as it is."""
    parts: list[str] = []
    for paragraph in inspect.cleandoc(help_text).split("\n\n"):
        if paragraph.startswith("\b"):
            lines = paragraph.split("\n")[1:]
            parts.append("```text\n" + inspect.cleandoc("\n".join(lines)) + "\n```")
        else:
            parts.append(_wrapped(_marked(" ".join(paragraph.split()))))
    return "\n\n".join(parts)


def _wrapped(text: str) -> str:
    lines = [""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) > 119:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _options(context: click.Context) -> str:
    options = [one for one in context.command.params if isinstance(one, click.Option) and not one.hidden]
    rows = [(_names(one, context), _meaning(one)) for one in options if one.opts[0] not in WHO]
    if shared := [f"`{one.opts[0]}`" for one in options if one.opts[0] in WHO]:
        rows.append((", ".join(shared), "[Who answers](#who-answers)."))
    return _table(("option", "meaning"), rows) if rows else ""


def _names(option: click.Option, context: click.Context) -> str:
    flags = [" / ".join(both) for both in zip(option.opts, option.secondary_opts, strict=False)] or list(option.opts)
    metavar = "" if option.is_flag or option.count else f" {option.make_metavar(context)}"
    return f"`{', '.join(flags)}{metavar}`"


def _meaning(option: click.Option) -> str:
    said = " ".join((option.help or "").split())
    if option.show_default and option.default is not None:
        said += f" Default: {option.default:g}." if isinstance(option.default, (int, float)) else f" {option.default}."
    return _marked(said)


def _marked(text: str) -> str:
    """Options and variables as code, where they are not yet."""
    names = "|".join(name for name, _ in VARIABLES)
    return re.sub(rf"(?<![`\w-])(--[a-z][a-z-]*|{names})(?![`\w])", r"`\1`", text)


# ── The lists ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _command_list() -> str:
    rows = [
        (f"[`neuroroute {name}`](#{name})", program.commands[name].get_short_help_str(200))
        for name in sorted(program.commands)
    ]
    return _table(("command", "does"), rows)


def _environment() -> str:
    return _table(("variable", "meaning"), [(f"`{name}`", _marked(meaning)) for name, meaning in VARIABLES])


def _who() -> str:
    """The options that say who answers, as the command has them that has them all."""
    context = dict(_commands(program, ""))["ask"]
    options = [one for one in context.command.params if isinstance(one, click.Option) and one.opts[0] in WHO]
    return _table(("option", "meaning"), [(_names(one, context), _meaning(one)) for one in options])


def _exit_codes() -> str:
    rows = [(str(code), meaning, _errors_of(code)) for code, meaning in MEANINGS]
    return _table(("code", "meaning", "errors"), rows)


def _errors_of(code: int) -> str:
    if code == LAST:
        return "all others"
    found: dict[str, None] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, LMStudioError) and exit_code(kind("")) == code:
            when = " before anything was sent" if exit_code(_with_status(kind)) != code else ""
            found[f"`{kind.code}`{when}"] = None
    return ", ".join(sorted(found))


def _with_status(kind: type[LMStudioError]) -> LMStudioError:
    error = kind("")
    error.status = 400
    return error


_LISTS: dict[str, Callable[[], str]] = {
    "commands": _command_list,
    "who": _who,
    "environment": _environment,
    "exit codes": _exit_codes,
}


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(build(page(), PAGE))
