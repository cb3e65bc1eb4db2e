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


def models(wish: Wish, *, as_json: bool) -> None:
    """Prints the models.

    Raises:
        LMStudioError: the server gives no listing.
    """
    console, aside = consoles(quiet=as_json)

    async def listing() -> list[ModelDetails]:
        async with opened(wish, aside, needs_model=False) as line:
            return await line.models()

    found = asyncio.run(listing())
    if as_json:
        write_models(console, found)
    elif found:
        print_models(console, found)
    else:
        aside.print("The server has no models. Download one in LM Studio, or with `lms get`.")


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
        console.print(table(found, current))
        return
    for model in found:
        row = [model.key, *cells(model).values()]
        console.file.write("\t".join(" ".join(printable(cell).split()) for cell in row) + "\n")


def table(found: Sequence[ModelDetails], current: str = "") -> Table:
    """The models as a table; a column of which the server tells nothing is left out.

    Args:
        found: what the server listed.
        current: the model that is asked; it gets a mark.
    """
    rows = [cells(model) for model in found]
    told = [column for column in COLUMNS if any(row[column] for row in rows)]
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    drawn.add_column("model", overflow="fold")
    for column in told:
        drawn.add_column(column, justify="right" if column in ("size", "context") else "left", no_wrap=True)
    for model, row in zip(found, rows, strict=True):
        key = Text(printable(model.key), style="bold green" if model.loaded else "")
        if current and model.answers_to(current):
            key.append(" *")
        drawn.add_row(key, *(Text(row[column] or "-") for column in told))
    return drawn


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
