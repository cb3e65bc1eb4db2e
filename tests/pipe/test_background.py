from __future__ import annotations

import asyncio

import pytest

from neuroroute import NetworkError
from neuroroute.pipe.background import Background


class Work:
    """Something that takes as long as it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.done = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        await self.done.wait()
        return self.begun


async def test_who_wants_the_same_waits_for_the_same() -> None:
    """Work of one kind is done once for all who want it at the same time, and anew after that."""
    background, work = Background(), Work()
    tasks = [asyncio.create_task(background.result("kind", work)) for _ in range(5)]
    other = asyncio.create_task(background.result("another", work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.done.set()
    assert await asyncio.gather(*tasks) == [2] * 5
    assert await other == 2
    assert await background.result("kind", work) == 3


async def test_who_leaves_does_not_take_it_from_the_others() -> None:
    """A caller who is cancelled leaves the work to those who stay."""
    background, work = Background(), Work()
    stays, leaves = (asyncio.create_task(background.result("kind", work)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    work.done.set()
    assert (await stays, leaves.cancelled(), work.begun) == (1, True, 1)


async def test_a_failure_reaches_all_who_wait() -> None:
    """What the work raises, each of those who wait is told; if nobody waits, nobody is."""

    async def fails() -> None:
        raise ValueError("no")

    background = Background()
    background.begin("alone", fails)
    ends = await asyncio.gather(*(background.result("kind", fails) for _ in range(3)), return_exceptions=True)
    assert [str(end) for end in ends] == ["no"] * 3


async def test_closing_ends_all() -> None:
    """After aclose() nothing is under way, and those who waited have an error, not a cancellation nobody asked for."""
    background, work = Background(), Work()
    before = asyncio.all_tasks()
    waits = asyncio.create_task(background.result("kind", work))
    background.begin("alone", work)
    await asyncio.sleep(0)
    await background.aclose()
    with pytest.raises(NetworkError, match="closed meanwhile"):
        await waits
    assert asyncio.all_tasks() == before
    await background.aclose()


def test_each_event_loop_does_its_own() -> None:
    """Work that was begun in another event loop is not waited for in this one."""
    background = Background()

    async def once() -> int:
        return await background.result("kind", lambda: asyncio.sleep(0, 1))

    assert [asyncio.run(once()) for _ in range(2)] == [1, 1]
