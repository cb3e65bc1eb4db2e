"""The SQLite file of a store, from within one thread: every verb is one transaction."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from neuroroute.errors import ConfigurationError
from neuroroute.messages import AnyMessage
from neuroroute.store.checks import check_version
from neuroroute.store.protocol import ConversationSummary, SavedConversation
from neuroroute.store.schema import opened, unusable
from neuroroute.wire.encode import encode_turn

_message = msgspec.json.Decoder(AnyMessage).decode


class Database:
    """An open file. Only the thread that opened it may use it.

    Raises:
        ConfigurationError: the file cannot be used, on opening or at any verb; names it and what is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = opened(path)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def load(self, id_: str) -> SavedConversation | None:
        """The conversation, or None where there is none of this id."""
        with self._transaction("DEFERRED"):  # both reads see one moment
            row = self._row(
                "SELECT key, model, title, created, updated, version, turns FROM conversations WHERE id = ?", id_
            )
            if row is None:
                return None
            key, model, title, created, updated, version, turns = row
            bodies = [*self._bodies(key)]
        if len(bodies) != turns:
            raise self._damaged(id_, f"it has {len(bodies)} messages, of {turns}")
        return SavedConversation(
            id=id_,
            messages=self._decoded(id_, bodies),
            model=model,
            title=title,
            created=created,
            updated=updated,
            version=version,
        )

    def save(self, saved: SavedConversation) -> int:
        """Saves it on top of the version that it names; returns the new version.

        Raises:
            ConversationConflictError: another version is there; nothing was written.
        """
        bodies = [encode_turn(message).decode() for message in saved.messages]
        with self._transaction("IMMEDIATE"):
            row = self._row("SELECT key, version, model, title FROM conversations WHERE id = ?", saved.id)
            key, found, model, title = row or (None, 0, "", "")
            check_version(saved, found)
            version = (found if row else self._spent()) + 1
            values = (saved.model or model, saved.title or title, saved.updated, len(bodies), version)
            key = self._insert(saved, values) if key is None else self._update(key, values)
            same = self._unchanged(key, bodies)
            self._db.execute("DELETE FROM messages WHERE conversation = ? AND position >= ?", (key, same))
            self._db.executemany(
                "INSERT INTO messages (conversation, position, body) VALUES (?, ?, ?)",
                ((key, position, bodies[position]) for position in range(same, len(bodies))),
            )
        return version

    def list(self, limit: int) -> builtins.list[ConversationSummary]:
        """The conversations that were saved last, the newest first."""
        with self._told():
            rows = self._db.execute(
                "SELECT id, model, title, created, updated, turns, version FROM conversations"
                " ORDER BY updated DESC, id LIMIT ?",
                (limit,),
            ).fetchall()
        names = ConversationSummary.__struct_fields__
        return [ConversationSummary(**dict(zip(names, row, strict=True))) for row in rows]

    def delete(self, id_: str) -> bool:
        """Deletes the conversation; False where there was none."""
        with self._transaction("IMMEDIATE"):
            return self._db.execute("DELETE FROM conversations WHERE id = ?", (id_,)).rowcount > 0

    def expire(self, before: float) -> int:
        """Deletes the conversations that were last saved before this; returns how many."""
        with self._transaction("IMMEDIATE"):
            return self._db.execute("DELETE FROM conversations WHERE updated < ?", (before,)).rowcount

    def _insert(self, saved: SavedConversation, values: tuple[Any, ...]) -> int:
        cursor = self._db.execute(
            "INSERT INTO conversations (id, created, model, title, updated, turns, version)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (saved.id, saved.created, *values),
        )
        return cursor.lastrowid or 0

    def _update(self, key: int, values: tuple[Any, ...]) -> int:
        self._db.execute(
            "UPDATE conversations SET model = ?, title = ?, updated = ?, turns = ?, version = ? WHERE key = ?",
            (*values, key),
        )
        return key

    def _spent(self) -> int:
        spent: int = self._db.execute("SELECT version FROM spent").fetchone()[0]
        return spent

    def _unchanged(self, key: int, bodies: builtins.list[str]) -> int:
        """How many messages at the beginning are as they were saved."""
        same = 0
        for saved, body in zip(self._bodies(key), bodies, strict=False):
            if saved != body:
                break
            same += 1
        return same

    def _row(self, query: str, value: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, (value,)).fetchone()
        return row

    def _bodies(self, key: int) -> Iterable[str]:
        rows = self._db.execute("SELECT body FROM messages WHERE conversation = ? ORDER BY position", (key,))
        return (row[0] for row in rows)

    def _decoded(self, id_: str, bodies: builtins.list[str]) -> tuple[AnyMessage, ...]:
        messages: builtins.list[AnyMessage] = []
        for index, body in enumerate(bodies):
            try:
                messages.append(_message(body))
            except (msgspec.DecodeError, TypeError, RecursionError) as error:
                raise self._damaged(id_, f"messages[{index}]: {error}") from error
        return tuple(messages)

    def _damaged(self, id_: str, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"the store {self._path} is damaged at conversation {id_!r:.60}: {what}",
            hint="Bring the file back from a backup, or delete this conversation.",
        )

    @contextmanager
    def _transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Generator[None]:
        with self._told():
            self._db.execute(f"BEGIN {kind}")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled it back already
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise unusable(self._path, error) from error
