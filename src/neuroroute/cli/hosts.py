"""``neuroroute hosts``: the hosts, whether they are up, and what they have loaded; live, on a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from neuroroute.adapter import LMStudioAdapter
from neuroroute.cli.blocks import printable
from neuroroute.cli.exits import exit_code
from neuroroute.cli.streams import consoles, write_json
from neuroroute.errors import NetworkError
from neuroroute.fleet.status import HostStatus

COLUMNS: Final = ("host", "state", "answers in", "API", "loaded (context)", "on disk")

_LEAST_NEEDED: Final = ("answers in", "API", "on disk")
_WIDE: Final = 70
"""Characters of a terminal that has room for all columns."""

_COLOURS: Final = {"up": "green", "down": "red", "draining": "yellow", "unknown": ""}


def hosts(url: str | None, interval: float, *, once: bool, as_json: bool) -> int:
    """Prints the hosts; on a terminal again and again, until Ctrl-C.

    Args:
        url: which hosts, as ``base_url`` takes them. Default: ``LMSTUDIO_URL``, else the default address.
        interval: seconds between two looks.
        once: to look only once.
        as_json: to write them for a program, once.

    Returns:
        The exit code: that of a network failure where no host is up.
    """
    console, aside = consoles(quiet=as_json)
    live = console.is_terminal and not (once or as_json)
    try:
        found = asyncio.run(_watch(url, interval, console) if live else _look(url))
    except KeyboardInterrupt:
        if live:  # that is how it ends
            return 0
        raise
    if as_json:
        write_json(console, found)
    else:
        print_hosts(console, found)
    if any(host.state in ("up", "draining") for host in found):
        return 0
    why = f"{found[0].name} is not up: {found[0].failure}." if len(found) == 1 else "No host is up; the list says why."
    aside.print(Text(printable(why), style="red"))
    return exit_code(NetworkError(why))


async def _look(url: str | None) -> tuple[HostStatus, ...]:
    async with LMStudioAdapter("none", base_url=url) as adapter:
        return await adapter.check_hosts()


async def _watch(url: str | None, interval: float, console: Console) -> tuple[HostStatus, ...]:
    async with LMStudioAdapter("none", base_url=url) as adapter:
        with Live(table(adapter.hosts, console.width), console=console, auto_refresh=False) as drawn:
            while True:
                drawn.update(table(await adapter.check_hosts(), console.width, "Ctrl-C ends it."), refresh=True)
                await asyncio.sleep(interval)


def print_hosts(console: Console, found: Sequence[HostStatus]) -> None:
    """Prints a table for a person; for a program a line for each host, in columns parted by tabs."""
    if console.is_terminal:
        console.print(table(found, console.width))
        return
    for host in found:
        console.file.write("\t".join(" ".join(printable(cell).split()) for cell in cells(host)) + "\n")


def table(found: Sequence[HostStatus], width: int, caption: str = "") -> Table:
    """The hosts as a table, in lines of so many characters."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", caption=caption or None, caption_justify="left")
    shown = [at for at, column in enumerate(COLUMNS) if width >= _WIDE or column not in _LEAST_NEEDED]
    for column in (COLUMNS[at] for at in shown):
        never = column in ("host", "state", "answers in")
        right = column in ("answers in", "on disk")
        drawn.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=never)
    for host in found:
        row = [Text(printable(cell) or "-") for cell in cells(host)]
        row[1].stylize(_COLOURS[host.state])
        drawn.add_row(*(row[at] for at in shown))
    return drawn


def cells(host: HostStatus) -> tuple[str, ...]:
    """What is shown of a host, by column."""
    api = {"v1": "LM Studio", "v0": "LM Studio 0.3", "openai": "OpenAI", None: ""}[host.api]
    return (
        host.name,
        host.state,
        "" if host.look_seconds is None else f"{host.look_seconds * 1000:.0f} ms",
        "LM Studio (OpenAI routes)" if host.api == "openai" and host.lm_studio else api,
        host.failure or ", ".join(_loaded(host)),
        str(len(host.listed)) if host.api else "",
    )


def _loaded(host: HostStatus) -> list[str]:
    """The copies in memory, each model once, with the contexts that its copies have."""
    contexts: dict[str, list[int | None]] = {}
    for model in host.models:
        if model.loaded:
            contexts.setdefault(model.name.partition(":")[0], []).append(model.context_length)
    told = [(name, len(all_of), sorted({tokens for tokens in all_of if tokens})) for name, all_of in contexts.items()]
    return [
        name + (f" x{count}" if count > 1 else "") + (f" ({', '.join(map(str, tokens))})" if tokens else "")
        for name, count, tokens in told
    ]
