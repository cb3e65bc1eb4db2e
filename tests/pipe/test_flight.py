from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from conftest import chats
from neuroroute import (
    AttemptStarted,
    CacheLooked,
    Event,
    LMStudioAdapter,
    MemoryCache,
    ModelProgress,
    ModelTimeoutError,
    ModelUnavailableError,
    RequestEnded,
    StreamInterruptedError,
    TokenUsage,
    tool,
)
from neuroroute.pipe.flight import Flight, FlightReply
from neuroroute.requests import ChatRequest
from neuroroute.responses import StreamingChunk
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault, WholeFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import FakeClock

SLOW = Answer("one two three", delay=0.05)
STUCK = Answer(chunks=["one ", "two ", "three"], stream_fault=StreamFault("hang", after=2))
PACED = Answer(chunks=["one ", "two ", "three ", "four"], delay_between=0.02)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def sharing(lmstudio: Simulator, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, cache=MemoryCache(), observers=[events.append], max_retries=0
    ) as made:
        yield made


def joined(events: list[Event]) -> int:
    return sum(isinstance(event, CacheLooked) and event.outcome == "joined" for event in events)


async def text_of(adapter: LMStudioAdapter, **options: Any) -> str:
    async with adapter.stream("hi", **options) as stream:
        return "".join([chunk.chunk async for chunk in stream])


