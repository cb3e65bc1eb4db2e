"""One load for all who ask for a model that is not in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conftest import FakeClock
from fleet.fleets import LOADED, Fleet, listed
from neuroroute import ModelUnavailableError


async def test_the_first_has_it_loaded_and_the_others_wait(clock: FakeClock) -> None:
    """Of requests for a model that was listed as not loaded one goes out; the others follow when it has its answer."""
    out: list[str] = []
    goes_on = asyncio.Event()

    async def load(asked: Any) -> None:
        out.append(asked.messages[0].content)
        await goes_on.wait()

    one = await Fleet({"a": load}, {"a": [listed()]}, clock=clock).listed()
    asked = [asyncio.create_task(one.ask(str(number))) for number in range(4)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert out == ["0"]
    goes_on.set()
    replies = await asyncio.gather(*asked)
    assert sorted(out) == ["0", "1", "2", "3"]
    assert [reply.attempts for reply in replies] == [1, 1, 1, 1]


async def test_if_the_first_fails_the_next_has_it_loaded(clock: FakeClock) -> None:
    """A load that failed is the next one's to begin: nobody waits for ever, and there is still one at a time."""
    under_way: list[int] = []
    most = 0
    failing = [True, True]

    async def load(_: Any) -> None:
        nonlocal most
        under_way.append(1)
        most = max(most, len(under_way))
        await asyncio.sleep(0)
        under_way.pop()
        if failing:
            failing.pop()
            raise ModelUnavailableError("no memory", retryable=False, details={"reason": "load_failed"})

    one = await Fleet({"a": load}, {"a": [listed()]}, clock=clock).listed()
    ended = await asyncio.gather(*(one.ask(str(number), max_retries=0) for number in range(4)), return_exceptions=True)
    assert [isinstance(end, ModelUnavailableError) for end in ended].count(True) == 2
    assert most == 1 or not failing


async def test_a_model_that_is_loaded_is_asked_by_all_at_once(clock: FakeClock) -> None:
    """Nobody waits for a model that was listed as loaded, or that has answered since it was not."""
    under_way, most = 0, 0

    async def serve(_: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    one = await Fleet({"a": serve}, {"a": [LOADED]}, clock=clock).listed()
    await asyncio.gather(*(one.ask(str(number)) for number in range(4)))
    assert most == 4
    one.listings["a"] = [listed()]
    await one.listed()
    most = 0
    await one.ask("first")
    await asyncio.gather(*(one.ask(str(number)) for number in range(4)))
    assert most == 4


@pytest.mark.parametrize("left", [True, False])
async def test_who_leaves_while_it_loads_leaves_it_to_the_next(clock: FakeClock, *, left: bool) -> None:
    """A cancelled first request hands the load on; a cancelled waiter hands on nothing."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def load(_: Any) -> None:
        begun.set()
        await goes_on.wait()

    one = await Fleet({"a": load}, {"a": [listed()]}, clock=clock).listed()
    first, second = (asyncio.create_task(one.ask(text)) for text in ("first", "second"))
    await begun.wait()
    (first if left else second).cancel()
    await asyncio.sleep(0)
    goes_on.set()
    assert (await (second if left else first)).host == "a"
