from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from conftest import FakeClock
from neuroroute import ModelBusyError, NetworkError
from neuroroute.pipe import gate as gates
from neuroroute.pipe.gate import Gate


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def waiting(gate: Gate, *lows: bool) -> AsyncIterator[list[asyncio.Task[float]]]:
    """So many wait, and leave at the end."""
    tasks = [asyncio.create_task(gate.enter(low=low)) for low in lows]
    await settle()
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def held(gate: Gate, clock: FakeClock, *seconds: float) -> None:
    """A slot is taken and left after a while, one after the other."""
    for long in seconds:
        entered = await gate.enter()
        clock.now += long
        gate.leave(entered)


async def test_slots_are_given_at_once_while_there_are_some(clock: FakeClock) -> None:
    """So many as there are slots come in without a wait, and are told when that was; the next one waits."""
    gate = Gate(2, clock.monotonic)
    assert gate.is_idle
    clock.now = 7
    assert (await gate.enter(), await gate.enter(low=True, within=0)) == (7, 7)
    assert (gate.taken, gate.queue_length, gate.is_idle) == (2, 0, False)
    async with waiting(gate, False, True, True) as (normal, *low):
        assert (gate.taken, gate.queue_length) == (2, 3)
        assert repr(gate) == "<Gate 2 of 2 slots taken, 3 waiting>"
        clock.now = 9
        gate.leave(7)
        await settle()
        assert (normal.result(), gate.taken, gate.queue_length) == (9, 2, 2)
        assert not any(task.done() for task in low)
    gate.leave(7)
    gate.leave(9)
    assert gate.is_idle


async def test_low_priority_waits_for_the_others_but_not_for_ever(clock: FakeClock) -> None:
    """Those of low priority come after the others, but for every eighth slot; each kind in the order it came."""
    gate, order = Gate(1, clock.monotonic), list[str]()

    async def call(name: str, low: bool) -> None:
        entered = await gate.enter(low=low)
        order.append(name)
        await asyncio.sleep(0)
        gate.leave(entered)

    lows = [call(f"low{number}", True) for number in range(4)]
    await asyncio.gather(call("first", False), *lows, *(call(str(number), False) for number in range(16)))
    first, second, rest = map(str, range(7)), map(str, range(7, 14)), map(str, range(14, 16))
    assert order == ["first", *first, "low0", *second, "low1", *rest, "low2", "low3"]
    assert gate.is_idle


async def test_turns_of_the_low_are_counted_only_while_one_waits(clock: FakeClock) -> None:
    """Slots that were given while nobody of low priority waited bring the next one no sooner to his turn."""
    gate, order = Gate(1, clock.monotonic), list[str]()

    async def call(name: str, low: bool) -> None:
        await gate.enter(low=low)
        order.append(name)

    async def turns(count: int) -> None:
        for _ in range(count):
            gate.leave(0)
            await settle()

    await gate.enter()
    tasks = [asyncio.create_task(call("early", False)) for _ in range(9)]
    await settle()
    await turns(9)
    tasks += [asyncio.create_task(call("late", False)) for _ in range(8)]
    tasks += [asyncio.create_task(call("low", True))]
    await settle()
    await turns(9)
    assert order == ["early"] * 9 + ["late"] * 7 + ["low", "late"]
    await asyncio.gather(*tasks)


async def test_whoever_leaves_the_queue_is_passed_over(clock: FakeClock) -> None:
    """A turn that was cancelled, before or at the moment it was given, goes to the next."""
    gate = Gate(1, clock.monotonic)
    await gate.enter()
    async with waiting(gate, False, False, False, True) as (first, second, third, low):
        first.cancel()  # not yet noticed when the slot is left
        gate.leave(0)
        second.cancel()  # the slot is his already
        await settle()
        assert (third.done(), low.done(), gate.taken, gate.queue_length) == (True, False, 1, 1)
        low.cancel()
        await settle()
        assert gate.queue_length == 0
        gate.leave(0)
        assert gate.is_idle


