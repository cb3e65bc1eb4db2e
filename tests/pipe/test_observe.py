from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from conftest import FakeClock, chats
from neuroroute import (
    Admitted,
    AnswerReceived,
    AttemptEnded,
    AttemptStarted,
    BackingOff,
    CallsSalvaged,
    ContentEvent,
    Event,
    Hedged,
    LeftQueue,
    LMStudioAdapter,
    LMStudioError,
    ModelBusyError,
    ModelUnavailableError,
    PromptSent,
    Queued,
    RequestEnded,
    RequestStarted,
    StreamContinued,
    StreamInterruptedError,
    ToolRan,
)
from neuroroute.pipe.observe import watching
from neuroroute.requests import ChatRequest
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
def events() -> list[Any]:
    return []


@pytest.fixture
async def watched(lmstudio: Simulator, clock: FakeClock, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, clock=clock, random=Random(1), observers=[events.append]
    ) as made:
        yield made


def of_kind(events: list[Any], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


async def test_the_events_of_an_answer(watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any]) -> None:
    """A request that goes well is told from its start to its end, all under one id."""
    lmstudio.answer(Answer("hi", usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}))
    response = await watched.generate_completion("hi", temperature=0.5, seed=7)
    assert [type(event) for event in events] == [RequestStarted, Admitted, AttemptStarted, AttemptEnded, RequestEnded]
    assert {(event.request_id, event.host, event.model) for event in events} == {
        (response.request_id, response.host, "llama3")
    }
    started, ended = events[0], events[-1]
    assert (started.api, started.streaming) == ("chat", False)
    assert started.parameters["temperature"] == 0.5
    assert started.parameters["seed"] == 7
    assert (ended.outcome, ended.error, ended.attempts, ended.finish_reason) == ("answered", None, 1, "stop")
    assert (ended.tokens.prompt, ended.tokens.completion, ended.ttft_ms) == (9, 4, None)
    assert ended.answered_by == "llama3"


async def test_retries_are_attempts_of_one_request(
    watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any], clock: FakeClock
) -> None:
    """Each attempt is told with its number and its error; the whole takes as long as attempts and back-offs."""
    lmstudio.fail("crash_null", times=2)
    await watched.generate_completion("hi")
    attempts = of_kind(events, AttemptEnded)
    assert [(event.attempt, event.outcome) for event in attempts] == [(1, "failed"), (2, "failed"), (3, "answered")]
    assert isinstance(attempts[0].error, ModelUnavailableError)
    ended = events[-1]
    assert ended.attempts == 3
    assert ended.duration_ms == pytest.approx(1000 * sum(clock.slept), abs=5)
    assert sum(event.delay_ms for event in of_kind(events, BackingOff)) == pytest.approx(ended.duration_ms, abs=5)
    assert len({event.request_id for event in events}) == 1


async def test_a_failure_is_told(watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any]) -> None:
    """A request that fails ends with its error, which holds neither frames nor what had been received."""
    lmstudio.answer(Answer(chunks=["one ", "two"], stream_fault=StreamFault("cut", after=1)))
    with pytest.raises(StreamInterruptedError) as caught:
        await watched.stream("hi").whole()
    assert caught.value.partial is not None
    ended = events[-1]
    assert (ended.outcome, ended.error.code) == ("failed", "STREAM_INTERRUPTED")
    assert (ended.error.partial, ended.error.__traceback__) == (None, None)
    assert of_kind(events, AttemptEnded)[0].outcome == "failed"


async def test_a_stream_is_told_when_it_is_over(
    watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any], clock: FakeClock
) -> None:
    """A stream's request ends with its last chunk; the time to the first chunk is told apart."""
    lmstudio.answer(Answer(chunks=["a", "b"], delay_between=0.01))
    stream = watched.stream("hi")
    await anext(stream)
    assert not of_kind(events, RequestEnded)
    clock.now += 2
    response = await stream.whole()
    ended = events[-1]
    assert ended.outcome == "answered"
    assert (ended.ttft_ms, ended.duration_ms) == (pytest.approx(0, abs=5), pytest.approx(2000, abs=5))
    assert (ended.finish_reason, ended.tokens) == ("stop", response.tokens)
    assert ended.request_id == response.request_id


@pytest.mark.parametrize("when", ["early", "before", "cancelled"])
async def test_one_that_is_left_is_told_as_such(
    watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any], when: str
) -> None:
    """A stream that is closed before its end, or whose caller is cancelled, has not failed: it was left."""
    lmstudio.answer(Answer(chunks=["a", "b", "c"], delay=0.0 if when == "early" else 5, delay_between=5))
    if when == "early":
        async with watched.stream("hi") as stream:
            await anext(stream)
    else:
        task = asyncio.ensure_future(watched.stream("hi").whole())
        await lmstudio.wait_for_requests(1)
        task.cancel()
        await asyncio.wait([task])
    assert [(event.outcome, event.error) for event in of_kind(events, AttemptEnded)] == [("left", None)]
    assert [(event.outcome, event.error) for event in of_kind(events, RequestEnded)] == [("left", None)]


