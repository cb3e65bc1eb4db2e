"""``neuroroute doctor``: what is wrong with a server, why it matters and what to do."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.text import Text

from neuroroute.cli.blocks import printable
from neuroroute.cli.doctorview import print_report, summary, write_lines
from neuroroute.cli.exits import FAILED, INTERRUPTED, MISUSED, OK, TERMINATED, UNREACHABLE, Terminated
from neuroroute.cli.exits import stopped as stopped_object
from neuroroute.cli.opening import Wish, opened
from neuroroute.cli.progress import StepLine
from neuroroute.cli.streams import consoles, write_json
from neuroroute.cli.toolfile import tools_in
from neuroroute.doctor import Finding, Limits, Report, examine
from neuroroute.errors import ConfigurationError
from neuroroute.jsontypes import is_array, is_mapping

_CODES: Final[dict[str, int]] = {
    **dict.fromkeys(
        (
            "server-not-reachable",
            "server-host-unknown",
            "server-no-route",
            "server-hangs",
            "connection-lost",
            "network-slow",
            "no-answer-in-time",
            "tls-untrusted",
        ),
        UNREACHABLE,
    ),
    **dict.fromkeys(
        (
            "server-on-other-port",
            "server-on-other-address",
            "server-redirects",
            "url-wrong-path",
            "not-an-api",
            "tls-on-plain-port",
            "plain-on-tls-port",
            "token-required",
            "token-refused",
            "tool-malformed",
            "tool-schema-wrong",
            "tool-name-twice",
        ),
        MISUSED,
    ),
}
"""What the program exits with after a problem; with 1 after all others."""


def doctor(
    wish: Wish,
    files: Sequence[Path],
    *,
    fix: bool,
    quick: bool,
    as_json: bool,
    timeout: float | None,
) -> int:
    """Examines the servers and prints what was found.

    Args:
        wish: which servers and model.
        files: of tool definitions.
        fix: whether a model may be loaded.
        quick: whether to ask no model anything.
        as_json: to write it for a program.
        timeout: seconds that an answer of a model may take.

    Returns:
        The exit code: 0 unless something is a problem; theirs after Ctrl-C or SIGTERM, which show what was found.

    Raises:
        LMStudioError: an address, a token or a file cannot be used, or the embedded engine does not start.
    """
    console, aside = consoles(quiet=as_json)
    tools = definitions_in(files)
    limits = _limits(timeout)
    more: dict[str, Any] = {"tools": tools, "fix": fix, "quick": quick, "limits": limits}
    so_far: list[Callable[[], Report]] = []
    stopped = OK
    try:
        report = asyncio.run(_examined(wish, aside, {**more, "on_begun": so_far.append}))
    except (KeyboardInterrupt, Terminated) as stop:
        if not so_far:
            raise
        report, stopped = so_far[0](), INTERRUPTED if isinstance(stop, KeyboardInterrupt) else TERMINATED
    if as_json:
        told = as_object(report)
        write_json(console, told | {"error": stopped_object(stopped, None)["error"]} if stopped else told)
    elif console.is_terminal:
        print_report(console, report)
    else:
        write_lines(console, report)
        aside.print(Text(printable(summary(report))), soft_wrap=True)
    return stopped or exit_code_of(report)


def _limits(timeout: float | None) -> Limits:
    if timeout is None:
        return Limits()
    try:
        return Limits(answer=timeout)
    except ValueError as error:  # infinite, or no number
        raise ConfigurationError(
            f"--timeout {timeout} is no number of seconds", hint="Give one, such as --timeout 120."
        ) from error


async def _examined(wish: Wish, aside: Console, more: dict[str, Any]) -> Report:
    with StepLine(aside) as line:
        if wish.engine != "embedded":
            return await examine(wish.url, model=wish.model, on_step=line, **more)
        async with opened(wish, aside, needs_model=False) as opening:
            (host,) = opening.adapter.hosts
            return await examine(host.url, model=wish.model, on_step=line, **more)


def exit_code_of(report: Report) -> int:
    """What the program exits with: by the first problem."""
    problem = next((one for one in report.findings if one.level == "problem"), None)
    return OK if problem is None else _CODES.get(problem.code, FAILED)


def as_object(report: Report) -> dict[str, Any]:
    """The report for machines: its counts, what to see to first, and all that was found."""
    first = report.first
    return {
        "healthy": report.healthy,
        "problems": report.count("problem"),
        "warnings": report.count("warning"),
        "hints": report.count("hint"),
        "first": None if first is None else _of(first),
        "hosts": [
            {
                "name": host.name,
                "url": host.url,
                "model": host.model,
                "findings": [_of(one) for one in host.findings],
                "phases": msgspec.to_builtins(host.phases),
            }
            for host in report.hosts
        ],
        "tools": [_of(one) for one in report.tools],
    }


def _of(finding: Finding) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(finding)
    return told


def definitions_in(files: Sequence[Path]) -> list[object]:
    """The tool definitions of these files: JSON as it would be sent, or Python with ``@tool`` functions.

    Raises:
        ConfigurationError: a file cannot be read or run, or has none.
    """
    found: list[object] = []
    for file in files:
        if file.suffix.lower() == ".json":
            found += _in_json(file)
        else:
            found += [msgspec.json.decode(tool.definition.wire) for tool in tools_in([file])]
    return found


def _in_json(file: Path) -> list[object]:
    try:
        read: Any = msgspec.json.decode(file.read_bytes().removeprefix(codecs.BOM_UTF8))  # Windows' editors write one
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec's own words show nothing of the file but a position.
        raise ConfigurationError(f"{file} is no JSON: {error}", hint="Mend it; a comma too many is common.") from error
    if is_mapping(read) and "tools" in read:
        read = read["tools"]
    listed: list[object] = list(read) if is_array(read) else [read]
    if not listed:
        raise ConfigurationError(
            f"{file} has no tools", hint="It is to hold a list of definitions, or {'tools': [...]}."
        )
    return listed
