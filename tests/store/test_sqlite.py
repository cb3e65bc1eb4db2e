from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from neuroroute import AnyMessage, ConfigurationError, SystemMessage, UserMessage
from neuroroute.errors import ConversationConflictError
from neuroroute.store import SavedConversation, SQLiteStore, schema


def said(*texts: str) -> list[AnyMessage]:
    return [UserMessage(content=text) for text in texts]


@contextmanager
def beside(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as another program sees it that waits for nobody."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        yield db


async def texts(store: SQLiteStore, name: str = "a") -> list[str]:
    saved = await store.load(name)
    return [] if saved is None else [message.text for message in saved.messages]


async def saved_once(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.save("a", said("1", "2"), version=0)


async def test_a_conversation_outlives_its_store(path: Path) -> None:
    """What one store saved another loads from the same file."""
    await saved_once(path)
    async with SQLiteStore(str(path)) as store:
        assert await texts(store) == ["1", "2"]


async def test_only_the_owner_may_read(path: Path) -> None:
    """The file, what SQLite puts beside it, and the folder made for it are the owner's alone."""
    async with SQLiteStore(path) as store:
        await store.save("a", said("1"), version=0)
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == [path.name, f"{path.name}-shm", f"{path.name}-wal"]
        if os.name == "posix":  # elsewhere a mode means nothing
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a mode means nothing")
async def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    """A file that was there with a wider mode, and what SQLite put beside it, are the owner's alone once opened."""
    async with SQLiteStore(path) as first:
        await first.save("a", said("1"), version=0)
        files = [*path.parent.iterdir()]
        for file in files:
            file.chmod(0o644)
        async with SQLiteStore(path) as store:
            await store.save("b", said("1"), version=0)
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.skipif(os.name != "posix", reason="other systems keep locks in another way")
async def test_a_second_store_leaves_the_first_ones_locks(path: Path) -> None:
    """Opening a file does not take away the locks that another store of the process has on it."""
    import subprocess

    # In WAL mode, whoever can lock the file exclusively may remove the log from under the others.
    ask = """import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0)
try:
    db.execute("PRAGMA journal_mode = DELETE")
except sqlite3.OperationalError:
    print("locked")"""
    async with SQLiteStore(path) as first:
        await first.save("a", said("1"), version=0)
        async with SQLiteStore(path) as second:
            await second.list()
        command = [sys.executable, "-c", ask, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "locked"


async def test_nothing_is_opened_before_the_first_use(path: Path) -> None:
    """Making a store touches no file, closing it neither."""
    async with SQLiteStore(path):
        pass
    assert not path.parent.exists()


async def test_closing_leaves_one_file(path: Path) -> None:
    """Once all stores are closed, the one file holds everything, and may be copied."""
    await saved_once(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_a_path_is_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path does not move when the working directory changes before the first use."""
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("a.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with store:
        await store.save("a", said("1"), version=0)
    assert (tmp_path / "a.db").exists()


def test_sqlite_loads_on_first_use() -> None:
    """Importing the stores does not import sqlite3."""
    code = "import sys, neuroroute.store; print('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


async def test_only_what_is_new_is_written(path: Path) -> None:
    """Rows of messages that are as they were saved stay; from the first difference on they are written anew."""

    def rows() -> list[tuple[int, int]]:
        with beside(path) as db:
            return db.execute("SELECT rowid, position FROM messages ORDER BY position").fetchall()

    async with SQLiteStore(path) as store:
        await store.save("other", said("x"), version=0)
        await store.save("a", said("1", "2", "3"), version=0)
        first = rows()
        await store.save("later", said("y"), version=0)
        await store.save("a", said("1", "2", "3", "4"), version=1)
        second = rows()
        assert {*first} < {*second}
        assert len(second) == 6
        await store.save("a", [SystemMessage(content="1"), *said("2")], version=2)
        assert await texts(store) == ["1", "2"]
        assert await texts(store, "other") == ["x"]
        assert len(rows()) == 4


async def test_deleting_leaves_no_messages(path: Path) -> None:
    """The messages of a deleted or expired conversation are deleted with it."""
    async with SQLiteStore(path, clock=lambda: 1000.0) as store:
        await store.save("a", said("1"), version=0)
        assert await store.delete("a")
    async with SQLiteStore(path, clock=lambda: 2000.0) as store:
        await store.save("b", said("1"), version=0)
    async with SQLiteStore(path, clock=lambda: 3000.0) as store:
        assert await store.expire(500) == 1
    with beside(path) as db:
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (0,)


async def test_a_save_that_fails_changes_nothing(path: Path) -> None:
    """When a save fails half way, the conversation is as it was, and the next save works."""
    async with SQLiteStore(path) as store:
        await store.save("a", said("1", "2"), version=0)
        with beside(path) as db:
            db.execute(
                "CREATE TRIGGER full BEFORE INSERT ON messages WHEN new.position = 3"
                " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
        with pytest.raises(ConfigurationError, match=r"conversations\.db cannot be used: disk is full.*space left"):
            await store.save("a", said("0", "1", "2", "3", "4"), version=1)
        assert await texts(store) == ["1", "2"]
        with beside(path) as db:
            db.execute("DROP TRIGGER full")
        assert await store.save("a", said("0", "1", "2", "3", "4"), version=1) == 2


async def test_a_cancelled_save_is_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that is cancelled leaves at once; its save is done to the end, and no transaction stays open."""
    from neuroroute.store.database import Database

    begun = threading.Event()
    really_save = Database.save

    def save_and_tell(database: Database, saved: SavedConversation) -> int:
        begun.set()
        return really_save(database, saved)

    async with SQLiteStore(path) as store:
        await store.save("a", said("1"), version=0)
        monkeypatch.setattr(Database, "save", save_and_tell)
        with beside(path) as db:
            db.execute("BEGIN IMMEDIATE")  # so that the save waits inside SQLite
            save = asyncio.create_task(store.save("a", said("1", "2"), version=1))
            await asyncio.to_thread(begun.wait)
            save.cancel()
            with pytest.raises(asyncio.CancelledError):
                await save
            db.execute("COMMIT")
            assert await texts(store) == ["1", "2"]
            db.execute("BEGIN IMMEDIATE")
            db.execute("COMMIT")
        assert await store.save("a", said("1", "2", "3"), version=2) == 3


async def test_closing_waits_for_what_was_begun(path: Path) -> None:
    """A save that was under way when the store is closed is done."""
    store = SQLiteStore(path)
    save = asyncio.create_task(store.save("a", said("1"), version=0))
    await asyncio.sleep(0)
    await store.aclose()
    assert await save == 1
    async with SQLiteStore(path) as again:
        assert await texts(again) == ["1"]


async def add(store: SQLiteStore, text: str) -> None:
    """Adds a message to what is there, as often as it takes."""
    while True:
        saved = await store.load("a")
        try:
            await store.save(
                "a", [*(saved.messages if saved else ()), *said(text)], version=saved.version if saved else 0
            )
        except ConversationConflictError:
            continue
        return


async def test_several_stores_lose_nothing(path: Path) -> None:
    """Stores that add to one conversation at once, each trying again on a conflict, lose none of their messages."""
    stores = [SQLiteStore(path) for _ in range(3)]
    await asyncio.gather(*(add(store, f"{n}.{i}") for n, store in enumerate(stores) for i in range(5)))
    assert sorted(await texts(stores[0])) == sorted(f"{n}.{i}" for n in range(3) for i in range(5))
    await asyncio.gather(*(store.aclose() for store in stores))


def test_several_threads_and_loops(path: Path) -> None:
    """One store serves event loops in several threads."""
    store = SQLiteStore(path)
    threads = [threading.Thread(target=lambda n=n: asyncio.run(add(store, n))) for n in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asyncio.run(texts(store))) == ["a", "b", "c", "d"]
    asyncio.run(store.aclose())


async def test_a_locked_file_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another program keeps locked is waited for, and told when that takes too long."""
    monkeypatch.setattr(schema, "_BUSY_SECONDS", 0.05)
    await saved_once(path)
    async with SQLiteStore(path) as store:
        assert await texts(store) == ["1", "2"]
        with beside(path) as db:
            db.execute("BEGIN IMMEDIATE")
            with pytest.raises(ConfigurationError, match=r"conversations\.db stayed locked by another process"):
                await store.save("a", said("1"), version=1)
            assert await texts(store) == ["1", "2"]  # who writes keeps nobody from reading
        assert await store.save("a", said("1"), version=1) == 2


async def test_an_empty_file_is_made_a_store(path: Path) -> None:
    """A file of version 0, as a process leaves it that was killed on opening, is brought up to date."""
    path.parent.mkdir()
    path.touch()
    await saved_once(path)
    with beside(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_an_older_file_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version's migration is applied once to a file of today, and keeps what is in it."""
    await saved_once(path)
    later = (*schema.MIGRATIONS, ("ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",))
    monkeypatch.setattr(schema, "MIGRATIONS", later)
    for _ in range(2):
        async with SQLiteStore(path) as store:
            assert await texts(store) == ["1", "2"]
    with beside(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(later),)
        assert db.execute("SELECT pinned FROM conversations").fetchone() == (0,)


async def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration is done whole or not at all."""
    await saved_once(path)
    with monkeypatch.context() as patch, pytest.raises(ConfigurationError, match="no such table"):
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE new (a)", "DELETE FROM nowhere")))
        async with SQLiteStore(path) as store:
            await store.load("a")
    async with SQLiteStore(path) as store:
        assert await texts(store) == ["1", "2"]
    with beside(path) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'new'").fetchone() == (0,)


async def test_a_newer_file_is_left_alone(path: Path) -> None:
    """A file that a newer NeuroRoute made is not touched; the error says to update."""
    await saved_once(path)
    with beside(path) as db:
        db.execute("PRAGMA user_version = 99")
    async with SQLiteStore(path) as store:
        with pytest.raises(ConfigurationError, match=r"conversations\.db is of version 99.*pip install --upgrade"):
            await store.save("b", said("1"), version=0)
    with beside(path) as db:
        assert db.execute("SELECT id FROM conversations").fetchall() == [("a",)]


@pytest.mark.parametrize("version", [0, 1, 99])
async def test_another_programs_database_is_left_alone(path: Path, version: int) -> None:
    """A database of another program is refused, and not a byte of it is changed."""
    path.parent.mkdir()
    with beside(path) as db:
        db.execute("CREATE TABLE bookmarks (url)")
        db.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    async with SQLiteStore(path) as store:
        with pytest.raises(ConfigurationError, match=r"conversations\.db is a database of another program"):
            await store.save("a", said("1"), version=0)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database(path: Path) -> None:
    """A file of another kind is refused by its name, and left as it is."""
    path.parent.mkdir()
    path.write_text("Dear diary, " * 100)
    async with SQLiteStore(path) as store:
        with pytest.raises(ConfigurationError, match=r"conversations\.db is no SQLite database.*another path"):
            await store.list()
    assert path.read_text() == "Dear diary, " * 100


@pytest.mark.parametrize("wrong", ["folder", "file/conversations.db"])
async def test_a_path_that_can_be_no_file(tmp_path: Path, wrong: str) -> None:
    """A path that cannot be opened is named in the error."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    async with SQLiteStore(tmp_path / wrong) as store:
        with pytest.raises(ConfigurationError, match=r"the store .* cannot be used"):
            await store.list()


async def test_a_file_that_comes_to_be_usable(path: Path) -> None:
    """A store whose file could not be opened opens it at the next use."""
    path.mkdir(parents=True)
    async with SQLiteStore(path) as store:
        with pytest.raises(ConfigurationError):
            await store.list()
        path.rmdir()
        assert await store.list() == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            "UPDATE messages SET body = substr(body, 1, 9) WHERE position = 1",
            r"messages\[1\]: Input data was truncated",
        ),
        (
            'UPDATE messages SET body = \'{"role":"tool"}\' WHERE position = 0',
            r"messages\[0\]: .*`tool_call_id`",
        ),
        ("UPDATE messages SET body = 5", r"messages\[0\]"),
        ("UPDATE messages SET body = CAST(x'22ff22' AS TEXT)", "Could not decode to UTF-8"),
        ("DELETE FROM messages WHERE position = 0", "it has 1 messages, of 2"),
    ],
)
async def test_a_damaged_conversation_is_told(path: Path, damage: str, says: str) -> None:
    """A conversation that cannot be read whole is not loaded in part; the others are not touched by it."""
    async with SQLiteStore(path) as store:
        await store.save("a", said("s3cret", "s3cret"), version=0)
        with beside(path) as db:
            db.execute(damage)
        await store.save("b", said("1"), version=0)
        with pytest.raises(ConfigurationError, match=says) as caught:
            await store.load("a")
        assert str(path) in str(caught.value)
        assert "s3cret" not in str(caught.value)
        assert await texts(store, "b") == ["1"]
        assert len(await store.list()) == 2
        assert await store.delete("a")