async def test_many_share_one(sharing: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """Whole answers that are the same and in the air at the same time are asked for once; none of them is cached."""
    lmstudio.answer(SLOW)
    responses = await asyncio.gather(*(sharing.generate_completion("hi") for _ in range(5)))
    assert [(response.text, response.cached, response.attempts) for response in responses] == [
        ("one two three", False, 1)
    ] * 5
    assert (len(chats(lmstudio)), joined(events)) == (1, 4)
    assert sharing._core.hosts.all[0].model("llama3").gate.is_idle


async def test_who_stays_inherits_the_telling(lmstudio: Simulator, events: list[Event], clock: FakeClock) -> None:
    """When the one who began it leaves, attempts and tokens are told as those of one who stays, each once."""
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, cache=MemoryCache(), observers=[events.append], clock=clock
    ) as adapter:
        lmstudio.answer(Answer("lost", delay=0.1, whole_fault=WholeFault("cut", after=0)))
        lmstudio.answer(Answer("hello", usage={"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}))
        first, second = (asyncio.ensure_future(adapter.generate_completion("hi")) for _ in range(2))
        await lmstudio.wait_for_requests(1)
        first.cancel()
        assert (await second).text == "hello"
    starts = [event for event in events if isinstance(event, AttemptStarted)]
    ends = {event.outcome: event for event in events if isinstance(event, RequestEnded)}
    assert [event.attempt for event in starts] == [1, 2]
    assert [event.request_id for event in starts] == [ends["left"].request_id, ends["answered"].request_id]
    assert (ends["left"].attempts, ends["answered"].attempts) == (1, 2)
    assert ends["answered"].tokens == TokenUsage(prompt=9, completion=1, total=10)


async def test_nobody_waits_longer_than_its_own_time(
    sharing: LMStudioAdapter, lmstudio: Simulator, events: list[Event]
) -> None:
    """A request that set out long before an answer in the air did not join it: that one's time is up later."""
    lmstudio.answer(Answer("late", delay=5), times=2)
    early = sharing.stream("hi", timeout_ms=400)
    early._request.spent = 0.35
    fresh = asyncio.ensure_future(sharing.stream("hi", timeout_ms=400).whole())
    await lmstudio.wait_for_requests(1)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ModelTimeoutError):
        await early.whole()
    assert asyncio.get_running_loop().time() - began < 0.3
    assert joined(events) == 0
    fresh.cancel()


async def test_a_progress_of_ones_own_shares_too(sharing: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What is told of progress is no part of what makes requests the same, even where it cannot be hashed."""

    @dataclass
    class Progress:
        seen: int = 0

        def __call__(self, progress: ModelProgress) -> None:
            self.seen += 1

    lmstudio.answer(SLOW)
    await asyncio.gather(*(sharing.generate_completion("hi", on_progress=Progress()) for _ in range(3)))
    assert len(chats(lmstudio)) == 1


async def test_streams_share_one(sharing: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """Streams share one answer from its beginning, also those that come when half of it is there."""
    lmstudio.answer(PACED)
    first = sharing.stream("hi")
    taken = [await anext(first), await anext(first)]
    late = asyncio.create_task(text_of(sharing))
    rest = [chunk.chunk async for chunk in first]
    assert "".join([chunk.chunk for chunk in taken] + rest) == await late == "one two three four"
    assert (len(chats(lmstudio)), joined(events)) == (1, 1)


async def test_what_differs_is_not_shared(sharing: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """Another limit, or a stream beside a whole answer, goes its own way."""
    lmstudio.script(lambda request: SLOW)
    await asyncio.gather(
        sharing.generate_completion("hi"),
        sharing.generate_completion("hi", timeout_ms=5000),
        sharing.generate_completion("hi", temperature=0),
        text_of(sharing),
    )
    assert (len(chats(lmstudio)), joined(events)) == (4, 0)


@pytest.mark.parametrize("leaves", [0, 1])
async def test_who_is_cancelled_leaves_it_to_the_other(
    sharing: LMStudioAdapter, lmstudio: Simulator, leaves: int
) -> None:
    """Of two who wait for one answer, either may be cancelled: the other has it, and the server was asked once."""
    lmstudio.answer(SLOW)
    tasks = [asyncio.create_task(sharing.generate_completion("hi")) for _ in range(2)]
    await lmstudio.wait_for_requests(1)
    tasks[leaves].cancel()
    assert (await tasks[1 - leaves]).text == "one two three"
    assert tasks[leaves].cancelled()
    assert [request.closed_early for request in chats(lmstudio)] == [False]


@pytest.mark.parametrize("leaves", [0, 1])
async def test_who_breaks_leaves_it_to_the_other(sharing: LMStudioAdapter, lmstudio: Simulator, leaves: int) -> None:
    """Of two who read one stream, either may leave in its midst: the other reads to the end."""
    lmstudio.answer(PACED)
    streams = [sharing.stream("hi"), sharing.stream("hi")]
    for stream in streams:
        assert (await anext(stream)).chunk == "one "
    await streams[leaves].aclose()
    assert (await streams[1 - leaves].whole()).text == "one two three four"
    with pytest.raises(StopAsyncIteration):
        await anext(streams[leaves])
    assert [request.closed_early for request in chats(lmstudio)] == [False]


async def test_the_last_one_stops_it(sharing: LMStudioAdapter, lmstudio: Simulator) -> None:
    """When all have left a stream, the server stops; who comes then asks anew."""
    lmstudio.answer(STUCK)
    streams = [sharing.stream("hi"), sharing.stream("hi")]
    for stream in streams:
        assert (await anext(stream)).chunk == "one "
    await streams[0].aclose()
    assert lmstudio.open_connections == 1
    await streams[1].aclose()
    await lmstudio.requests[0].wait_ended(1)
    assert lmstudio.requests[0].closed_early
    lmstudio.answer("new")
    assert await text_of(sharing) == "new"


async def test_the_last_cancelled_stops_it(sharing: LMStudioAdapter, lmstudio: Simulator) -> None:
    """When all who wait are cancelled, the request is, before their cancellation is over; no task is left."""
    before = asyncio.all_tasks()
    lmstudio.answer(Answer("late", delay=5))
    tasks = [asyncio.create_task(sharing.generate_completion("hi")) for _ in range(3)]
    await lmstudio.wait_for_requests(1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    assert sharing._core.hosts.all[0].model("llama3").gate.is_idle
    assert asyncio.all_tasks() == before
    await lmstudio.requests[0].wait_ended(1)
    assert lmstudio.requests[0].closed_early


async def test_a_stream_cancelled_while_read_goes_on_for_the_other(
    sharing: LMStudioAdapter, lmstudio: Simulator
) -> None:
    """A reader that is cancelled while it waits for a chunk does not break the connection of the other."""
    lmstudio.answer(PACED)
    stays, leaves = asyncio.create_task(text_of(sharing)), asyncio.create_task(text_of(sharing))
    await lmstudio.wait_for_requests(1)
    await asyncio.sleep(0.03)
    leaves.cancel()
    assert await stays == "one two three four"
    assert leaves.cancelled()


async def test_a_failure_is_told_to_each(sharing: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What fails fails for all who share it, each with an error of its own; the next one asks anew."""
    lmstudio.fail(Fail(500, {"error": "crashed"}))
    ends = await asyncio.gather(*(sharing.generate_completion("hi") for _ in range(3)), return_exceptions=True)
    assert {type(end) for end in ends} == {ModelUnavailableError}
    assert len({id(end) for end in ends}) == 3
    assert len(chats(lmstudio)) == 1
    assert (await sharing.generate_completion("hi")).text == "You said: hi"


async def test_a_broken_stream_tells_each_what_came(sharing: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Of a stream that breaks off, each reader has all that came, and its own error."""
    lmstudio.answer(Answer(chunks=["one ", "two ", "three"], stream_fault=StreamFault("cut", after=2)))
    streams = [sharing.stream("hi"), sharing.stream("hi")]
    for stream in streams:
        await anext(stream)
    for stream in streams:
        with pytest.raises(StreamInterruptedError) as caught:
            await stream.whole()
        assert caught.value.partial is not None
        assert caught.value.partial.text == "one two "
        assert not caught.value.retryable


@tool
def look() -> str:
    """Looks."""
    return ""


async def test_what_was_held_back_is_told_to_each(sharing: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Text that might have begun a call is text once the stream has broken off: each reader has it, once."""
    lmstudio.answer(Answer(chunks=["one ", "[TOOL_REQ", "UEST"], stream_fault=StreamFault("cut", after=2)))
    streams = [sharing.stream("hi", tools=[look]), sharing.stream("hi", tools=[look])]
    for stream in streams:
        await anext(stream)
    for stream in streams:
        with pytest.raises(StreamInterruptedError) as caught:
            await stream.whole()
        assert caught.value.partial is not None
        assert caught.value.partial.text == "one [TOOL_REQ"


async def test_a_cancellation_waits_for_what_it_ends() -> None:
    """Whoever leaves last is cancelled once the request is: its slot is free then."""
    freed = asyncio.Event()

    async def send(request: ChatRequest) -> FakeReply:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            freed.set()
        raise AssertionError

    async def landed(flight: Flight) -> None:
        raise AssertionError

    request = LMStudioAdapter("llama3")._request("verb", "hi", None, {}, streaming=True)
    task = asyncio.create_task(Flight(request, send, landed).joined_by(request).begin())
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert freed.is_set()


async def test_another_s_time_limit_is_not_ones_own(
    sharing: LMStudioAdapter, lmstudio: Simulator, events: list[Event]
) -> None:
    """Who joins late and sees the first one's time run out asks for itself, with what time it has left."""
    lmstudio.answer(Answer("too late", delay=5))
    first = asyncio.create_task(sharing.generate_completion("hi", timeout_ms=150))
    await lmstudio.wait_for_requests(1)
    await asyncio.sleep(0.1)
    second = asyncio.create_task(sharing.generate_completion("hi", timeout_ms=150))
    with pytest.raises(ModelTimeoutError):
        await first
    assert (await second).text == "You said: hi"
    assert (len(chats(lmstudio)), joined(events)) == (2, 1)


async def test_closing_the_adapter_ends_what_is_shared(lmstudio: Simulator) -> None:
    """After aclose() all who shared an answer have an error, and nothing is left."""
    adapter = LMStudioAdapter("llama3", base_url=lmstudio.url, cache=MemoryCache(), max_retries=0)
    before = asyncio.all_tasks()
    lmstudio.answer(STUCK)
    tasks = [asyncio.create_task(text_of(adapter)) for _ in range(2)]
    await lmstudio.wait_for_requests(1)
    await asyncio.sleep(0.02)
    await adapter.aclose()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} == {StreamInterruptedError}
    assert asyncio.all_tasks() == before


async def test_closing_a_stream_wakes_who_reads_it(sharing: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Who waits for a chunk of a stream that another task closes is told so, not cancelled."""
    lmstudio.answer(STUCK)
    stream = sharing.stream("hi")
    assert [(await anext(stream)).chunk for _ in range(2)] == ["one ", "two "]
    waits = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.01)
    await stream.aclose()
    with pytest.raises(StreamInterruptedError):
        await waits


class FakeReply:
    """An answer that comes when the test says so."""

    attempts = 1
    host = "h"

    def __init__(self, request: ChatRequest) -> None:
        self.ready: deque[StreamingChunk] = deque()
        self.answer = request.endpoint.decoder(self.ready.append, request)
        self.coming: list[str] = []
        self.ended = self.closed = False
        self.more = asyncio.Event()

    async def read(self) -> bool:
        while not self.coming and not self.ended:
            self.more.clear()
            await self.more.wait()
        self.ready.extend(StreamingChunk(text) for text in self.coming)
        was, self.coming = bool(self.coming), []
        return was

    def close(self) -> None:
        self.closed = True

    def when_over(self, action: Any) -> None:
        raise NotImplementedError

    def when_judged(self, action: Any) -> None:
        raise NotImplementedError


class Sharing(RuleBasedStateMachine):
    """Readers that come, read, are cancelled and leave, while one answer comes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.request = LMStudioAdapter("llama3")._request("verb", "hi", None, {}, streaming=True)
        self.sent: FakeReply | None = None
        self.landings = 0
        self.text = ""
        self.got: dict[FlightReply, str] = {}
        self.reading: dict[FlightReply, asyncio.Task[None]] = {}
        self.done: set[FlightReply] = set()
        self.let_in = asyncio.Event()
        self.flight = Flight(self.request, self.send, self.landed)
        self.came = False

    async def send(self, request: ChatRequest) -> FakeReply:
        await self.let_in.wait()
        self.sent = FakeReply(request)
        return self.sent

    async def landed(self, flight: Flight) -> None:
        self.landings += 1

    def settle(self) -> None:
        for _ in range(8):
            self.loop.run_until_complete(asyncio.sleep(0))

    async def take(self, reader: FlightReply) -> None:
        if self.flight.reply is None:
            await reader.begin()
        elif await reader.read():
            pass
        else:
            self.done.add(reader)
        while reader.ready:
            self.got[reader] += reader.ready.popleft().chunk

    @precondition(lambda self: not self.flight.over)
    @rule()
    def come(self) -> None:
        self.came = True
        self.got[self.flight.joined_by(replace(self.request, notes=[]))] = ""

    @precondition(lambda self: self.got)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from([*self.got]))
        if reader not in self.reading or self.reading[reader].done():
            self.reading[reader] = self.loop.create_task(self.take(reader))
        self.settle()

    @precondition(lambda self: self.got)
    @rule(data=st.data(), cancelled=st.booleans())
    def leave(self, data: st.DataObject, cancelled: bool) -> None:
        reader = data.draw(st.sampled_from([*self.got]))
        task = self.reading.pop(reader, None)
        if cancelled and task is not None:
            task.cancel()
            self.settle()
            assert task.done()
        reader.close()
        self.settle()
        if task is not None:
            task.cancel()
            self.loop.run_until_complete(asyncio.wait([task]))
            if not task.cancelled():
                assert task.exception() is None or isinstance(task.exception(), StreamInterruptedError)
        del self.got[reader]

    @rule()
    def begin(self) -> None:
        self.let_in.set()
        self.settle()

    @precondition(lambda self: self.sent is not None and not self.sent.ended)
    @rule(text=st.text(min_size=1, max_size=3))
    def chunk(self, text: str) -> None:
        assert self.sent is not None
        self.text += text
        self.sent.coming.append(text)
        self.sent.more.set()
        self.settle()

    @precondition(lambda self: self.sent is not None)
    @rule()
    def end(self) -> None:
        assert self.sent is not None
        self.sent.ended = True
        self.sent.more.set()
        self.settle()

    @invariant()
    def each_has_a_beginning_of_it(self) -> None:
        assert all(self.text.startswith(text) for text in self.got.values())
        assert all(text == self.text for reader, text in self.got.items() if reader in self.done)

    @invariant()
    def it_goes_on_while_one_wants_it(self) -> None:
        assert self.landings <= 1
        assert not self.done or self.landings
        if self.came and not self.got and self.sent is not None and not self.landings:
            assert self.sent.closed
        if self.got and self.sent is not None and not self.landings:
            assert not self.sent.closed

    def teardown(self) -> None:
        for reader in [*self.got]:
            reader.close()
        self.settle()
        tasks = asyncio.all_tasks(self.loop)
        for task in [*self.reading.values()]:
            task.cancel()
        self.settle()
        assert not {task for task in tasks if not task.done()}
        for task in self.reading.values():
            if not task.cancelled():
                task.exception()
        self.loop.close()


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
