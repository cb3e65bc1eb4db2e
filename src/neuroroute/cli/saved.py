"""Conversations of the command line that are kept: where, under which id, and the list of them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import msgspec
import platformdirs
from rich.console import Console
from rich.table import Table

from neuroroute.cli.blocks import printable
from neuroroute.errors import ConfigurationError
from neuroroute.store import ConversationSummary, SQLiteStore

_MOST_LISTED = 50
LAST = ""
"""``--resume`` without an id."""


def store_path() -> Path:
    """Where they are kept: in the user's data folder, readable by nobody else."""
    return platformdirs.user_data_path("neuroroute", appauthor=False) / "chats.db"


def new_id() -> str:
    """An id short enough to be typed."""
    return uuid4().hex[:8]


async def resumable(store: SQLiteStore, wanted: str) -> str:
    """The id of the conversation whose id begins so, else of the newest.

    Raises:
        ConfigurationError: there is none, or there are several.
    """
    listed = await store.list(limit=_MOST_LISTED * 20)
    fitting = listed[:1] if wanted == LAST else [one for one in listed if one.id.startswith(wanted)]
    fitting = [one for one in fitting if one.id == wanted] or fitting
    if len(fitting) == 1:
        return fitting[0].id
    raise ConfigurationError(_why_not(wanted, len(fitting)), hint="See them with `neuroroute chat --list`.")


def _why_not(wanted: str, count: int) -> str:
    if wanted == LAST:
        return "none was kept yet"
    if count == 0:
        return f"no conversation has an id that begins with {wanted!r}"
    return f"{count} conversations have an id that begins with {wanted!r}"


def show_saved(console: Console, *, as_json: bool) -> None:
    """Prints the newest conversations.

    Raises:
        LMStudioError: they cannot be read.
    """
    listed = asyncio.run(_listed())
    if as_json:
        console.file.write(msgspec.json.encode(listed).decode() + "\n")
        return
    if not console.is_terminal:
        for one in listed:
            console.file.write(f"{one.id}\t{_when(one)}\t{one.message_count}\t{one.model}\t{printable(one.title)}\n")
        return
    if not listed:
        console.print("No conversation was kept yet; `neuroroute chat` begins one.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "last", "messages", "model", "begins with"):
        table.add_column(heading, overflow="ellipsis", no_wrap=True)
    for one in listed:
        table.add_row(one.id, _when(one), str(one.message_count), one.model, printable(one.title))
    console.print(table)
    console.print("\n`neuroroute chat --resume` goes on with the newest, `--resume ID` with another.", style="dim")


async def _listed() -> list[ConversationSummary]:
    if not store_path().exists():
        return []
    async with SQLiteStore(store_path()) as store:
        return await store.list(limit=_MOST_LISTED)


def _when(one: ConversationSummary) -> str:
    return datetime.fromtimestamp(one.updated).astimezone().strftime("%Y-%m-%d %H:%M")
