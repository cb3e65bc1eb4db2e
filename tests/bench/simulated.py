"""Simulators with known pacing, measured in a time that jumps."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from neuroroute.bench import Benchmark, Plan, Report, find_targets
from neuroroute.bench.asking import Means
from neuroroute.simulator import Answer, SimulatedModel, Simulator
from virtualtime import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from neuroroute.simulator.received import Received

PLAN = Plan(rounds=2, prompt_tokens=100, max_tokens=40, concurrency=(1, 2, 4), tools=False)


def in_no_time(run: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


def means() -> Means:
    return Means(clock=asyncio.get_running_loop().time, processor=lambda: 0.0, random=Random(1))


def paced(key: str = "m", **more: Any) -> SimulatedModel:
    """A word of a prompt takes 5 ms, a token of an answer 20 ms; two requests are answered at once."""
    pace = {"prefill_tokens_per_second": 200, "tokens_per_second": 50, "parallel": 2}
    return SimulatedModel(key, **{"loaded": True, **pace, **more})


def simulator(*models: SimulatedModel) -> Simulator:
    """It answers with as many tokens as may come."""
    made = Simulator(models=list(models))
    made.script(as_much_as_may_come)
    return made


def as_much_as_may_come(received: Received) -> Answer:
    return Answer(" ".join(["tok"] * received.json["max_tokens"]))


async def measured(hosts: Any, models: Sequence[str], plan: Plan = PLAN) -> Report:
    async with find_targets(hosts, models, plan) as found:
        return await Benchmark(found.targets, plan, means=means()).measure()
