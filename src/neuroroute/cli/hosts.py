"""``neuroroute hosts``: the hosts, whether they are up, and what they have loaded; live, on a terminal."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from neuroroute.adapter import LMStudioAdapter
from neuroroute.cli.blocks import printable
from neuroroute.cli.streams import consoles, write_json
from neuroroute.errors import NetworkError
from neuroroute.fleet.status import HostStatus

COLUMNS: Final = ("host", "state", "answers in", "API", "loaded (context)", "on disk")

_COLOURS: Final = {"up": "green", "down": "red", "draining": "yellow", "unknown": ""}


def hosts(url: str | None, interval: float, *, once: bool, as_json: bool) -> None:
    """Prints the hosts; on a terminal again and again, until Ctrl-C.

    Args:
        url: which hosts, as ``base_url`` takes them. Default: ``LMSTUDIO_URL``, else the default address.
        interval: seconds between two looks.
        once: to look only once.
        as_json: to write them for a program, once.

    Raises:
        NetworkError: once, and no host is up.
    """
    console, _ = consoles(quiet=as_json)
    live = console.is_terminal and not (once or as_json)
    try:
        found = asyncio.run(_watch(url, interval, console) if live else _look(url))
    except KeyboardInterrupt:
        if live:  # that is how it ends
            return
        raise
    if as_json:
        write_json(console, found)
    elif not live:
        print_hosts(console, found)
    if not any(host.state == "up" for host in found):
        raise NetworkError(
            "no host is up", hint="Start LM Studio's server there: Developer page, or `lms server start`."
        )


async def _look(url: str | None) -> tuple[HostStatus, ...]:
    async with LMStudioAdapter("none", base_url=url) as adapter:
        return await adapter.check_hosts()


async def _watch(url: str | None, interval: float, console: Console) -> tuple[HostStatus, ...]:
    async with LMStudioAdapter("none", base_url=url) as adapter:
        with Live(table(adapter.hosts), console=console, auto_refresh=False) as drawn:
            while True:
                drawn.update(table(await adapter.check_hosts(), caption="Ctrl-C ends it."), refresh=True)
                await asyncio.sleep(interval)


def print_hosts(console: Console, found: Sequence[HostStatus]) -> None:
    """Prints a table for a person; for a program a line for each host, in columns parted by tabs."""
    if console.is_terminal:
        console.print(table(found))
        return
    for host in found:
        console.file.write("\t".join(" ".join(printable(cell).split()) for cell in cells(host)) + "\n")


def table(found: Sequence[HostStatus], caption: str = "") -> Table:
    """The hosts as a table."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", caption=caption or None, caption_justify="left")
    for column in COLUMNS:
        drawn.add_column(column, justify="right" if column in ("answers in", "on disk") else "left", overflow="fold")
    for host in found:
        name, state, *more = (Text(printable(cell) or "-") for cell in cells(host))
        state.stylize(_COLOURS[host.state])
        drawn.add_row(name, state, *more)
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
    """The copies in memory, each model once."""
    loaded = [model for model in host.models if model.loaded]
    context = {model.name.partition(":")[0]: model.context_length for model in reversed(loaded)}
    copies = Counter(model.name.partition(":")[0] for model in loaded)
    told = [(name, f" x{count}" if count > 1 else "", context[name]) for name, count in copies.items()]
    return [f"{name}{times}" + (f" ({tokens})" if tokens else "") for name, times, tokens in told]
