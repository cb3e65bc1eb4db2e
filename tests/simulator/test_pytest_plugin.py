"""The fixtures."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from neuroroute.simulator import ChaosProxy, Simulator

BODY: dict[str, Any] = {"model": "llama3", "messages": [{"role": "user", "content": "hi"}]}


def test_it_serves_a_test_without_asyncio(lmstudio: Simulator) -> None:
    """The fixture needs no event loop in the test."""
    lmstudio.answer("Hello there")
    request = urllib.request.Request(f"{lmstudio.url}/chat/completions", json.dumps(BODY).encode())
    with urllib.request.urlopen(request) as response:
        said = json.load(response)
    assert said["choices"][0]["message"]["content"] == "Hello there"
    assert lmstudio.requests[-1].json == BODY


async def test_it_serves_an_asynchronous_test(lmstudio: Simulator) -> None:
    """The same fixture serves an async test, from its own thread."""
    lmstudio.answer("Hello there")
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{lmstudio.url}/chat/completions", json=BODY) as response,
    ):
        assert (await response.json())["choices"][0]["message"]["content"] == "Hello there"
    await lmstudio.requests[-1].wait_ended()
    assert not lmstudio.requests[-1].closed_early


def test_the_plugin_loads_lightly() -> None:
    """A test run that never asks for the fixture does not pay for aiohttp."""
    code = "import sys, neuroroute.simulator.pytest_plugin; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_chaos_proxy_stands_in_front_of_the_simulator(lmstudio: Simulator, lmstudio_chaos: ChaosProxy) -> None:
    """``lmstudio_chaos`` leads to ``lmstudio``, and does nothing until it is told to."""
    with urllib.request.urlopen(f"{lmstudio_chaos.url}/models") as response:
        assert response.status == 200
    assert (len(lmstudio.requests), lmstudio_chaos.faults) == (1, ())
