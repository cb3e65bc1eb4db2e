"""What the tests of all rooms share."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from neuroroute.engine import EmbeddedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engine() -> Iterator[EmbeddedEngine]:
    """A real model in a real llama.cpp, on a loop of its own, so that a test on any loop can ask it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    engine = EmbeddedEngine(parallel=1)
    try:
        asyncio.run_coroutine_threadsafe(engine.start(), loop).result()
        yield engine
    finally:
        asyncio.run_coroutine_threadsafe(engine.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
