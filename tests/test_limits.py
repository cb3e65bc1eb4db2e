from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from neuroroute import limits
from neuroroute.limits import alarmed, endless, limited


async def within(seconds: float, work: float) -> str:
    limit = limited(seconds)
    try:
        await asyncio.sleep(work)
    except asyncio.CancelledError:
        if limit.passed():
            return "late"
        raise
    finally:
        limit.end()
    return "done"


async def test_what_ends_in_time_is_left_alone() -> None:
    """A limit that was ended does nothing when it becomes due."""
    assert await within(0.01, 0) == "done"
    await asyncio.sleep(0.03)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_takes_longer_is_cancelled_and_goes_on() -> None:
    """A limit that passes cancels its task once, and takes the cancellation back."""
    assert await within(0.01, 5) == "late"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_each_limit_is_its_own() -> None:
    """Of many tasks those end late that work too long, whatever the order in which they began and ended."""
    works = [5, 0, 5, 0.001, 5, 0, 0, 5]
    ends = await asyncio.gather(*(within(0.03, work) for work in works), within(0.01, 5), within(5, 0))
    assert ends == [*("late" if work == 5 else "done" for work in works), "late", "done"]


async def test_a_limit_within_a_limit() -> None:
    """The inner one passes first and only once; the outer one goes on."""

    async def outer(seconds: float) -> str:
        limit = limited(seconds)
        try:
            return await within(0.01, 5) + await within(1, 0.05)
        except asyncio.CancelledError:
            if limit.passed():
                return "late outside"
            raise
        finally:
            limit.end()

    assert await outer(1) == "latedone"
    assert await outer(0.03) == "late outside"


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Somebody else's cancellation is never taken for the limit's, nor swallowed when both come at once."""
    task = asyncio.create_task(within(5, 5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    both = asyncio.create_task(within(0.01, 5))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(asyncio.get_running_loop().time() + 0.01, both.cancel)
    done, _ = await asyncio.wait([both])
    assert done.pop().cancelled() or both.result() == "late"


async def test_an_error_beside_the_limit_takes_the_cancellation_back() -> None:
    """Work that answers its cancellation with an error of its own leaves no cancellation behind."""
    limit = limited(0.01)
    with pytest.raises(ZeroDivisionError):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            raise ZeroDivisionError from None
        finally:
            limit.end()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_nothing_is_kept_of_what_has_ended() -> None:
    """A task that ended is not kept alive until its limit would have passed."""
    task = asyncio.create_task(within(600, 0))
    ended = weakref.ref(task)
    await task
    del task
    await asyncio.sleep(0)  # the loop itself holds what it runs just now
    gc.collect()
    assert ended() is None


async def test_the_line_is_no_longer_than_what_runs() -> None:
    """Limits that ended leave the line as others join it; durations that are never the same do not pile up."""
    lines = {}
    for number in range(300):
        await within(600, 0)
        await within(600 + number, 0)
        lines = limits._lines[asyncio.get_running_loop()]
        assert len(lines) <= limits._MOST_LINES
    assert all(len(line._waiting) <= 1 for line in lines.values())


def test_a_loop_that_ended_is_let_go() -> None:
    """A program that runs one event loop after the other does not keep them."""
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def once() -> str:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        return await within(60, 0)

    for _ in range(4):
        asyncio.run(once())
    gc.collect()
    assert sum(loop() is not None for loop in loops) <= 1


async def test_a_limit_that_is_postponed_passes_later() -> None:
    """Moved while it runs, a limit passes so much later, and once; what was moved twice is moved by both."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    limit = limited(0.01)
    assert limit.due == limit.place
    assert began + 0.01 <= limit.due <= loop.time() + 0.01
    limit.postpone(0.02)
    limit.postpone(0.02)
    assert limit.due == pytest.approx(limit.place + 0.04, abs=1e-6)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(5)
    assert loop.time() >= began + 0.05
    assert limit.passed()
    limit.end()
    await asyncio.sleep(0.02)  # nothing comes after it


async def test_a_limit_is_moved_while_it_is_late_already() -> None:
    """A limit that was due once, and was moved before that, may be moved again from its new place."""
    limit = limited(0.01)
    limit.postpone(0.02)
    await asyncio.sleep(0.02)
    assert not limit.fired
    limit.postpone(0.02)
    began = asyncio.get_running_loop().time()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(5)
    assert asyncio.get_running_loop().time() >= began + 0.02
    assert limit.passed()
    limit.end()