async def test_an_end_is_told_once(watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any]) -> None:
    """However often a stream is closed after its end, and by whom, its end is told once."""
    stream = watched.stream("hi")
    await stream.whole()
    stream.close()
    await stream.aclose()
    del stream
    assert len(of_kind(events, RequestEnded)) == len(of_kind(events, AttemptEnded)) == 1
    assert of_kind(events, RequestEnded)[0].outcome == "answered"


async def test_a_stream_that_goes_on_is_one_request(
    watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any]
) -> None:
    """A stream that broke off and was continued is one request with two attempts, and it was answered."""
    lmstudio.answer(Answer(chunks=["one ", "two"], stream_fault=StreamFault("cut", after=1)))
    lmstudio.answer("two")
    response = await watched.stream("hi", continue_stream=True).whole()
    assert response.text == "one two"
    assert [(event.attempt, event.outcome) for event in of_kind(events, AttemptEnded)] == [
        (1, "failed"),
        (2, "answered"),
    ]
    assert of_kind(events, StreamContinued)[0].request_id == response.request_id
    assert [event.outcome for event in of_kind(events, RequestEnded)] == ["answered"]
    assert events[-1].tokens is None  # nobody counted all of them
    assert response.attempts == events[-1].attempts == 2


async def test_hedged_attempts_have_numbers_of_their_own(
    lmstudio: Simulator, watched: LMStudioAdapter, events: list[Any]
) -> None:
    """Of a hedged request the attempt that is not taken is told as left."""
    lmstudio.answer(Answer("late", delay=5))
    lmstudio.answer("soon")
    await watched.generate_completion("hi", hedge_after_ms=10)
    assert of_kind(events, Hedged)
    ends = {event.attempt: event.outcome for event in of_kind(events, AttemptEnded)}
    assert ends == {1: "left", 2: "answered"}
    assert events[-1].attempts == 2


async def test_waiting_for_a_slot_is_told(lmstudio: Simulator, clock: FakeClock, events: list[Any]) -> None:
    """Who finds the slots taken is queued, then admitted, or leaves; the length of the queue is right each time."""
    lmstudio.answer(Answer("slow", delay=5))
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, clock=clock, slots=1, observers=[events.append]
    ) as adapter:
        first = asyncio.ensure_future(adapter.generate_completion("one"))
        await lmstudio.wait_for_requests(1)
        second, third = (asyncio.ensure_future(adapter.generate_completion(text)) for text in ("two", "three"))
        while len(of_kind(events, Queued)) < 2:
            await asyncio.sleep(0)
        third.cancel()
        await asyncio.wait([third])
        clock.now += 3
        first.cancel()
        await second
    assert [event.queue_length for event in of_kind(events, Queued)] == [1, 2]
    assert [event.queue_length for event in of_kind(events, LeftQueue)] == [1]
    assert [(event.wait_ms, event.queue_length) for event in of_kind(events, Admitted)] == [(0, 0), (3000, 0)]


async def test_what_is_refused_is_told(lmstudio: Simulator, clock: FakeClock, events: list[Any]) -> None:
    """A request that the queue turns away failed without an attempt."""
    lmstudio.answer(Answer("slow", delay=5))
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, slots=1, timeout_ms=30, observers=[events.append]
    ) as adapter:
        first = asyncio.ensure_future(adapter.generate_completion("one", timeout_ms=5000))
        await lmstudio.wait_for_requests(1)
        with pytest.raises(ModelBusyError):
            await adapter.generate_completion("two")
        first.cancel()
        await asyncio.wait([first])
    ended = of_kind(events, RequestEnded)[0]
    assert (ended.outcome, ended.error.code, ended.attempts) == ("failed", "MODEL_BUSY", 0)
    assert of_kind(events, LeftQueue)[0].queue_length == 0


async def test_tools_are_told(watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any]) -> None:
    """Each call of a tool is told with how it went, under the id of the request whose answer asked for it."""

    def weather(city: str) -> str:
        if city == "Nowhere":
            raise LookupError(city)
        return "sunny"

    calls = [("weather", {"city": "Paris"}), ("weather", {"city": "Nowhere"}), ("s3cret", {}), ("weather", {})]
    lmstudio.answer(Answer(tool_calls=calls))
    lmstudio.answer("done")
    await watched.run_tools("hi", tools=[weather], max_rounds=2)
    ran = of_kind(events, ToolRan)
    assert sorted((event.name, event.code or "") for event in ran) == [
        ("", "TOOL_UNKNOWN"),
        ("weather", ""),
        ("weather", "TOOL_ARGUMENTS"),
        ("weather", "TOOL_FAILED"),
    ]
    assert {event.request_id for event in ran} == {of_kind(events, RequestEnded)[0].request_id}
    assert all(event.duration_ms >= 0 for event in ran)


