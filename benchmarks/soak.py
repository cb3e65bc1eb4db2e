"""Many callers, failures and cancellations for a while, on real sockets: ``make soak``.

A server that fails in half of its answers, and a network between that changes every second. Every call must end in an
answer or a typed error within its deadline, and nothing may be left: memory, sockets and tasks are where they were.
Exits with 1 when something is not.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from neuroroute import BreakerPolicy, CircuitOpenError, LMStudioAdapter, LMStudioError, RetryPolicy
from neuroroute.simulator import (
    CATALOGUE,
    Answer,
    Bandwidth,
    Blackhole,
    ChaosProxy,
    Cut,
    Fail,
    Freeze,
    Latency,
    Received,
    Refuse,
    Reset,
    SimulatedModel,
    Simulator,
    Slicer,
    SlowClose,
    StreamFault,
    WholeFault,
)

CALLERS = 32
CANCELLED_SHARE = 0.1
TIMEOUT_MS = 1500
GRACE_SECONDS = 1.0
"""How much later than its deadline a call may end on a busy machine."""
MEMORY_GROWTH = 1.10
KEPT_REQUESTS = 500
WEATHERS = (
    (),
    (),
    (Latency(20, jitter_ms=20),),
    (Slicer(3),),
    (Bandwidth(20_000),),
    (Reset(200, rate=0.3),),
    (Cut(300, rate=0.3), Slicer(50)),
    (Freeze(100, rate=0.2),),
    (SlowClose(100),),
    (Blackhole(rate=0.1), Latency(5)),
    (Refuse(),),
)
"""What the network is like for a second."""
LONG_SECONDS = 30
"""From this length on memory is judged: a short run is still filling its pools."""


class Soak:
    """One run, and what it found."""

    def __init__(self, server: Simulator, network: ChaosProxy, seconds: float, calls: int, seed: int) -> None:
        self._server = server
        self._network = network
        self._chance = Random(seed)
        self._seconds = seconds
        self._calls = calls
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0

    def answer(self, _: Received) -> Answer | Fail:
        """What the server does this time: half of all answers are well."""
        if len(self._server.requests) > KEPT_REQUESTS:  # kept for tests to look at; here they would be the leak
            self._server.requests.clear()
        texts = Answer("word " * self._chance.randint(1, 60))
        return self._chance.choice(
            [
                *[texts] * 8,
                Answer("a b c d", stream_fault=StreamFault(self._chance.choice(["cut", "reset", "end"]), after=2)),
                Answer("a b c d", whole_fault=WholeFault(self._chance.choice(["cut", "reset", "end"]), after=30)),
                Answer("late", delay=0.2),
                Answer("a b", stream_fault=StreamFault("error", after=1)),
                Fail(silent=self._chance.choice(["hang", "close"])),
                Fail(503, b"<html>"),
                self._failure(),
            ]
        )

    def _failure(self) -> Fail:
        case = self._chance.choice([case for case in CATALOGUE if case.endpoint == "chat"])
        return Fail(case.status, case.body)

    async def run(self) -> None:
        """All callers, until there were enough calls and enough time has passed."""
        until = time.monotonic() + self._seconds
        async with LMStudioAdapter(
            "llama3",
            base_url=self._network.url,
            timeout_ms=TIMEOUT_MS,
            total_timeout_ms=TIMEOUT_MS,
            idle_timeout_ms=500,
            initial_backoff=5,
            retry=RetryPolicy(budget=2000),
            breaker=BreakerPolicy(open_for=100, max_open_for=400, minimum_calls=20, failure_ratio=0.8),
        ) as adapter:

            async def caller() -> None:
                while time.monotonic() < until or self.ends.total() < self._calls:
                    await self._call(adapter)

            weather = asyncio.create_task(self._weather())
            try:
                await asyncio.gather(*(caller() for _ in range(CALLERS)))
            finally:
                weather.cancel()

    async def _weather(self) -> None:
        """Switches the faults of the network, every second, or more often where that is soon over."""
        while True:
            self._network.set(*self._chance.choice(WEATHERS))
            await asyncio.sleep(min(1.0, self._seconds / 20))

    async def _call(self, adapter: LMStudioAdapter) -> None:
        streaming = self._chance.random() < 0.5
        options: dict[str, Any] = self._chance.choice(
            [{}, {}, {"hedge_after_ms": 100}, {"priority": "low"}, {"continue_stream": True}]
        )
        made = adapter.stream("hi", **options).whole() if streaming else adapter.generate_completion("hi", **options)
        task = asyncio.ensure_future(made)
        began = time.monotonic()
        if self._chance.random() < CANCELLED_SHARE:
            await asyncio.sleep(self._chance.uniform(0, 0.05))
            task.cancel()
        try:
            await task
            self.ends["answer"] += 1
        except CircuitOpenError:
            self.ends["circuit open"] += 1
            await asyncio.sleep(0.05)  # else nothing but refusals would be counted
        except LMStudioError as error:
            self.ends[error.code] += 1
        except asyncio.CancelledError:
            self.ends["cancelled"] += 1
        except BaseException as error:
            self.wrong.append(f"a call ended in {type(error).__name__}: {error}")
        took = time.monotonic() - began
        self.slowest = max(self.slowest, took)
        if took > TIMEOUT_MS / 1000 + GRACE_SECONDS:
            self.wrong.append(f"a call took {took:.1f} s")


def resident_mib() -> float:
    """Memory of this process, the simulated server included; 0 where the system does not tell.

    What the allocator holds free is given back before, so that fragments are not taken for a leak.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    return int(next(line for line in status.read_text().splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def sockets() -> int:
    """Open files of this process; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(os.listdir(folder)) if folder.exists() else 0  # noqa: PTH208


async def soak(seconds: float, calls: int, seed: int = 1) -> dict[str, Any]:
    """Runs it; a short run before it, uncounted, brings memory to where it stays."""
    async with (
        Simulator(models=[SimulatedModel("llama3", loaded=True, parallel=8)]) as server,
        ChaosProxy(server.url, seed=seed) as network,
    ):
        for length, count in ((min(seconds / 4, 15), 500), (seconds, calls)):
            server.requests.clear()
            before = (resident_mib(), sockets(), threading.active_count())
            run = Soak(server, network, length, count, seed)
            server.script(run.answer)
            await run.run()
            network.set()
            await asyncio.sleep(0.5)
    after = (resident_mib(), sockets(), threading.active_count())
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    wrong = run.wrong
    if seconds >= LONG_SECONDS and after[0] > before[0] * MEMORY_GROWTH:
        wrong.append(f"memory grew from {before[0]:.0f} to {after[0]:.0f} MiB")
    if after[1] > before[1]:
        wrong.append(f"open files grew from {before[1]} to {after[1]}")
    if left:
        wrong.append(f"{len(left)} tasks were left")
    return {
        "calls": run.ends.total(),
        "ends": dict(run.ends.most_common()),
        "slowest_s": round(run.slowest, 2),
        "connections": network.connections,
        "memory_mib": [round(before[0]), round(after[0])],
        "open_files": [before[1], after[1]],
        "wrong": wrong,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = asyncio.run(soak(options.seconds, options.calls, options.seed))
    for name, value in found.items():
        print(f"{name}: {value}")
    sys.exit(1 if found["wrong"] else 0)


if __name__ == "__main__":
    main()
