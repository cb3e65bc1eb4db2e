from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest

from neuroroute import ConfigurationError, ModelInvalidRequestError, SQLiteCache, SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path


async def kept(path: Path, key: str = "k") -> bytes | None:
    async with SQLiteCache(path) as cache:
        return await cache.get(key)


async def keep(path: Path, value: bytes = b"answer", key: str = "k") -> None:
    async with SQLiteCache(path) as cache:
        await cache.put(key, value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The file, what SQLite puts beside it and a folder made for it cannot be read by others."""
    path = tmp_path / "folder" / "answers.db"
    async with SQLiteCache(path) as cache:
        await cache.put("k", b"answer")
        files = [*path.parent.iterdir()]
        assert len(files) > 1
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_it_outlives_the_process(tmp_path: Path) -> None:
    """What one cache kept, another of the same file gives, at the same time too."""
    path = tmp_path / "answers.db"
    async with SQLiteCache(path) as one, SQLiteCache(path) as other:
        await one.put("k", b"answer")
        assert await other.get("k") == b"answer"
        await other.delete("k")
        assert await one.get("k") is None
        await one.put("k", b"another")
    assert await kept(path) == b"another"


@pytest.mark.parametrize("verb", ["clear", "delete"])
async def test_what_was_forgotten_is_gone_from_the_file(tmp_path: Path, verb: str) -> None:
    """After clear(), and of what delete() forgot, no byte of an answer is left on the disk."""
    path = tmp_path / "answers.db"
    await keep(path, b"a secret answer" * 1000)
    async with SQLiteCache(path) as cache:
        await (cache.clear() if verb == "clear" else cache.delete("k"))
    assert b"secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("what", ["cut", "scrambled", "no table"])
async def test_a_damaged_file_is_made_anew(tmp_path: Path, what: str) -> None:
    """A cache that is broken is a miss, and goes on with an empty file."""
    path = tmp_path / "answers.db"
    await keep(path, b"x" * 50_000)
    if what == "no table":
        with sqlite3.connect(path) as db:
            db.execute("DROP TABLE answers")
        db.close()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:6000] if what == "cut" else data[:100] + b"\xa5" * (len(data) - 100))
    assert await kept(path) is None
    await keep(path, b"again")
    assert await kept(path) == b"again"


async def test_damage_under_way_is_a_miss(tmp_path: Path) -> None:
    """A file that breaks while it is open is made anew at the next use."""
    path = tmp_path / "answers.db"
    async with SQLiteCache(path) as cache:
        await cache.put("k", b"answer")
        with sqlite3.connect(path) as db:
            db.execute("DROP TABLE answers")
        db.close()
        assert await cache.get("k") is None
        await cache.put("k", b"again")
        assert await cache.get("k") == b"again"


@pytest.mark.parametrize("theirs", ["a text", "a store", "a database"])
async def test_what_is_no_cache_is_left_as_it_is(tmp_path: Path, theirs: str) -> None:
    """A file that is something else is refused, and neither a byte of it nor its mode changes."""
    path = tmp_path / "theirs"
    if theirs == "a text":
        path.write_text("Dear diary, " * 100)
    elif theirs == "a store":
        async with SQLiteStore(path) as store:
            await store.save("id", [], version=0)
    else:
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE diary (text)")
        db.close()
    path.chmod(0o644)
    before, mode = path.read_bytes(), path.stat().st_mode
    async with SQLiteCache(path) as cache:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"is no cache of NeuroRoute's.*Give another path"):
                await cache.get("k")
    assert (path.read_bytes(), path.stat().st_mode) == (before, mode)


async def test_an_answer_of_tomorrow_is_a_miss(tmp_path: Path) -> None:
    """Where the clock was put back, nobody knows how old an answer is."""
    path = tmp_path / "answers.db"
    async with SQLiteCache(path, clock=lambda: 2000) as later, SQLiteCache(path, clock=lambda: 1000) as now:
        await later.put("k", b"answer")
        assert await now.get("k") is None


async def test_a_closed_cache_says_so(tmp_path: Path) -> None:
    """After aclose() every use is an error; closing twice is none."""
    cache = SQLiteCache(tmp_path / "answers.db")
    await cache.put("k", b"answer")
    await cache.aclose()
    await cache.aclose()
    with pytest.raises(RuntimeError, match="the cache is closed"):
        await cache.get("k")


async def test_many_at_once_keep_the_bounds(tmp_path: Path) -> None:
    """Two caches of one file that put at the same time keep no more than it may have."""
    path = tmp_path / "answers.db"
    async with SQLiteCache(path, max_entries=3) as one, SQLiteCache(path, max_entries=3) as other:
        await asyncio.gather(*(cache.put(f"{n}", b"x") for n in range(10) for cache in (one, other)))
        there = [await one.get(f"{n}") for n in range(10)]
    assert sum(value is not None for value in there) == 3


@pytest.mark.parametrize("wrong", ["", None, 5, ":memory:"])
@pytest.mark.parametrize("kind", [SQLiteCache, SQLiteStore])
def test_a_path_is_one(kind: type[SQLiteCache | SQLiteStore], wrong: Any) -> None:
    """What is no path is refused where it is given; for memory, what is meant for it is named."""
    match = kind.__name__.replace("SQLite", "Memory") if wrong == ":memory:" else "takes the path of a file"
    with pytest.raises(ModelInvalidRequestError, match=match):
        kind(wrong)


async def test_the_home_folder_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that begins with ~ leads into the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    async with SQLiteCache("~/answers.db") as cache:
        await cache.put("k", b"answer")
    assert (tmp_path / "answers.db").exists()