@pytest.mark.parametrize("streaming", [False, True])
async def test_salvaged_calls_are_told(
    watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any], streaming: bool
) -> None:
    """Calls that the model left in its text are counted in an event."""
    lmstudio.answer('<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>')

    def weather(city: str) -> str:
        return city

    if streaming:
        response = await watched.stream("hi", tools=[weather]).whole()
    else:
        response = await watched.generate_completion("hi", tools=[weather])
    assert response.tool_calls
    assert [event.count for event in of_kind(events, CallsSalvaged)] == [1]


async def test_tokens_that_nobody_counted(watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any]) -> None:
    """A server that counts nothing, or says 0 of a prompt, has counted no tokens."""
    for usage in ({}, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}):
        lmstudio.answer(Answer("hi", usage=usage))
        response = await watched.generate_completion("hi")
        assert response.tokens.estimated
        assert events[-1].tokens is None


async def test_embeddings_are_requests(watched: LMStudioAdapter, lmstudio: Simulator, events: list[Any]) -> None:
    """Each batch of texts is a request of its own."""
    await watched.embed(["a", "b"], model="text-embedding-nomic-embed-text-v1.5", batch_size=1)
    assert of_kind(events, RequestStarted)[0].parameters == {}
    assert [(event.api, event.outcome) for event in of_kind(events, RequestEnded)] == [("embeddings", "answered")] * 2


async def test_a_cached_answer_is_told(clock: FakeClock, events: list[Any]) -> None:
    """Whether an answer came from a cache is what the layers below say of it."""

    async def cached(request: ChatRequest) -> Any:
        request.cached = True
        raise LMStudioError("enough")

    core: Any = LMStudioAdapter("llama3", observers=[events.append])
    layer = watching([events.append], events.append, clock)[0][0]
    with pytest.raises(LMStudioError):
        await layer(core._request("stream", "hi", None, {}, streaming=True), cached)
    assert events[-1].cached is True


class Listener:
    """Takes content, if it asked for it."""

    def __init__(self, wants_content: object) -> None:
        self.wants_content = wants_content
        self.events: list[Any] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)


@pytest.mark.parametrize("streaming", [False, True])
async def test_content_is_for_those_who_ask(lmstudio: Simulator, streaming: bool) -> None:
    """What was said is told to an observer that asked for it, and to no other, whatever else is true of that."""
    asks, does_not = Listener(True), Listener("yes")
    lmstudio.answer(Answer("the answer", reasoning="the thought", chunk_size=3))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, observers=[does_not, asks]) as adapter:
        if streaming:
            await adapter.stream("the question").whole()
        else:
            await adapter.generate_completion("the question")
    sent, received = of_kind(asks.events, ContentEvent)
    assert isinstance(sent, PromptSent)
    assert sent.messages[-1].content == "the question"
    assert isinstance(received, AnswerReceived)
    assert (received.text, received.reasoning) == ("the answer", "the thought")
    assert [type(event) for event in asks.events][:2] == [RequestStarted, PromptSent]
    assert [type(event) for event in asks.events][-2:] == [AnswerReceived, RequestEnded]
    assert not of_kind(does_not.events, ContentEvent)
    told = repr(does_not.events)
    assert not any(word in told for word in ("question", "answer'", "the thought"))


async def test_a_broken_stream_has_content(lmstudio: Simulator) -> None:
    """What came of an answer that broke off is told to who asked for it."""
    listener = Listener(True)
    lmstudio.answer(Answer(chunks=["one ", "two"], stream_fault=StreamFault("cut", after=1)))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, observers=[listener]) as adapter:
        with pytest.raises(LMStudioError):
            await adapter.stream("hi").whole()
    assert of_kind(listener.events, AnswerReceived)[0].text == "one "


async def test_an_observer_may_add_headers(lmstudio: Simulator, clock: FakeClock) -> None:
    """What an observer puts into the headers of an attempt is sent with that attempt; the caller's own win."""

    def tag(event: Event) -> None:
        if isinstance(event, AttemptStarted):
            event.headers["x-attempt"] = str(event.attempt)
            event.headers["x-mine"] = "observer"

    lmstudio.fail(Fail(500))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock, observers=[tag]) as adapter:
        await adapter.generate_completion("hi", extra_headers={"x-mine": "caller"})
    assert [chat.headers["x-attempt"] for chat in chats(lmstudio)] == ["1", "2"]
    assert {chat.headers["x-mine"] for chat in chats(lmstudio)} == {"caller"}


async def test_nobody_listens(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Without observers a request has no id, and its pipe no layer that watches."""
    response = await adapter.generate_completion("hi")
    assert response.request_id == ""


async def test_ids_are_unique(watched: LMStudioAdapter, events: list[Any]) -> None:
    """Requests that run side by side have ids of their own."""
    made: list[Callable[[], Any]] = [lambda: watched.generate_completion("hi")] * 20
    responses = await asyncio.gather(*(make() for make in made))
    assert len({response.request_id for response in responses}) == 20
