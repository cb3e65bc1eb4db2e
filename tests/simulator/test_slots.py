"""How many are answered at once, and how the others wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator, Unknowns
from neuroroute.simulator.answers import Refused
from neuroroute.simulator.slots import Slots
from neuroroute.simulator.wordings import MODEL_UNLOADED, UNLOADED_IN_QUEUE

NEVER = Fail(400)


async def test_beyond_its_slots_an_instance_lets_wait_in_order(client: Any) -> None:
    """So many requests are answered at once as the instance has slots; the others are answered in their order."""
    order: list[str] = []
    go_on = asyncio.Event()

    async def answer(received: Any) -> str:
        order.append(received.json["messages"][0]["content"])
        assert server.running("a") <= 2
        await go_on.wait()
        return "x"

    async with Simulator(models=[SimulatedModel("a", loaded=True, parallel=2)]) as server:
        server.script(answer)
        asking = []
        for number in range(6):
            asking.append(asyncio.create_task(client.whole(server, str(number), model="a")))
            await server.wait_for_requests(number + 1)
        assert (server.running("a"), server.queued("a")) == (2, 4)
        go_on.set()
        await asyncio.gather(*asking)
    assert order == ["0", "1", "2", "3", "4", "5"]


async def test_who_leaves_the_queue_takes_no_answer(client: Any) -> None:
    """A client that leaves while it waits is not answered, and those behind it move up."""
    go_on = asyncio.Event()
    texts = iter(("first", "second"))

    async def answer(_: Any) -> str:
        text = next(texts)
        await go_on.wait()
        return text

    async with Simulator(models=[SimulatedModel("a", loaded=True, parallel=1)]) as server:
        server.script(answer)
        asking = []
        for number in range(3):
            asking.append(client.begin(server, model="a"))
            await server.wait_for_requests(number + 1)
        asking[1].cancel()
        await server.requests[1].wait_ended()
        go_on.set()
        got = [await asking[0], await asking[2]]
    assert [body["choices"][0]["message"]["content"] for _, body in got] == ["first", "second"]


async def test_each_instance_has_its_own_slots(client: Any) -> None:
    """A further instance is asked by its id, and does not wait for the first."""
    async with Simulator(models=[SimulatedModel("a", loaded=True, instances=2, parallel=1)]) as server:
        server.answer(Answer("late", delay=60))
        busy = client.begin(server, model="a")
        await client.until(lambda: server.running("a") == 1)
        assert (await client.whole(server, model="a:2"))[1]["model"] == "a:2"
        assert (server.running("a"), server.running("a:2")) == (1, 0)
        busy.cancel()
        await server.requests[0].wait_ended()


async def test_waiting_too_long_is_a_switch(client: Any) -> None:
    """A server that is told to gives up those that wait too long, in the words it was given."""
    unknowns = Unknowns(queue_seconds=0.02, queue_aborted=Fail(400, {"error": "too long"}))
    async with Simulator(models=[SimulatedModel("a", loaded=True, parallel=1)], unknowns=unknowns) as server:
        server.answer(Answer("late", delay=60))
        busy = client.begin(server, model="a")
        await client.until(lambda: server.running("a") == 1)
        assert await client.whole(server, model="a") == (400, {"error": "too long"})
        assert server.running("a") == 1
        server.unload("a")
        assert await busy == (400, {"error": "Model unloaded."})


class Machine(RuleBasedStateMachine):
    """Requests come, end, are cancelled and are ended from outside, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.slots = Slots()
        self.tasks: list[asyncio.Task[None]] = []
        self.inside: dict[int, asyncio.Event] = {}
        self.refused = 0

    def teardown(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.settle()
        self.loop.close()

    def settle(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))

    async def ask(self, number: int) -> None:
        try:
            async with self.slots.hold("a", 2, patience=None, impatient=NEVER):
                self.inside[number] = asyncio.Event()
                try:
                    await self.inside[number].wait()
                finally:
                    del self.inside[number]
        except Refused:
            self.refused += 1

    @rule()
    def come(self) -> None:
        self.tasks.append(self.loop.create_task(self.ask(len(self.tasks))))

    @precondition(lambda self: self.inside)
    @rule(which=st.integers(0, 9))
    def answered(self, which: int) -> None:
        list(self.inside.values())[which % len(self.inside)].set()

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 99))
    def leave(self, which: int) -> None:
        self.tasks[which % len(self.tasks)].cancel()

    @rule()
    def unload(self) -> None:
        self.slots.end("a", running=MODEL_UNLOADED, queued=UNLOADED_IN_QUEUE)

    @invariant()
    def never_too_many(self) -> None:
        assert len(self.inside) <= 2

    @rule()
    def settled(self) -> None:
        """Everybody is inside, waits or has ended; nobody waits while a slot is free."""
        self.settle()
        unended = [task for task in self.tasks if not task.done()]
        assert self.slots.running("a") == len(self.inside) <= 2
        assert self.slots.queued("a") == len(unended) - len(self.inside)
        assert not self.slots.queued("a") or len(self.inside) == 2


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestMachine = Machine.TestCase


@pytest.mark.parametrize("first", ["unload", "leave"])
async def test_leaving_wins_over_an_unload(first: str) -> None:
    """A client that left is gone, whatever else befalls its request in the same moment."""
    slots = Slots()
    holding = asyncio.Event()

    async def ask() -> None:
        async with slots.hold("a", 1, patience=None, impatient=NEVER):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(ask())
    await holding.wait()
    acts = [task.cancel, lambda: slots.end("a", running=MODEL_UNLOADED, queued=UNLOADED_IN_QUEUE)]
    for act in acts if first == "leave" else acts[::-1]:
        act()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slots.running("a") == 0


async def test_an_end_that_comes_twice_is_one(client: Any) -> None:
    """A second unload of an answer that is ending changes nothing: it fails as it was told first."""
    async with Simulator(models=[SimulatedModel("a", loaded=True, instances=1)]) as server:

        def twice(_: Any) -> str:
            server.unload("a")
            server.models[0].loaded = True
            server.crash("a")
            return "never"

        server.script(twice)
        assert await client.whole(server, model="a") == (400, {"error": "Model unloaded."})
