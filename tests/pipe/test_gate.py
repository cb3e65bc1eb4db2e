from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from neuroroute.pipe.gate import Gate


class GateMachine(RuleBasedStateMachine):
    """Tasks enter, leave and are cancelled in any order, at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.gate = Gate(3, lambda: 0.0)
        self.outside: list[asyncio.Task[None]] = []
        self.inside: list[int] = []
        self.order: list[int] = []
        self.count = 0

    def teardown(self) -> None:
        for task in self.outside:
            task.cancel()
        self.settle()
        self.loop.close()

    def settle(self) -> None:
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))

    async def enter(self, number: int) -> None:
        await self.gate.enter()
        self.inside.append(number)
        self.order.append(number)

    @rule()
    def come(self) -> None:
        self.outside.append(self.loop.create_task(self.enter(self.count)))
        self.count += 1

    @precondition(lambda self: self.inside)
    @rule()
    def leave(self) -> None:
        self.inside.pop(0)
        self.gate.leave(0.0)

    @precondition(lambda self: self.outside)
    @rule(which=st.integers(0, 1000))
    def cancel(self, which: int) -> None:
        self.outside[which % len(self.outside)].cancel()

    @invariant()
    def never_too_many(self) -> None:
        assert len(self.inside) <= 3

    @rule()
    def settled(self) -> None:
        """Once everybody had their turn, nobody waits while a slot is free, or behind somebody who came later."""
        self.settle()
        waiting = [number for number, task in enumerate(self.outside) if not task.done()]
        assert not waiting or min(waiting) > max(self.order)
        assert not waiting or len(self.inside) == 3
        assert repr(self.gate) == f"<Gate {len(self.inside)} of 3 slots taken, {len(waiting)} waiting>"


GateMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestGate = GateMachine.TestCase
