"""The clients that are measured, one module each with a class ``Client``; which of them can run is found out here."""

from __future__ import annotations

import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from workload import Contender

_REPOSITORY = Path(__file__).parents[2]


class Entry(NamedTuple):
    """A row of the table."""

    title: str
    module: str
    package: str | None
    """The distribution that it needs."""

    def missing(self) -> str | None:
        """What it lacks to be run here."""
        if self.module in ("reference", "prototype") and not (peers() / "clients" / "raw_streams.py").exists():
            return "the wider comparison is not here (NEUROROUTE_PEERS)"
        if self.package is not None:
            try:
                version(self.package)
            except PackageNotFoundError:
                return f"{self.package} is not installed"
        return None

    def label(self) -> str:
        """Title and version."""
        named = self.package in ("aiohttp", "openai")
        return f"{self.title} {version(self.package)}" if named and self.package else self.title


ENTRIES = {
    "floor": Entry("the floor: asyncio streams + orjson", "floor", "orjson"),
    "reference": Entry("the floor of the wider comparison", "reference", "orjson"),
    "aiohttp": Entry("bare aiohttp + json", "bare_aiohttp", "aiohttp"),
    "openai": Entry("openai AsyncOpenAI", "openai_sdk", "openai"),
    "prototype": Entry("the prototype of the wider comparison: aiohttp + msgspec", "prototype", "aiohttp"),
    "ours": Entry("**neuroroute, whole pipe on**", "ours", "neuroroute"),
}


def peers() -> Path:
    """Where the wider comparison is, if it is on this machine."""
    return Path(os.environ.get("NEUROROUTE_PEERS") or _REPOSITORY.parent / "shared" / "bench" / "peers")


def make(name: str) -> Contender:
    """A client, its module imported."""
    client: Contender = importlib.import_module(f"contenders.{ENTRIES[name].module}").Client()
    return client
