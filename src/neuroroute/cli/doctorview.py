"""How a report of ``neuroroute doctor`` is shown: for a person on a terminal, and in lines for a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuroroute.cli.blocks import printable
from neuroroute.doctor import Finding, HostReport, Report
from neuroroute.doctor.codes import Level

_MARKS: Final[dict[Level, tuple[str, str]]] = {
    "ok": ("✓", "green"),
    "hint": ("•", "cyan"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
    "skipped": ("-", "dim"),
}


def print_report(console: Console, report: Report) -> None:
    """Draws it."""
    for host in report.hosts:
        console.print(Text(_title(host), style="bold"))
        console.print(_drawn(host.findings))
    if report.tools:
        console.print(Text("Tool definitions", style="bold"))
        console.print(_drawn(report.tools))
    style = "bold red" if report.count("problem") else "bold yellow" if report.count("warning") else "bold green"
    console.print(Text(printable(summary(report)), style=style))


def summary(report: Report) -> str:
    """How it stands, in one or two sentences: how many problems there are, and what to do first."""
    counts = [
        f"{number} {level}{'s' if number != 1 else ''}"
        for level in ("problem", "warning", "hint")
        if (number := report.count(level))
    ]
    if report.healthy:
        stands = "Nothing is wrong, as far as it was looked at." if report.count("skipped") else "Healthy."
        return stands + (f" {counts[0]}." if counts else "")
    first = report.first
    step = "" if first is None else f"{first.what}. {first.do}"
    where = next((host.name for host in report.hosts if first in host.findings), "")
    return f"{', '.join(counts)}. First{f', at {where}' if where and len(report.hosts) > 1 else ''}: {step}"


def write_lines(console: Console, report: Report) -> None:
    """Writes a line for each finding, in columns parted by tabs: host, level, check, code, what, why, what to do."""
    rows = [(host.name, one) for host in report.hosts for one in host.findings]
    rows += [("", one) for one in report.tools]
    for host, one in rows:
        cells = (host, one.level, one.check, one.code, one.what, one.why, one.do)
        console.file.write("\t".join(" ".join(printable(cell).split()) for cell in cells) + "\n")


def _title(host: HostReport) -> str:
    name = host.url if host.name in host.url else f"{host.name} at {host.url}"
    return printable(name + (f", {host.model}" if host.model else ""))


def _drawn(findings: Sequence[Finding]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    last = ""
    for what, checks in _rows(findings):
        mark, style = _MARKS[what.level]
        grid.add_row(Text(f"  {mark}", style=style), Text("" if checks == last else checks, style="dim"), _text(what))
        last = checks
    return grid


def _rows(findings: Sequence[Finding]) -> list[tuple[Finding, str]]:
    """Each with its check; what was skipped for one reason is one row."""
    rows: list[tuple[Finding, str]] = []
    for (level, _), group in groupby(findings, key=lambda one: (one.level, one.level == "skipped" and one.what)):
        several = list(group)
        if level == "skipped" and len(several) > 1:
            rows.append((several[0], f"{len(several)} checks"))
        else:
            rows += [(one, one.check) for one in several]
    return rows


def _text(one: Finding) -> Text:
    style = {"problem": "bold", "warning": "bold"}.get(one.level, "dim" if one.level == "skipped" else "")
    text = Text(printable(one.what), style=style)
    if one.level in ("ok", "skipped"):
        return text
    if one.why:
        text.append(f"\n{printable(one.why)}", "not bold dim")
    if one.do:
        between = " " if one.level == "hint" and one.why else "\n"
        text.append(f"{between}→ {printable(one.do)}", "not bold")
    return text
