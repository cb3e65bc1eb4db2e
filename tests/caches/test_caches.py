"""What every cache promises, tested on all of them."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from neuroroute import MemoryCache, ModelInvalidRequestError, SQLiteCache

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = st.sampled_from("abcde")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def memory(folder: Path, **bounds: Any) -> MemoryCache:
    return MemoryCache(**bounds)


def sqlite(folder: Path, **bounds: Any) -> SQLiteCache:
    return SQLiteCache(folder / "answers.db", **bounds)


CACHES: list[Callable[..., MemoryCache | SQLiteCache]] = [memory, sqlite]


class Bounded(RuleBasedStateMachine):
    """A cache beside a plain list of what it must have: the last used at its end."""

    make: Callable[..., MemoryCache | SQLiteCache] = staticmethod(memory)

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()

    @initialize(ttl=st.sampled_from([None, 10.0]), entries=st.integers(1, 5), size=st.integers(5, 25))
    def begin(self, ttl: float | None, entries: int, size: int) -> None:
        self.ttl, self.most, self.size = ttl, entries, size
        bounds = {"ttl_seconds": ttl, "max_entries": entries, "max_bytes": size, "clock": self.clock}
        self.cache = self.make(Path(self.folder.name), **bounds)
        self.model: dict[str, tuple[float, bytes]] = {}

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(key=KEYS, value=st.binary(max_size=12))
    def put(self, key: str, value: bytes) -> None:
        self.run(self.cache.put(key, value))
        self.model.pop(key, None)
        if len(value) <= self.size:
            self.model[key] = (self.clock.now, value)
        while len(self.model) > self.most or sum(len(kept) for _, kept in self.model.values()) > self.size:
            self.model.pop(next(iter(self.model)))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        at, value = self.model.get(key, (0.0, None))
        if value is not None and self.ttl is not None and self.clock.now - at >= self.ttl:
            del self.model[key]
            value = None
        elif value is not None:
            self.model[key] = self.model.pop(key)
        assert self.run(self.cache.get(key)) == value

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.run(self.cache.delete(key))
        self.model.pop(key, None)

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def clear(self) -> None:
        self.run(self.cache.clear())
        self.model.clear()

    @invariant()
    def bounded(self) -> None:
        if isinstance(getattr(self, "cache", None), MemoryCache):
            assert len(self.cache) == len(self.model)
            assert f"{sum(len(kept) for _, kept in self.model.values())} bytes;" in repr(self.cache)

    def teardown(self) -> None:
        if isinstance(getattr(self, "cache", None), SQLiteCache):
            self.run(self.cache.aclose())
        self.loop.close()
        self.folder.cleanup()


class BoundedFile(Bounded):
    make = staticmethod(sqlite)


TestMemory = Bounded.TestCase
TestMemory.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestSQLite = BoundedFile.TestCase
TestSQLite.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("make", CACHES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ttl_seconds", value) for value in (0, -1, "60", True, float("nan"))),
        *(("max_entries", value) for value in (0, 1.5, None, True)),
        *(("max_bytes", value) for value in (0, "1")),
    ],
)
def test_wrong_bounds_are_named(tmp_path: Path, make: Any, name: str, value: Any) -> None:
    """A bound that is none is refused where the cache is made, by its name."""
    with pytest.raises(ModelInvalidRequestError, match=f"{name} is"):
        make(tmp_path, **{name: value})


@pytest.mark.parametrize("make", CACHES)
async def test_its_repr_tells_none_of_it(tmp_path: Path, make: Any) -> None:
    """What a cache shows of itself is its bounds, never a key or an answer."""
    cache = make(tmp_path)
    await cache.put("the key", b"the answer")
    shown = repr(cache)
    if isinstance(cache, SQLiteCache):
        await cache.aclose()
    assert "the key" not in shown
    assert "the answer" not in shown
    assert "answers of the last 86400 s" in shown


@pytest.mark.parametrize("make", CACHES)
async def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, make: Any) -> None:
    """An answer that was given again stays longer than one that was not."""
    cache = make(tmp_path, max_entries=2)
    for key in "ab":
        await cache.put(key, b"answer")
    await cache.get("a")
    await cache.put("c", b"answer")
    there = [await cache.get(key) for key in "abc"]
    if isinstance(cache, SQLiteCache):
        await cache.aclose()
    assert there == [b"answer", None, b"answer"]
