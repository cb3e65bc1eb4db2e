"""The measuring against a simulator with known pacing, in a time that jumps: what is measured is what was set."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from neuroroute.bench import Benchmark, Plan, Report, find_targets
from neuroroute.bench.asking import Means
from neuroroute.errors import LMStudioError, ModelContextLengthError, ModelInvalidRequestError, ModelNotFoundError
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator, StreamFault
from virtualtime import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

PLAN = Plan(rounds=2, prompt_tokens=100, max_tokens=40, concurrency=(1, 2, 4), tools=False)


def in_no_time(run: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


def means() -> Means:
    return Means(clock=asyncio.get_running_loop().time, processor=lambda: 0.0, random=Random(1))


def paced(key: str = "m", **more: Any) -> SimulatedModel:
    pace = {"prefill_tokens_per_second": 200, "tokens_per_second": 50, "parallel": 2}
    return SimulatedModel(key, **{"loaded": True, **pace, **more})


def says_forty(_: object) -> Answer:
    return Answer("tok " * 40)


@asynccontextmanager
async def simulated(*models: SimulatedModel) -> AsyncIterator[Simulator]:
    async with Simulator(models=list(models)) as simulator:
        simulator.script(says_forty)
        yield simulator


async def measured(hosts: str, models: list[str], plan: Plan = PLAN) -> Report:
    async with find_targets(hosts, models, plan) as found:
        return await Benchmark(found.targets, plan, means=means()).measure()


def test_what_is_measured_is_the_pace_that_was_set() -> None:
    """Time to first token, speeds and throughput agree with the pacing of the server within 2 %, queue included."""

    async def run() -> Report:
        async with simulated(paced()) as simulator:
            return await measured(simulator.url, ["m"])

    (model,) = in_no_time(run).models
    assert (model.ttft_ms.count, model.sent, model.failed) == (4, 2 * (2 + 2 + 4), 0)
    print(msgspec.json.format(msgspec.json.encode(model)).decode())