async def test_a_postponed_limit_that_was_ended_does_nothing() -> None:
    """Work that ends before the new time is left alone, and so is what runs in its task after it."""
    limit = limited(0.005)
    limit.postpone(0.01)
    await asyncio.sleep(0.007)
    limit.end()
    assert limit.over
    await asyncio.sleep(0.02)
    assert not limit.fired


async def test_too_late_to_postpone() -> None:
    """A limit that has passed stays passed."""
    limit = limited(0.005)
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError:
        limit.postpone(5)
        assert limit.fired
        assert limit.passed()
    finally:
        limit.end()


async def test_a_limit_says_that_its_cancellation_is_under_way() -> None:
    """From when it passes until it is told of, a limit says so; never when somebody else cancels, nor when it ends."""
    seen: list[bool] = []

    async def work(seconds: float) -> None:
        limit = limited(seconds)
        seen.append(limit.fired)
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            seen.append(limit.fired)
            seen.append(limit.passed())
            seen.append(limit.fired)
            seen.append(limit.passed())  # it is told of once
        finally:
            limit.end()

    await work(0.005)
    assert seen == [False, True, True, False, False]
    seen.clear()
    task = asyncio.create_task(work(5))
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert seen == [False, False, False, False, False]


async def test_a_cancellation_beside_the_limit_s_is_not_its_own() -> None:
    """When somebody else cancels the task as well, what was caught is not the limit's alone: it goes on."""
    told: list[bool] = []

    async def work() -> None:
        limit = limited(0.005)
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            task.cancel()
            told.append(limit.passed())
        finally:
            limit.end()

    task = asyncio.create_task(work())
    await asyncio.wait([task])
    assert told == [False]
    assert task.cancelled()
    assert task.cancelling() == 1


async def test_limits_of_one_duration_wait_in_one_line() -> None:
    """They share a timer, which goes on to the next in line when one has passed."""
    first = asyncio.create_task(within(0.02, 5))
    await asyncio.sleep(0.008)
    second = asyncio.create_task(within(0.02, 5))
    await asyncio.sleep(0)
    (line,) = limits._lines[asyncio.get_running_loop()].values()
    assert len(line._waiting) == 2
    assert await asyncio.wait_for(first, 1) == "late"
    assert not second.done()
    assert await asyncio.wait_for(second, 1) == "late"


async def test_an_alarm_rings_once() -> None:
    """What is to be done is done after its time, once, on the event loop; unless it was ended before."""
    rung: list[str] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    alarm = alarmed(0.01, lambda: rung.append("rung"))
    assert (rung, alarm.over) == ([], False)
    ended = alarmed(0.01, lambda: rung.append("ended"))
    ended.end()
    assert ended.over
    while not rung:
        await asyncio.sleep(0.001)
    assert loop.time() >= began + 0.01
    assert alarm.over
    alarm.look()
    alarm.end()
    await asyncio.sleep(0.01)
    assert rung == ["rung"]


async def test_alarms_stand_in_one_line_with_limits() -> None:
    """Alarms and limits of one duration share a timer: each has its turn, also one that is set by another."""
    rung: list[int] = []

    def again() -> None:
        rung.append(1)
        if len(rung) < 3:
            alarmed(0.01, again)

    alarmed(0.01, again)
    assert await within(0.01, 5) == "late"
    alarmed(0.01, again).end()
    assert await within(0.01, 5) == "late"
    assert await within(0.01, 5) == "late"
    assert await within(0.01, 5) == "late"
    assert len(rung) == 3


async def test_an_alarm_that_fails_does_not_stop_the_others() -> None:
    """What an action raises is the event loop's to tell; the limits behind it in line pass all the same."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context["exception"])))

    def fails() -> None:
        raise RuntimeError("my fault")

    limits.alarmed(0.0123, fails)
    task = asyncio.create_task(within(0.0123, 5))
    assert await asyncio.wait_for(task, 1) == "late"
    assert told == ["my fault"]


async def test_an_endless_limit_passes_when_it_is_fired() -> None:
    """A limit without an end cancels its task when somebody fires it, from any thread, and says that it was it."""
    limit = endless()
    threading.Timer(0.01, limit.fire).start()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    assert limit.passed()
    limit.end()
    limit.fire()  # too late, and nothing happens
    await asyncio.sleep(0)