async def test_a_wait_in_vain_is_refused(clock: FakeClock) -> None:
    """Where the expected wait is longer than the time that is left, the error comes at once and tells both."""
    gate = Gate(2, clock.monotonic)
    await held(gate, clock, 2, 2, 2, 2)
    await gate.enter()
    await gate.enter()
    async with waiting(gate, False, False, True):
        assert (gate.expected_wait(), gate.expected_wait(low=True)) == (3, 4)
        with pytest.raises(ModelBusyError) as caught:
            await gate.enter(within=2.999)
        assert caught.value.message == "3 requests wait for this model's 2 slots, for about 3000 ms; 2999 ms are left"
        assert caught.value.details == {"queue_length": 3, "expected_wait_ms": 3000}
        with pytest.raises(ModelBusyError, match="for about 4000 ms; 3500 ms are left"):
            await gate.enter(low=True, within=3.5)
        with pytest.raises(ModelBusyError, match="about 3000 ms; 0 ms are left"):
            await gate.enter(within=-0.5)
        assert gate.queue_length == 3
        just = asyncio.create_task(gate.enter(within=3))
        await settle()
        assert gate.queue_length == 4
        just.cancel()
        await asyncio.wait([just])


async def test_a_wait_is_foretold_from_four_holds_on(clock: FakeClock) -> None:
    """Nothing is refused for its wait while little is known; the mean follows what happened last."""
    gate = Gate(1, clock.monotonic)
    await held(gate, clock, 1, 2, 6)
    await gate.enter()
    assert gate.expected_wait() == 0
    async with waiting(gate, False):
        assert (gate.queue_length, gate.expected_wait()) == (1, 0)
        clock.now += 3
        gate.leave(clock.now - 3)  # it waits no more
        await settle()
        assert gate.expected_wait() == pytest.approx(3)  # (1 + 2 + 6 + 3) / 4
        gate.leave(clock.now - 8)
    await gate.enter()
    assert gate.expected_wait() == pytest.approx(4)
    gate.leave(clock.now - 14)
    assert gate.expected_wait() == 0  # there is a slot
    await gate.enter()
    assert gate.expected_wait() == pytest.approx(6)  # a fifth of the way from 4 to 14
    gate.leave(clock.now - 1)
    await gate.enter()
    assert gate.expected_wait() == pytest.approx(5)


async def test_no_time_left_is_no_wait(clock: FakeClock) -> None:
    """Once the deadline has passed nobody waits, whatever is known of the slots."""
    gate = Gate(1, clock.monotonic)
    await gate.enter()
    with pytest.raises(ModelBusyError, match="0 requests wait for this model's 1 slots, for about 0 ms; 0 ms are left"):
        await gate.enter(within=-0.001)
    async with waiting(gate, False):
        assert gate.queue_length == 1


