"""Eight simulated LM Studios as one: other models, other speeds, and faults, under load."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from neuroroute import Event, FailedOver, LMStudioAdapter, ModelResponse
from neuroroute.simulator import Fail, SimulatedModel, Simulator

SECONDS = (0.1, 0.1, 0.1, 0.15, 0.15, 0.15, 0.3, 0.3)
"""How long each of them takes to answer; it answers four at once."""

CALLERS = 72


async def answer(seconds: float, _: object) -> str:
    await asyncio.sleep(seconds)
    return "yes"


@pytest.fixture
async def eight() -> AsyncIterator[list[Simulator]]:
    """All have ``llama3``; the last two ``qwen3-8b`` loaded, the others not at all."""
    async with AsyncExitStack() as stack:
        simulators: list[Simulator] = []
        for number, seconds in enumerate(SECONDS):
            models = [SimulatedModel("llama3", loaded=True)]
            if number >= 6:
                models.append(SimulatedModel("qwen3-8b", loaded=True))
            simulator = Simulator(models=models)
            simulator.script(partial(answer, seconds))
            simulators.append(await stack.enter_async_context(simulator))
        yield simulators


def shares(responses: list[ModelResponse], simulators: list[Simulator]) -> list[float]:
    """Which part of the answers each host gave."""
    answered = Counter(response.host for response in responses)
    return [answered[f"127.0.0.1:{simulator.port}"] / len(responses) for simulator in simulators]


async def call(adapter: LMStudioAdapter, caller: int, times: int, responses: list[ModelResponse]) -> None:
    """One caller, who asks again once it has its answer."""
    for number in range(times):
        responses.append(await adapter.generate_completion(f"{caller}, {number}", max_retries=1))


async def test_shares_follow_speed(eight: list[Simulator]) -> None:
    """Under load each host answers as many as its speed allows; a model that two have is asked of these two."""
    responses: list[ModelResponse] = []
    others: list[ModelResponse] = []
    async with LMStudioAdapter("llama3", base_url=[simulator.url for simulator in eight]) as adapter:
        await asyncio.gather(*(call(adapter, caller, 6, responses) for caller in range(CALLERS)))
        await asyncio.gather(*(call(adapter.with_model("qwen3-8b"), caller, 2, others) for caller in range(16)))
    speeds, gave = [1 / seconds for seconds in SECONDS], shares(responses, eight)
    for alike in (slice(0, 3), slice(3, 6), slice(6, 8)):
        assert sum(gave[alike]) == pytest.approx(sum(speeds[alike]) / sum(speeds), rel=0.4)
    by = shares(others, eight)
    assert (sum(by[:6]), min(by[6:]) > 0.3) == (0, True)


async def test_no_request_fails_while_a_healthy_host_has_the_model(eight: list[Simulator]) -> None:
    """Four of eight are spoilt under load: all answers come, from the rest by speed; a dead one costs a caller once."""
    costs: Counter[tuple[asyncio.Task[object] | None, str]] = Counter()
    responses: list[ModelResponse] = []
    killed, crashing, refusing, limited = eight[1], eight[2], eight[5], eight[7]

    def observe(event: Event) -> None:
        if isinstance(event, FailedOver):
            costs[asyncio.current_task(), event.host] += 1

    async def spoil() -> None:
        await asyncio.sleep(0.15)
        await killed.__aexit__(None, None, None)
        crashing.fail("crash_null", times=1000)
        refusing.api_token = "sk-lm-other:token"
        limited.fail(Fail(429, {"error": "Too many requests"}), path="/v1/chat/completions", times=1000)

    urls = [simulator.url for simulator in eight]
    async with LMStudioAdapter("llama3", base_url=urls, observers=[observe]) as adapter:
        await asyncio.gather(spoil(), *(call(adapter, caller, 4, responses) for caller in range(CALLERS)))
        assert adapter.hosts[1].state == "down"
    assert len(responses) == 4 * CALLERS
    of_killed = [count for (_, host), count in costs.items() if host == f"127.0.0.1:{killed.port}"]
    assert of_killed
    assert set(of_killed) == {1}
    left = {0: 0.1, 3: 0.15, 4: 0.15, 6: 0.3}
    late, speed = shares(responses[-CALLERS * 2 :], eight), sum(1 / seconds for seconds in left.values())
    for number, seconds in left.items():
        assert late[number] == pytest.approx(1 / seconds / speed, rel=0.6)
    assert sum(late[number] for number in left) > 0.9
