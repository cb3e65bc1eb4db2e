"""Conversations of the command line that are kept: where, under which id, and the list of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import msgspec
import platformdirs
from rich.console import Console
from rich.table import Table

from neuroroute.cli.blocks import printable
from neuroroute.errors import ConfigurationError
from neuroroute.messages import AnyMessage
from neuroroute.store import ConversationSummary, SQLiteStore

_MOST_LISTED = 50
LAST = ""
"""``--resume`` without an id."""


def store_path() -> Path:
    """Where they are kept: in the user's data folder, readable by nobody else."""
    return platformdirs.user_data_path("neuroroute", appauthor=False) / "chats.db"


class Keeper:
    """Keeps one conversation."""

    def __init__(self, store: SQLiteStore, id: str | None = None, version: int = 0) -> None:  # noqa: A002
        self._store = store
        self.id = id or uuid4().hex[:12]
        self._version = version

    @classmethod
    async def resumed(cls, store: SQLiteStore, wanted: str) -> tuple[Keeper, list[AnyMessage]]:
        """The one whose id begins so, else the newest, with what was said.

        Raises:
            ConfigurationError: there is none, or there are several.
        """
        listed = await store.list(limit=_MOST_LISTED * 20)
        fitting = listed[:1] if wanted == LAST else [one for one in listed if one.id.startswith(wanted)]
        exact = [one for one in fitting if one.id == wanted]
        fitting = exact or fitting
        if len(fitting) != 1:
            many = f"{len(fitting)} conversations have ids that begin with {wanted!r}"
            none = (
                f"no conversation has an id that begins with {wanted!r}" if wanted else "no conversation was kept yet"
            )
            raise ConfigurationError(many if fitting else none, hint="See them with `neuroroute chat --list`.")
        saved = await store.load(fitting[0].id)
        if saved is None:
            raise ConfigurationError("the conversation was deleted meanwhile", hint="")
        return cls(store, saved.id, saved.version), list(saved.messages)

    async def keep(self, messages: Sequence[AnyMessage], model: str) -> None:
        """Saves it as it is now.

        Raises:
            LMStudioError: it cannot be saved; another program may have gone on with it.
        """
        if messages:
            title = next((" ".join(one.text.split()) for one in messages if one.role == "user"), "")
            title = title if len(title) <= 60 else title[:59] + "…"
            self._version = await self._store.save(self.id, messages, model=model, title=title, version=self._version)


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
            console.file.write(f"{one.id}\t{_when(one)}\t{one.turns}\t{one.model}\t{printable(one.title)}\n")
        return
    if not listed:
        console.print("No conversation was kept yet; `neuroroute chat` begins one.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "last", "messages", "model", "begins with"):
        table.add_column(heading, overflow="ellipsis", no_wrap=True)
    for one in listed:
        table.add_row(one.id, _when(one), str(one.turns), one.model, printable(one.title))
    console.print(table)
    console.print("\n`neuroroute chat --resume` goes on with the newest, `--resume ID` with another.", style="dim")


async def _listed() -> list[ConversationSummary]:
    if not store_path().exists():
        return []
    async with SQLiteStore(store_path()) as store:
        return await store.list(limit=_MOST_LISTED)


def _when(one: ConversationSummary) -> str:
    return datetime.fromtimestamp(one.updated).astimezone().strftime("%Y-%m-%d %H:%M")
