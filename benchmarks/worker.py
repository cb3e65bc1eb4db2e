"""Measures one contender, in a process of its own: one JSON command a line in, one JSON answer a line out.

    {"scenario": "c1", "calls": 1000}    CPU (user + system, the whole process) and wall time per call or chunk
    {"cancel": 60}                       see cancelling.py; its own scenario, for it leaves the pool as it finds it

Started as ``worker.py NAME BASE_URL CPU`` (CPU: the core to stay on, or ``-``).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from time import perf_counter, process_time
from typing import Any

from cancelling import cancelled_at_random
from contenders import make
from workload import SCENARIOS, SMALL, Contender, Scenario, check_answer, check_calls, check_stream, history

LONGEST_SECONDS = 120
"""A measurement that takes longer has hung."""


class Measurer:
    """One client, and what it is measured with."""

    def __init__(self, client: Contender, base: str) -> None:
        self._client = client
        self._base = base
        self._messages = {False: SMALL, True: history()}

    async def measure(self, scenario: Scenario, calls: int) -> dict[str, float]:
        """CPU and wall time, in microseconds per unit."""
        messages = self._messages[scenario.long_history]
        left = calls

        async def chats() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                check_answer(*await self._client.chat(messages, scenario.model))

        async def streams() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                check_stream(*await self._client.stream(messages, scenario.model), scenario.chunks)

        async def tools() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                check_calls(await self._client.tools(messages, scenario.model), scenario.fragments)

        work = streams if scenario.chunks else tools if scenario.fragments else chats
        gc.collect()
        wall, cpu = perf_counter(), process_time()
        async with asyncio.timeout(LONGEST_SECONDS):
            if scenario.at_once == 1:
                await work()
            else:
                await asyncio.gather(*(work() for _ in range(scenario.at_once)))
        cpu, wall = process_time() - cpu, perf_counter() - wall
        units = calls * (scenario.chunks or 1)
        return {"calls": calls, "cpu_us": cpu / units * 1e6, "wall_us": wall / units * 1e6, "wall_s": wall}

    async def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer to a command; a failure is an answer too."""
        try:
            if "cancel" in command:
                return await cancelled_at_random(self._client, self._base, command["cancel"])
            return await self.measure(SCENARIOS[command["scenario"]], command["calls"])
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"[:300]}


def main() -> None:
    name, base, cpu = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing that a client prints may get among the answers
    if cpu != "-":
        os.sched_setaffinity(0, {int(cpu)})
    client = make(name)
    with asyncio.Runner() as runner:  # one loop for the whole life
        runner.run(client.open(base))
        measurer = Measurer(client, base)
        print("{}", file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(runner.run(measurer.obey(json.loads(line)))), file=answers, flush=True)
        runner.run(client.close())


if __name__ == "__main__":
    main()
