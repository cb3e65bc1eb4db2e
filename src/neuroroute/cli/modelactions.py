"""What the commands of ``neuroroute models`` do, but for the list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuroroute.cli.blocks import printable
from neuroroute.cli.models import cells, tell_who_is_missing, write_models
from neuroroute.cli.opening import Line, Wish, opened
from neuroroute.cli.progress import ModelBar
from neuroroute.cli.streams import consoles, write_json
from neuroroute.details import LoadedModel, ModelDetails
from neuroroute.errors import LMStudioError, NetworkError
from neuroroute.responses import Note
from neuroroute.selection import in_words


def show(wish: Wish, name: str, *, as_json: bool) -> None:
    """Prints what is known of a model.

    Raises:
        LMStudioError: there is none, or the server gives no listing.
    """
    console, aside = consoles(quiet=as_json)

    async def shown() -> ModelDetails:
        async with _reached(wish, aside) as line:
            return await line.adapter.find_model(name)

    found = asyncio.run(shown())
    if as_json:
        write_models(console, found)
    else:
        _print_rows(console, rows(found))


def load(url: str | None, name: str, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Loads a model and prints the id of the copy.

    Raises:
        LMStudioError: it could not be loaded.
    """
    console, aside = consoles(quiet=as_json)

    async def loaded() -> LoadedModel:
        async with _reached(Wish("lmstudio", url), aside) as line:
            key = (await line.adapter.find_model(name)).key
            with ModelBar(aside) as bar:
                return await line.adapter.load_model(key, on_progress=bar, **options)

    found = asyncio.run(loaded())
    if as_json:
        write_json(console, found)
        return
    console.file.write(printable(found.instance_id) + "\n")
    context = f", with a context of {found.context_length} tokens" if found.context_length else ""
    took = f"Loaded in {found.seconds:.1f} s" if found.seconds else "It was loaded already"
    aside.print(Text(f"{took} at {printable(found.host)}{context}.", style="dim"))
    _tell(aside, found.notes)


def unload(url: str | None, name: str, host: str | None, *, as_json: bool) -> None:
    """Unloads a model and prints the ids of its copies.

    Raises:
        LMStudioError: it could not be unloaded.
    """
    console, aside = consoles(quiet=as_json)

    async def unloaded() -> tuple[str, tuple[str, ...]]:
        async with _reached(Wish("lmstudio", url), aside) as line:
            found = await line.adapter.find_model(name)
            tell_who_is_missing(aside, line.adapter.hosts)
            asked = name if any(copy.id == name for copy in found.instances) else found.key
            return asked, await line.adapter.unload_model(asked, host=host)

    asked, gone = asyncio.run(unloaded())
    if as_json:
        write_json(console, gone)
        return
    for copy in gone:
        console.file.write(printable(copy) + "\n")
    if not gone:
        aside.print(Text(f"{printable(asked)} was not loaded.", style="dim"))


def download(url: str | None, name: str, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Has a model downloaded.

    Raises:
        LMStudioError: it could not be downloaded.
    """
    console, aside = consoles(quiet=as_json)

    async def downloaded() -> Any:
        async with _reached(Wish("lmstudio", url), aside) as line:
            with ModelBar(aside) as bar:
                try:
                    return await line.adapter.download_model(name, on_progress=bar, **options)
                except asyncio.CancelledError:
                    bar.close()
                    aside.print(Text("LM Studio goes on downloading; the same command watches it again.", style="dim"))
                    raise

    found = asyncio.run(downloaded())
    if as_json:
        write_json(console, found)
        return
    size = f" ({found.size_bytes / 1e9:.1f} GB)" if found.size_bytes else ""
    aside.print(Text("It was downloaded already." if found.already else f"Downloaded{size}.", style="dim"))


def rows(model: ModelDetails) -> list[tuple[str, str]]:
    """What is known of a model, as names and values; what is not known is left out."""
    guessed = in_words(model.capabilities - model.told)
    can = in_words(model.capabilities & model.told)
    told = {
        "model": model.key,
        "name": "" if model.display_name == model.key else model.display_name,
        **cells(model),
        "up to": f"{model.max_context_length}" if model.max_context_length and model.instances else "",
        "can": "; ".join(part for part in (can, f"by its id: {guessed}" if guessed else "") if part),
        "reasoning": ", ".join(model.reasoning_options),
        "publisher": model.publisher,
        "architecture": model.architecture,
        "format": model.format,
    }
    copies = [
        (
            f"copy {copy.id}" + (f" at {copy.host}" if copy.host else ""),
            ", ".join(f"{name} {value}" for name, value in copy.config.items()),
        )
        for copy in model.instances
        if copy.config
    ]
    return [(name, value) for name, value in (*told.items(), *copies) if value]


def _print_rows(console: Console, told: Sequence[tuple[str, str]]) -> None:
    if not console.is_terminal:
        for name, value in told:
            console.file.write(f"{printable(name)}\t{printable(value)}\n")
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in told:
        grid.add_row(Text(printable(name), style="bold"), Text(printable(value)))
    console.print(grid)


def _tell(aside: Console, notes: Sequence[Note]) -> None:
    for note in notes:
        aside.print(Text(printable(f"Note: {note.message}."), style="yellow"))


@asynccontextmanager
async def _reached(wish: Wish, aside: Console) -> AsyncGenerator[Line]:
    """A line to whom models are asked for; an error names the host."""
    async with opened(wish, aside, needs_model=False) as line:
        try:
            yield line
        except LMStudioError as error:
            error.host = error.host or ("" if "," in line.host else line.host)
            if isinstance(error, NetworkError) and wish.engine == "lmstudio":  # only LM Studio loads and downloads
                error.hint = "Start LM Studio's server (its Developer page, or `lms server start`), or name another "
                error.hint += "address with --url."
            raise
