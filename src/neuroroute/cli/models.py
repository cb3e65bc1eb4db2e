"""``neuroroute models list``: what the server has."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuroroute.cli.blocks import printable
from neuroroute.cli.opening import Wish, opened
from neuroroute.cli.streams import consoles
from neuroroute.details import ModelDetails
from neuroroute.fleet.status import HostStatus


def models(wish: Wish, *, as_json: bool) -> None:
    """Prints the models.

    Raises:
        LMStudioError: the server gives no listing.
    """
    console, aside = consoles(quiet=as_json)

    async def listing() -> list[ModelDetails]:
        async with opened(wish, aside, needs_model=False) as line:
            found = await line.models()
            tell_who_is_missing(aside, line.adapter.hosts)
            return found

    found = asyncio.run(listing())
    if as_json:
        write_models(console, found)
    elif found:
        print_models(console, found)
    else:
        aside.print("The server has no models. Download one in LM Studio, or with `lms get`.")


def tell_who_is_missing(aside: Console, hosts: Sequence[HostStatus]) -> None:
    """Says which of several hosts did not tell, and why."""
    for host in hosts if len(hosts) > 1 else ():
        if host.failure:
            aside.print(Text(printable(f"Without {host.name}: {host.failure}."), style="yellow"))


def write_models(console: Console, found: ModelDetails | Sequence[ModelDetails]) -> None:
    """Writes what is known of models for a program; what they can do, in an order that stays."""
    console.file.write(msgspec.json.encode(found, order="deterministic").decode() + "\n")


def print_models(console: Console, found: Sequence[ModelDetails], current: str = "") -> None:
    """Prints a table for a person; for a program a line for each model, in columns parted by tabs.

    Args:
        console: where to.
        found: what the server listed.
        current: the model that is asked; the table marks it.
    """
    if console.is_terminal:
        console.print(table(found, current, console.width))
        return
    for model in found:
        row = [model.key, *cells(model).values()]
        console.file.write("\t".join(" ".join(printable(cell).split()) for cell in row) + "\n")


def table(found: Sequence[ModelDetails], current: str = "", width: int = 80) -> Table:
    """The models as a table; a column of which the server tells nothing is left out, and what finds no room.

    Args:
        found: what the server listed.
        current: the model that is asked; it gets a mark.
        width: characters in a line.
    """
    rows = [cells(model) for model in found]
    told = [column for column in COLUMNS if any(row[column] for row in rows)]
    keys = max(len(model.key) for model in found) + 2
    for column in _LEAST_NEEDED:
        widths = [max(len(column), *(len(row[column]) for row in rows)) + 3 for column in told]
        if column in told and keys + sum(widths) > width:
            told.remove(column)
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    drawn.add_column("model", overflow="fold", min_width=min(keys, width - 4))
    for column in told:
        drawn.add_column(column, justify="right" if column in ("size", "context") else "left", overflow="fold")
    for model, row in zip(found, rows, strict=True):
        key = Text(printable(model.key), style="bold green" if model.loaded else "")
        if current and model.answers_to(current):
            key.append(" *")
        drawn.add_row(key, *(Text(row[column] or "-") for column in told))
    return drawn


_LEAST_NEEDED: Final = ("quantization", "parameters", "size", "kind", "context", "hosts", "loaded")
"""Columns that go first, where a terminal is narrow."""

COLUMNS: Final = ("kind", "parameters", "quantization", "size", "loaded", "context", "hosts")


def cells(model: ModelDetails) -> dict[str, str]:
    """What the table says of a model beside its key, by column; an empty text where the server does not tell."""
    contexts = [str(instance.context_length) for instance in model.instances if instance.context_length]
    most = f"up to {model.max_context_length}" if model.max_context_length else ""
    values = (
        "" if model.kind == "unknown" else model.kind,
        model.parameters,
        model.quantization,
        f"{model.size_bytes / 1e9:.1f} GB" if model.size_bytes else "",
        {True: "yes", False: "no", None: ""}[model.loaded],
        ", ".join(contexts) or most,
        ", ".join(model.hosts),
    )
    return dict(zip(COLUMNS, values, strict=True))
