"""The SQLite file of a cache, from within one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from neuroroute.caches.bounds import Bounds
from neuroroute.errors import ConfigurationError
from neuroroute.store.schema import make_private

_BUSY_SECONDS = 2.0
"""How long to wait for other processes; a request does not wait so long."""

_APPLICATION_ID = int.from_bytes(b"NRrc", "big")
"""Tells our files from other programs' (SQLite keeps it in the file's header, at byte 68)."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS answers (
        key TEXT NOT NULL PRIMARY KEY,
        value BLOB NOT NULL,
        kept REAL NOT NULL,
        used INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX IF NOT EXISTS answers_used ON answers (used)",
    "CREATE TABLE IF NOT EXISTS totals (answers INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO totals SELECT 0, 0 WHERE NOT EXISTS (SELECT * FROM totals)",
    """CREATE TRIGGER IF NOT EXISTS answers_in AFTER INSERT ON answers BEGIN
        UPDATE totals SET answers = answers + 1, bytes = bytes + length(new.value);
    END""",
    """CREATE TRIGGER IF NOT EXISTS answers_out AFTER DELETE ON answers BEGIN
        UPDATE totals SET answers = answers - 1, bytes = bytes - length(old.value);
    END""",
    f"PRAGMA application_id = {_APPLICATION_ID}",
)
_USE = "UPDATE answers SET used = (SELECT max(used) + 1 FROM answers) WHERE key = ?"
_KEEP = """INSERT INTO answers (key, value, kept, used)
    VALUES (?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM answers))"""
_DROP_OLDEST = "DELETE FROM answers WHERE used = (SELECT min(used) FROM answers)"


class Damaged(Exception):  # noqa: N818 - what it is
    """The file is a cache of ours, and broken."""


class CacheFile:
    """An open file. Only the thread that opened it may use it.

    Raises:
        Damaged: on opening or at any use.
        ConfigurationError: the file is no cache, or cannot be opened.
        sqlite3.Error: it cannot be used now.
    """

    def __init__(self, path: Path, bounds: Bounds, *, anew: bool = False) -> None:
        """Opens it.

        Args:
            path: of the file.
            bounds: how much it may keep, and how long.
            anew: what is there is thrown away, if it is ours.
        """
        self._path = path
        self._bounds = bounds
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if anew:
                for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                    file.unlink(missing_ok=True)
            if path.exists() and path.stat().st_size and not self._says_ours():
                raise self._not_ours()  # before anything is done to it
            make_private(path.resolve())
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        except ConfigurationError:
            raise
        except (OSError, ValueError, sqlite3.Error) as error:
            raise ConfigurationError(f"the cache {path} cannot be opened: {error}") from error
        try:
            with self._told():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    def get(self, key: str, now: float) -> bytes | None:
        """The answer of this key, unless it is too old; it is the last to go from now on."""
        with self._told():
            row = self._db.execute("SELECT value, kept FROM answers WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            value, kept = row
            ttl = self._bounds.ttl_seconds
            if ttl is not None and not 0 <= now - kept < ttl:  # nor is it of tomorrow: the clock was put back
                self.delete(key)
                return None
            self._db.execute(_USE, (key,))
            return bytes(value)

    def put(self, key: str, value: bytes, now: float) -> None:
        """Keeps an answer, and lets go what is too much."""
        bounds = self._bounds
        with self._told(), self._transaction():
            self._db.execute("DELETE FROM answers WHERE key = ?", (key,))
            if len(value) > bounds.max_bytes:
                return
            self._db.execute(_KEEP, (key, value, now))
            while self._is_full() and self._db.execute(_DROP_OLDEST).rowcount:
                pass

    def delete(self, key: str) -> None:
        """Forgets one."""
        with self._told():
            self._db.execute("DELETE FROM answers WHERE key = ?", (key,))

    def clear(self) -> None:
        """Forgets all."""
        with self._told():
            self._db.execute("DELETE FROM answers")
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _is_full(self) -> bool:
        answers, size = self._db.execute("SELECT answers, bytes FROM totals").fetchone()
        return bool(answers > self._bounds.max_entries or size > self._bounds.max_bytes)

    def _prepare(self) -> None:
        with self._transaction():
            for statement in _TABLES:
                self._db.execute(statement)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last answers, and breaks nothing
        self._db.execute("PRAGMA secure_delete = ON")  # what was forgotten is overwritten

    def _not_ours(self) -> ConfigurationError:
        return ConfigurationError(f"{self._path} is no cache of NeuroRoute's", hint="Give another path.")

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _told(self) -> Generator[None]:
        """Tells what is broken from what only does not go now."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) and "no such" not in str(error):
                raise
            if not self._says_ours():
                raise self._not_ours() from error
            raise Damaged from error

    def _says_ours(self) -> bool:
        with self._path.open("rb") as file:
            head = file.read(72)
        return head[:6] == b"SQLite" and head[68:72] == _APPLICATION_ID.to_bytes(4, "big")
