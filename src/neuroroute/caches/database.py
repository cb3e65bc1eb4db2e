"""The SQLite file of a cache, from within one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from neuroroute.caches.bounds import Bounds
from neuroroute.errors import ConfigurationError
from neuroroute.localfile import make_private

R = TypeVar("R")

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


class _Damaged(Exception):  # noqa: N818 - what it is
    """The file is a cache of ours, and broken."""


class CacheFile:
    """An open file. Only the thread that opened it may use it.

    A file of ours that is damaged, at its opening or at any use, is made anew.

    Raises:
        ConfigurationError: the file is no cache, or cannot be opened.
        sqlite3.Error: it cannot be used now.
    """

    def __init__(self, path: Path, bounds: Bounds) -> None:
        """Opens it, and makes it where it is not there.

        Args:
            path: of the file.
            bounds: how much it may keep, and how long.
        """
        self._path = path
        self._bounds = bounds
        try:
            self._db = self._opened()
        except _Damaged:
            self._db = self._made_anew()

    def close(self) -> None:
        """Closes the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    def get(self, key: str, now: float) -> bytes | None:
        """The answer of this key, unless it is too old; it is the last to go from now on."""
        return self._mended(lambda: self._get(key, now))

    def put(self, key: str, value: bytes, now: float) -> None:
        """Keeps an answer, and lets go what is too much."""
        self._mended(lambda: self._put(key, value, now))

    def delete(self, key: str) -> None:
        """Forgets one."""
        self._mended(lambda: self._delete(key))

    def clear(self) -> None:
        """Forgets all."""
        self._mended(self._clear)

    def _mended(self, work: Callable[[], R]) -> R:
        """What this comes to, in the file at hand, else in a new one."""
        try:
            with self._told():
                return work()
        except _Damaged:
            self.close()
            self._db = self._made_anew()
            return work()

    def _get(self, key: str, now: float) -> bytes | None:
        row = self._db.execute("SELECT value, kept FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value, kept = row
        ttl = self._bounds.ttl_seconds
        if ttl is not None and not 0 <= now - kept < ttl:  # nor is it of tomorrow: the clock was put back
            self._delete(key)
            return None
        self._db.execute(_USE, (key,))
        return bytes(value)

    def _put(self, key: str, value: bytes, now: float) -> None:
        with _transaction(self._db):
            self._delete(key)
            if len(value) > self._bounds.max_bytes:
                return
            self._db.execute(_KEEP, (key, value, now))
            while self._is_full() and self._db.execute(_DROP_OLDEST).rowcount:
                pass

    def _delete(self, key: str) -> None:
        self._db.execute("DELETE FROM answers WHERE key = ?", (key,))

    def _clear(self) -> None:
        self._db.execute("DELETE FROM answers")
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _is_full(self) -> bool:
        answers, size = self._db.execute("SELECT answers, bytes FROM totals").fetchone()
        return bool(answers > self._bounds.max_entries or size > self._bounds.max_bytes)

    def _made_anew(self) -> sqlite3.Connection:
        with self._opening():
            for file in (self._path, Path(f"{self._path}-wal"), Path(f"{self._path}-shm")):
                file.unlink(missing_ok=True)
        return self._opened()

    def _opened(self) -> sqlite3.Connection:
        with self._opening():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._path.exists():
                make_private(self._path.resolve())
            db = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with self._told():
                if not _is_ours(db):
                    raise self._not_ours()  # before anything is done to it
                make_private(self._path.resolve())
                _prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _not_ours(self) -> ConfigurationError:
        return ConfigurationError(f"{self._path} is no cache of NeuroRoute's", hint="Give another path.")

    @contextmanager
    def _opening(self) -> Generator[None]:
        try:
            yield
        except (OSError, ValueError, sqlite3.Error) as error:
            raise ConfigurationError(f"the cache {self._path} cannot be opened: {error}") from error

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
            raise _Damaged from error

    def _says_ours(self) -> bool:
        """What the header says, for a file that SQLite cannot read.

        Of no other: to close a file takes away this process's locks on it (POSIX), other caches' too.
        """
        with self._path.open("rb") as file:
            head = file.read(72)
        return head[:6] == b"SQLite" and head[68:72] == _APPLICATION_ID.to_bytes(4, "big")


def _is_ours(db: sqlite3.Connection) -> bool:
    """Whether it is a cache, or new."""
    application: int = db.execute("PRAGMA application_id").fetchone()[0]
    if application != 0:
        return application == _APPLICATION_ID
    tables: int = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return tables == 0


def _prepare(db: sqlite3.Connection) -> None:
    with _transaction(db):
        for statement in _TABLES:
            db.execute(statement)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last answers, and breaks nothing
    db.execute("PRAGMA secure_delete = ON")  # what was forgotten is overwritten


@contextmanager
def _transaction(db: sqlite3.Connection) -> Generator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
