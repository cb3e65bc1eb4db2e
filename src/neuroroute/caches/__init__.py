"""Where answers are kept that are given again: in memory, or in a SQLite file."""

from neuroroute.caches.memory import MemoryCache
from neuroroute.caches.sqlite import SQLiteCache

__all__ = ["MemoryCache", "SQLiteCache"]