async def test_the_queue_has_an_end(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many wait, low priority included, and no more."""
    assert gates.MAX_WAITING == 1000
    monkeypatch.setattr(gates, "MAX_WAITING", 3)
    gate = Gate(1, clock.monotonic)
    await gate.enter()
    async with waiting(gate, False, True, False):
        assert gate.queue_length == 3
        with pytest.raises(ModelBusyError) as caught:
            await gate.enter(within=math.inf)
        assert caught.value.message == "3 requests wait for this model already"
        assert caught.value.details == {"queue_length": 3, "expected_wait_ms": 0}


async def test_more_slots_let_in_at_once_and_fewer_as_they_are_left(clock: FakeClock) -> None:
    """Resized up, those at the head of the queue come in; resized down, nobody does until enough have left."""
    gate = Gate(1, clock.monotonic)
    await gate.enter()
    async with waiting(gate, *[False] * 5) as tasks:

        async def inside() -> int:
            await settle()
            return sum(task.done() for task in tasks)

        gate.resize(3)
        assert (await inside(), gate.taken) == (2, 3)
        gate.resize(1)
        gate.leave(0)
        gate.leave(0)
        assert (await inside(), gate.taken) == (2, 1)
        gate.leave(0)
        assert (await inside(), gate.taken) == (3, 1)
        gate.resize(9)
        assert (await inside(), gate.taken, gate.slots) == (5, 3, 9)
        assert await gate.enter() == 0
        assert gate.taken == 4


async def test_sending_away_fails_all_who_wait(clock: FakeClock) -> None:
    """Each of the queue gets an error of its own; who is inside stays, and who comes after waits anew."""
    gate = Gate(1, clock.monotonic)
    await gate.enter()
    gate.send_away(lambda: NetworkError("nobody is there"))
    async with waiting(gate, False, True, False, False) as tasks:
        tasks[2].cancel()
        gate.send_away(lambda: NetworkError("down"))
        tasks[3].cancel()  # at the same moment: a cancellation stays one
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ends] == [
            NetworkError,
            NetworkError,
            asyncio.CancelledError,
            asyncio.CancelledError,
        ]
        assert ends[0] is not ends[1]
        assert (gate.taken, gate.queue_length) == (1, 0)
    async with waiting(gate, False) as (after,):
        assert gate.queue_length == 1
        gate.leave(0)
        await settle()
        assert after.result() == 0


class GateMachine(RuleBasedStateMachine):
    """Tasks enter, leave and are cancelled, slots come and go, the queue is sent away; in any order, at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.gate = Gate(3, lambda: 0.0)
        self.tasks: list[asyncio.Task[None]] = []
        self.inside: list[int] = []
        self.order: list[int] = []
        self.low: set[int] = set()
        self.over = 0
        """How many were inside when there came to be fewer slots."""

    def teardown(self) -> None:
        """Once all have gone, all slots are free, and nobody is in the queue."""
        for task in self.tasks:
            task.cancel()
        self.settle()
        while self.inside:
            self.leave()
        assert self.gate.is_idle
        assert self.gate.taken == 0
        assert all(task.cancelled() or isinstance(task.exception(), NetworkError | None) for task in self.tasks)
        self.loop.close()

    def settle(self) -> None:
        self.loop.run_until_complete(settle())

    async def enter(self, number: int, low: bool) -> None:
        await self.gate.enter(low=low)
        self.inside.append(number)
        self.order.append(number)

    @rule(low=st.booleans(), many=st.integers(1, 9))
    def come(self, low: bool, many: int) -> None:
        for _ in range(many):
            number = len(self.tasks)
            self.low |= {number} if low else set()
            self.tasks.append(self.loop.create_task(self.enter(number, low)))

    @precondition(lambda self: self.inside)
    @rule()
    def leave(self) -> None:
        self.inside.pop(0)
        self.gate.leave(0.0)

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 1000))
    def cancel(self, which: int) -> None:
        self.tasks[which % len(self.tasks)].cancel()

    @rule(slots=st.integers(1, 5))
    def resize(self, slots: int) -> None:
        self.settle()
        self.over = len(self.inside)
        self.gate.resize(slots)

    @rule(at_rest=st.booleans())
    def send_away(self, at_rest: bool) -> None:
        """All who wait fail, and nobody else."""
        if at_rest:
            self.settle()
        waited, inside = self.waiting(), list(self.inside)
        self.gate.send_away(lambda: NetworkError("down"))
        assert self.gate.queue_length == 0
        if at_rest:
            self.settle()
            assert all(isinstance(self.tasks[number].exception(), NetworkError) for number in waited)
            assert (self.waiting(), self.inside) == ([], inside)

    def waiting(self) -> list[int]:
        return [number for number, task in enumerate(self.tasks) if not task.done()]

    @invariant()
    def never_too_many(self) -> None:
        self.over = min(self.over, len(self.inside))
        assert len(self.inside) <= max(self.gate.slots, self.over)

    @rule()
    def settled(self) -> None:
        """Once everybody had their turn, nobody waits while a slot is free, or behind a later one of its kind."""
        self.settle()
        waiting = self.waiting()
        for kind in (self.low, {*range(len(self.tasks))} - self.low):
            entered, queued = [one for one in self.order if one in kind], [one for one in waiting if one in kind]
            assert not queued or not entered or min(queued) > max(entered)
        assert not waiting or len(self.inside) >= self.gate.slots
        assert self.gate.taken == len(self.inside)
        assert repr(self.gate) == (
            f"<Gate {len(self.inside)} of {self.gate.slots} slots taken, {len(waiting)} waiting>"
        )
        if queued_low := [number for number in waiting if number in self.low]:
            passed = [number for number in self.order[self.last_low() :] if number > queued_low[0]]
            assert len(passed) <= 7

    def last_low(self) -> int:
        """Where in the order the last of low priority stands."""
        return max((place for place, number in enumerate(self.order) if number in self.low), default=-1) + 1


GateMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestGate = GateMachine.TestCase
