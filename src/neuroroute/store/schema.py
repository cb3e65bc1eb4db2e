"""How a store's SQLite file is made, recognised and brought up to date."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from neuroroute.errors import ConfigurationError
from neuroroute.localfile import make_private

_BUSY_SECONDS = 10.0
"""How long to wait for other processes; they hold their locks for milliseconds."""

_APPLICATION_ID = int.from_bytes(b"NRcv", "big")
"""Tells our files from other programs' (SQLite keeps it in the file's header)."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE conversations (
            key INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            model TEXT NOT NULL,
            title TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            turns INTEGER NOT NULL,
            version INTEGER NOT NULL
        )""",
        "CREATE INDEX conversations_newest ON conversations (updated DESC, id)",
        """CREATE TABLE messages (
            conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
            position INTEGER NOT NULL,
            body TEXT NOT NULL,
            UNIQUE (conversation, position)
        )""",
        # The highest version that was deleted: what is new begins above it, so that no version of an id comes twice.
        "CREATE TABLE spent (version INTEGER NOT NULL)",
        "INSERT INTO spent VALUES (0)",
        """CREATE TRIGGER conversations_spent AFTER DELETE ON conversations BEGIN
            UPDATE spent SET version = max(version, old.version);
        END""",
        f"PRAGMA application_id = {_APPLICATION_ID}",
    ),
)
"""The statements that lead from each ``user_version`` to the next, beginning at 0; what was released never changes."""


def opened(path: Path) -> sqlite3.Connection:
    """The file, opened for the calling thread, made if it is not there, and up to date.

    Raises:
        ConfigurationError: it cannot be opened, or is no store, or is a newer NeuroRoute's.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it readable by all; what it puts beside it (-wal, -shm) takes over the file's own mode.
        make_private(path.resolve())
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise unusable(path, error) from error
    try:
        _migrate(db, path)
        _write_ahead(db)
        # In WAL mode less would survive a kill, too, but FULL makes what was saved survive a power cut; a turn of a
        # model takes seconds, this milliseconds.
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        db.close()
        raise unusable(path, error) from error
    except BaseException:
        db.close()
        raise
    return db


def unusable(path: Path, error: Exception) -> ConfigurationError:
    """The typed error for what SQLite or the system said of the file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return _not_ours(path, "is no SQLite database")
    if code == sqlite3.SQLITE_BUSY:
        what = f"stayed locked by another process for {_BUSY_SECONDS:.0f} s"
        return ConfigurationError(f"the store {path} {what}", hint="Which program holds it? End that, then try again.")
    return ConfigurationError(
        f"the store {path} cannot be used: {error}", hint="Is it on a local disk with space left, and yours to write?"
    )


def _not_ours(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(f"{path} {what}, so it is no store of conversations", hint="Give another path.")


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN IMMEDIATE")  # of several processes that find a new file, one makes the tables
    try:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        _recognise(db, path, version)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                db.execute(statement)
        if version < len(MIGRATIONS):
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _recognise(db: sqlite3.Connection, path: Path, version: int) -> None:
    application: int = db.execute("PRAGMA application_id").fetchone()[0]
    tables: int = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    new = version == 0 and application == 0 and tables == 0
    if not new and application != _APPLICATION_ID:
        raise _not_ours(path, "is a database of another program")
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"the store {path} is of version {version}, made by a newer NeuroRoute; this one knows {len(MIGRATIONS)}",
            hint="Update with: pip install --upgrade neuroroute",
        )


def _write_ahead(db: sqlite3.Connection) -> None:
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite does not wait for others here, whatever its time limit, lest two wait for each other.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
