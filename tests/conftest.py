"""What the tests of all rooms share, and the laws that bind them: loopback only, no unlisted skip under CI."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from neuroroute import LMStudioAdapter
from neuroroute.engine import EmbeddedEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from neuroroute import Event, Observer
    from neuroroute.simulator import Simulator
    from neuroroute.simulator.received import Received

settings.register_profile("fuzz", max_examples=20_000, deadline=None)  # pytest --hypothesis-profile=fuzz: make fuzz
settings.register_profile("mutate", max_examples=30, deadline=None, derandomize=True)  # ... and make mutate

_LOOPBACK = ("127.", "::1", "localhost")
_ALLOWED_SKIPS = frozenset(
    line.partition("#")[0].strip()
    for line in (Path(__file__).parent / "allowed_skips.txt").read_text(encoding="utf-8").splitlines()
)


def _only_loopback(event: str, args: tuple[Any, ...]) -> None:
    host = None
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    if isinstance(host, bytes):
        host = host.decode()
    if host and not host.startswith(_LOOPBACK) and not host.endswith(".invalid"):
        raise PermissionError(f"tests may only reach the loopback, not {host!r}")


sys.addaudithook(_only_loopback)


def pytest_configure(config: pytest.Config) -> None:
    """Side by side (pytest -n 2), each process has cores of its own: an engine that shares them spins in waiting."""
    worker, count = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) :: count] or cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side, all that needs a real model is in one process, which starts it once."""
    for item in items:
        if item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.xdist_group("engine"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    unlisted = _unlisted(terminalreporter)
    if unlisted:
        terminalreporter.section("skipped or xfailed, and not listed in tests/allowed_skips.txt")
        terminalreporter.line("\n".join(unlisted))


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and _unlisted(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unlisted(reporter: pytest.TerminalReporter) -> list[str]:
    reports = [*reporter.stats.get("skipped", ()), *reporter.stats.get("xfailed", ())]
    return [report.nodeid for report in reports if report.nodeid not in _ALLOWED_SKIPS]


def chats(lmstudio: Simulator) -> list[Received]:
    """What models were asked; the listings that were asked for on the way are left out."""
    return [received for received in lmstudio.requests if received.path == "/v1/chat/completions"]


def only(events: list[Event], *kinds: type[Event]) -> Observer:
    """An observer that keeps events of these kinds."""
    return lambda event: events.append(event) if isinstance(event, kinds) else None


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def adapter(lmstudio: Simulator, clock: FakeClock) -> AsyncIterator[LMStudioAdapter]:
    """An adapter for the simulator whose back-offs take no time."""
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock, random=Random(1)) as made:
        yield made


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
