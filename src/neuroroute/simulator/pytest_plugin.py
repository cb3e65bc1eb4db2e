"""The pytest plugin: the fixtures ``lmstudio`` and ``lmstudio_chaos``, for tests with and without asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuroroute.simulator.chaos import ChaosProxy
    from neuroroute.simulator.server import Simulator


@pytest.fixture
def lmstudio() -> Iterator[Simulator]:
    """A simulated LM Studio on a free port of the loopback, in a thread of its own, new for every test."""
    # aiohttp is loaded here, so that test runs which never ask for the fixture do not pay for it.
    from neuroroute.simulator.server import Simulator

    with Simulator() as running:
        yield running


@pytest.fixture
def lmstudio_chaos(lmstudio: Simulator) -> Iterator[ChaosProxy]:
    """A chaos proxy in front of ``lmstudio``, without faults until the test sets some."""
    from neuroroute.simulator.chaos import ChaosProxy

    with ChaosProxy(lmstudio.url, seed=0) as running:
        yield running
