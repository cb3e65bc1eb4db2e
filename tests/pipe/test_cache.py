from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pydantic import BaseModel, field_validator

from conftest import chats
from neuroroute import (
    CacheLooked,
    CacheStored,
    Event,
    LMStudioAdapter,
    LMStudioError,
    MemoryCache,
    ModelInvalidRequestError,
    ModelResponse,
    ModelTimeoutError,
    SQLiteCache,
    StructuredOutputError,
    tool,
)
from neuroroute.pipe import cache as layer
from neuroroute.pipe.cache import Entry
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator, StreamFault
from neuroroute.wire.decode import AnswerDecoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SEVERAL = {
    "text": Answer("Hello there, friend.\n\n  Bye."),
    "reasoning": Answer("42", reasoning="let me  think"),
    "think": Answer("42", reasoning="let me think", reasoning_form="think", chunk_size=3),
    "not ASCII": Answer('naïve 日本語 🙂 \n\t"quoted"', chunk_size=1),
    "no usage": Answer("uncounted", usage={}),
}


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def cached(lmstudio: Simulator, events: list[Event]) -> AsyncIterator[LMStudioAdapter]:
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, cache=MemoryCache(), observers=[events.append], max_retries=0
    ) as made:
        yield made


def outcomes(events: list[Event]) -> list[str]:
    return [event.outcome for event in events if isinstance(event, (CacheLooked, CacheStored))]


async def streamed(adapter: LMStudioAdapter, prompt: str, **options: Any) -> tuple[list[str], ModelResponse]:
    async with adapter.stream(prompt, **options) as stream:
        texts = [chunk.chunk or chunk.reasoning async for chunk in stream]
    return texts, stream.response


def alike(one: ModelResponse, other: ModelResponse) -> None:
    """The same answer in every field but how it came."""
    for name in ModelResponse.__struct_fields__:
        if name not in ("processing_time", "stats", "raw_json", "cached", "attempts", "request_id"):
            assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize("answer", SEVERAL.values(), ids=SEVERAL)
@pytest.mark.parametrize("first", ["whole", "stream"])
@pytest.mark.parametrize("api", ["chat", "responses", "native"])
async def test_the_same_answer_again(
    cached: LMStudioAdapter, lmstudio: Simulator, events: list[Event], answer: Answer, first: str, api: Any
) -> None:
    """What was answered, whole or as a stream, is given again both ways, and nothing more is asked."""
    lmstudio.answer(answer)
    if first == "whole":
        given = await cached.generate_completion("hi", api=api)
    else:
        _, given = await streamed(cached, "hi", api=api)
    whole = await cached.generate_completion("hi", api=api)
    texts, stream = await streamed(cached, "hi", api=api)
    asked = [request for request in lmstudio.requests if request.method == "POST"]
    assert len(asked) == 1
    assert outcomes(events) == ["miss", "stored", "hit", "hit"]
    assert (given.cached, whole.cached, stream.cached) == (False, True, True)
    assert (given.attempts, whole.attempts, stream.attempts) == (1, 0, 0)
    alike(given, whole)
    alike(given, stream)
    assert "".join(texts) == given.reasoning + given.text
    assert len(texts) - 1 == len(given.text.split()) + len(given.reasoning.split())
    assert whole.raw == stream.raw == given.raw


async def test_without_a_cache_nothing_is_kept(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Off by default: every request is asked, also two at the same time."""
    await asyncio.gather(adapter.generate_completion("hi"), adapter.generate_completion("hi"))
    assert not (await adapter.generate_completion("hi")).cached
    assert len(chats(lmstudio)) == 3


async def test_the_modes(cached: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Refresh asks anew and keeps that; off neither looks nor keeps, nor shares what is in the air."""
    for text in ("one", "two", "three", "four", "five"):
        lmstudio.answer(text)
    texts = [
        (await cached.generate_completion("hi", cache_mode=mode)).text
        for mode in ("off", "read", "read", "refresh", "read", "off", "read")
    ]
    assert texts == ["one", "two", "two", "three", "three", "four", "three"]
    lmstudio.script(lambda request: "again")
    await asyncio.gather(*(cached.generate_completion("hi", cache_mode="off") for _ in range(3)))
    assert len(chats(lmstudio)) == 7


@tool
def look(city: str) -> str:
    """Looks at a city.

    Args:
        city: which.
    """
    return "sunny"


ODD = {
    "cut": (Answer("Once upon", finish_reason="length"), {}),
    "a call": (Answer(tool_calls=[("look", {"city": "Paris"})]), {"tools": [look]}),
    "a call in the text": (
        Answer('<tool_call>{"name": "look", "arguments": {"city": "Paris"}}</tool_call>'),
        {"tools": [look]},
    ),
    "a call in the older form": (
        Answer(tool_calls=[("look", {"city": "Paris"})]),
        {"functions": [look.definition.function]},
    ),
    "another model": (Answer("hm", model="llama3.1"), {}),
    "a blank": (Answer("\n"), {}),
    "nothing but reasoning": (Answer("", reasoning="hm"), {}),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(("answer", "options"), ODD.values(), ids=ODD)
async def test_what_is_no_whole_answer_is_not_kept(
    cached: LMStudioAdapter,
    lmstudio: Simulator,
    events: list[Event],
    answer: Answer,
    options: dict[str, Any],
    streaming: bool,
) -> None:
    """Truncated answers, calls, another model's answers and empty ones are asked for again."""
    for _ in range(2):
        lmstudio.answer(answer)
        if streaming:
            await streamed(cached, "hi", **options)
        else:
            await cached.generate_completion("hi", **options)
    assert outcomes(events) == ["miss", "unfit"] * 2


async def test_errors_are_not_kept(cached: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """A failure, a stream that broke off, and an answer that is not of its type are asked for again."""
    lmstudio.fail(Fail(500, {"error": "no"}))
    lmstudio.answer(Answer(chunks=["one ", "two"], stream_fault=StreamFault("cut", after=1)))
    lmstudio.answer("no number")
    lmstudio.answer("5")
    with pytest.raises(LMStudioError, match="no"):
        await cached.generate_completion("hi")
    with pytest.raises(LMStudioError) as caught:
        await streamed(cached, "hi")
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one "
    with pytest.raises(StructuredOutputError):
        await cached.generate_completion("hi", response_format=int)
    assert (await cached.generate_completion("hi", response_format=int)).parsed == 5
    assert (await cached.generate_completion("hi", response_format=int)).parsed == 5
    assert outcomes(events) == ["miss", "miss", "miss", "unfit", "miss", "stored", "hit"]


async def test_a_stream_that_was_continued_is_not_kept(
    cached: LMStudioAdapter, lmstudio: Simulator, events: list[Event]
) -> None:
    """An answer that was glued together is given once."""
    lmstudio.answer(Answer(chunks=["one ", "two ", "three"], stream_fault=StreamFault("cut", after=2)))
    lmstudio.answer("three")
    _, response = await streamed(cached, "hi", continue_stream=True, max_retries=1)
    assert response.text == "one two three"
    assert outcomes(events) == ["miss", "unfit"]


async def test_a_stream_that_is_left_is_not_kept(
    cached: LMStudioAdapter, lmstudio: Simulator, events: list[Event]
) -> None:
    """Who leaves alone stops the server, and nothing is kept of the half."""
    lmstudio.answer(Answer(chunks=["one ", "two"], stream_fault=StreamFault("hang", after=1)))
    async with cached.stream("hi") as stream:
        async for _ in stream:
            break
    await lmstudio.requests[0].wait_ended(1)
    assert lmstudio.requests[0].closed_early
    lmstudio.answer("whole")
    assert (await cached.generate_completion("hi")).text == "whole"
    assert outcomes(events) == ["miss", "miss", "stored"]


async def test_a_history_that_was_trimmed_is_not_kept(lmstudio: Simulator, events: list[Event]) -> None:
    """An answer to less than was asked is not the answer to that."""
    lmstudio.models[:] = [SimulatedModel("llama3", loaded=True, context_length=100)]
    history = [{"role": role, "content": f"{n} " * 20} for n in range(3) for role in ("user", "assistant")]
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, cache=MemoryCache(), observers=[events.append], on_overflow="trim"
    ) as adapter:
        response = await adapter.generate_completion("hi", messages=history, max_tokens=10)
    assert [note.code for note in response.notes] == ["HISTORY_TRIMMED"]
    assert len(response.messages) < len(history)
    assert outcomes(events) == ["miss", "unfit"]


async def test_rounds_of_tools_are_asked_for(cached: LMStudioAdapter, lmstudio: Simulator, events: list[Event]) -> None:
    """What a tool found may be another thing tomorrow: an answer to results is neither kept nor shared."""
    for _ in range(2):
        lmstudio.answer(Answer(tool_calls=[("look", {"city": "Paris"})]))
        lmstudio.answer("sunny")
        assert (await cached.run_tools("hi", tools=[look], max_rounds=2)).text == "sunny"
    assert len(chats(lmstudio)) == 4
    assert outcomes(events) == ["miss", "unfit"] * 2


async def test_what_the_server_s_tools_find_is_not_kept(
    cached: LMStudioAdapter, lmstudio: Simulator, events: list[Event]
) -> None:
    """A request whose tools the server may run passes the cache by, whether or not it runs one."""
    for _ in range(2):
        await cached.generate_completion("hi", api="native", integrations=["mcp/playwright"])
    assert outcomes(events) == []


async def test_what_reads_back_otherwise_is_not_kept(
    cached: LMStudioAdapter, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer whose raw form tells another thing than its chunks is given once."""
    monkeypatch.setattr(AnswerDecoder, "raw", lambda self, folded: msgspec.Raw(FINE))
    assert (await cached.stream("hi").whole()).text == "You said: hi"
    assert outcomes(events) == ["miss", "unfit"]


async def test_the_time_of_a_look_counts(lmstudio: Simulator) -> None:
    """What the cache took is taken from the request's time."""

    class Slow(Sick):
        async def get(self, key: str) -> Any:
            await asyncio.sleep(0.1)

    lmstudio.answer(Answer("late", delay=0.1))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, cache=Slow(), max_retries=0) as adapter:
        with pytest.raises(ModelTimeoutError):
            await adapter.generate_completion("hi", timeout_ms=150)


@pytest.mark.parametrize("api", ["native", "responses"])
async def test_what_the_server_remembers_is_not_kept(
    cached: LMStudioAdapter, lmstudio: Simulator, events: list[Event], api: Any
) -> None:
    """A request that goes on from what the server remembers passes the cache by."""
    first = await cached.generate_completion("hi", api=api)
    for _ in range(2):
        assert not (await cached.generate_completion("and?", previous=first, api=api)).cached
    assert outcomes(events) == ["miss", "stored"]
    assert (await cached.generate_completion("hi", api=api)).response_id == first.response_id


async def test_a_conversation_is_cached_by_its_history(cached: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Two conversations that go alike are answered once."""
    for _ in range(2):
        chat = cached.conversation()
        await chat.ask("one")
        last = await chat.ask("two")
    assert last.cached
    assert len(chats(lmstudio)) == 2


async def test_auto_is_kept_under_the_model_that_it_means(
    lmstudio: Simulator, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of model="auto" the answer is given again while the same model is loaded, and to who asks for it by name."""
    monkeypatch.setattr("neuroroute.pipe.selecting._MAX_AGE", 0.0)
    lmstudio.models[:] = [SimulatedModel("llama3", loaded=True)]
    async with LMStudioAdapter(
        "auto", base_url=lmstudio.url, cache=MemoryCache(), observers=[events.append]
    ) as adapter:
        assert (await adapter.generate_completion("hi")).model == "llama3"
        assert (await adapter.generate_completion("hi")).cached
        assert (await adapter.generate_completion("hi", model="llama3")).cached
        lmstudio.models[:] = [SimulatedModel("qwen3-8b", loaded=True)]
        other = await adapter.generate_completion("hi")
    assert (other.model, other.cached) == ("qwen3-8b", False)
    assert outcomes(events) == ["miss", "stored", "hit", "hit", "miss", "stored"]


async def test_notes_come_again(lmstudio: Simulator) -> None:
    """What was noted on the way to an answer is noted of it again, once."""
    lmstudio.models[:] = [SimulatedModel("llama3", loaded=True, tools=False)]
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, cache=MemoryCache()) as adapter:
        first = await adapter.generate_completion("hi", tools=[look])
        second = await adapter.generate_completion("hi", tools=[look])
    assert [note.code for note in first.notes] == ["CAPABILITY_MISSING"]
    assert (second.notes, second.cached) == (first.notes, True)


class Sick:
    """A cache that does what it is told to in place of its work."""

    def __init__(self, *, get: Any = None, put: Any = None) -> None:
        self.acts = {"get": get, "put": put}
        self.forgotten: list[str] = []

    async def act(self, what: Any) -> Any:
        if isinstance(what, Exception):
            raise what
        if what == "hang":
            await asyncio.Event().wait()
        return what

    async def get(self, key: str) -> Any:
        return await self.act(self.acts["get"])

    async def put(self, key: str, value: bytes) -> None:
        await self.act(self.acts["put"])

    async def delete(self, key: str) -> None:
        self.forgotten.append(key)


@pytest.mark.parametrize("what", [OSError("a secret"), "hang"])
async def test_a_sick_cache_fails_no_request(
    lmstudio: Simulator,
    events: list[Event],
    what: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A cache that raises or hangs costs at most its time limit, twice; who listens is told the kind of failure."""
    monkeypatch.setattr(layer, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(layer, "PUT_SECONDS", 0.04)
    cache = Sick(get=what, put=what)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, cache=cache, observers=[events.append]) as adapter:
        assert (await adapter.generate_completion("hi")).text == "You said: hi"
        await asyncio.sleep(0.04)
    assert outcomes(events) == ["failed", "failed"]
    kinds = {event.error for event in events if isinstance(event, (CacheLooked, CacheStored))}
    assert kinds == {"OSError" if isinstance(what, OSError) else "TimeoutError"}
    assert "secret" not in caplog.text


FINE = msgspec.json.encode({"model": "llama3", "choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]})


def entry(body: Any, model: str = "llama3", finish: str = "stop") -> bytes:
    if isinstance(body, str):
        choice = {"message": {"content": body}, "finish_reason": finish}
        body = msgspec.json.encode({"model": model, "choices": [choice]})
    return msgspec.msgpack.encode(Entry(model=model, host="h", body=body))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\x00",
        "a text",
        5,
        msgspec.msgpack.encode(["llama3", "h"]),
        entry(b"{}"),
        entry(b"\xff"),
        entry(b'{"error": "no"}'),
        entry(""),
        entry("cut", finish="length"),
        entry("another's", model="qwen3-8b"),
        msgspec.msgpack.encode(Entry(model="qwen3-8b", host="h", body=FINE)),
    ],
)
async def test_a_poisoned_entry_is_a_miss(lmstudio: Simulator, events: list[Event], value: Any) -> None:
    """What cannot be read, or is none to give, is forgotten, and the model is asked."""
    cache = Sick(get=value)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, cache=cache, observers=[events.append]) as adapter:
        response = await adapter.generate_completion("hi")
    assert (response.text, response.cached) == ("You said: hi", False)
    assert (outcomes(events), len(cache.forgotten)) == (["miss", "stored"], 1)


async def test_a_good_entry_is_given(lmstudio: Simulator) -> None:
    """The cases above fail for what is wrong with them, not for how they are made."""
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, cache=Sick(get=entry("fine"))) as adapter:
        assert (await adapter.generate_completion("hi")).text == "fine"
    assert lmstudio.requests == []


async def test_a_file_serves_who_comes_later(tmp_path: Path) -> None:
    """An adapter that is closed right after its answer has kept it; another finds it, although the server is gone."""
    async with Simulator() as lmstudio:
        url = lmstudio.url
        async with (
            SQLiteCache(tmp_path / "db") as cache,
            LMStudioAdapter("llama3", base_url=url, cache=cache) as adapter,
        ):
            first = await adapter.generate_completion("hi")
    async with SQLiteCache(tmp_path / "db") as cache, LMStudioAdapter("llama3", base_url=url, cache=cache) as adapter:
        again = await adapter.generate_completion("hi")
    assert (first.cached, again.cached) == (False, True)
    alike(first, again)


@pytest.mark.parametrize("streaming", [False, True])
async def test_no_prompt_lies_in_the_file(lmstudio: Simulator, tmp_path: Path, streaming: bool) -> None:
    """Of what was asked, a cache has a hash; of what was answered, all."""
    lmstudio.answer("the answer")
    async with (
        SQLiteCache(tmp_path / "db") as cache,
        LMStudioAdapter("llama3", base_url=lmstudio.url, cache=cache, api_token="canary-key") as adapter,
    ):
        if streaming:
            await adapter.stream("canary").whole()
        else:
            await adapter.generate_completion("canary", system_message="canary")
        files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"the answer" in files
    assert b"canary" not in files


async def test_a_database_of_others_is_a_miss(lmstudio: Simulator, events: list[Event], tmp_path: Path) -> None:
    """A path that leads to something else costs the cache, not the answer."""
    (tmp_path / "diary").write_text("Dear diary, " * 10)
    async with (
        SQLiteCache(tmp_path / "diary") as cache,
        LMStudioAdapter("llama3", base_url=lmstudio.url, cache=cache, observers=[events.append]) as adapter,
    ):
        assert (await adapter.generate_completion("hi")).text == "You said: hi"
    assert outcomes(events) == ["failed", "failed"]


@pytest.mark.parametrize("wrong", [5, "memory", dict, {}, MemoryCache, SQLiteCache])
def test_what_is_no_cache_is_refused(wrong: Any) -> None:
    """An adapter says what a cache must have."""
    with pytest.raises(ModelInvalidRequestError, match="cache must be an object such as MemoryCache"):
        LMStudioAdapter("llama3", cache=wrong)


async def test_embeddings_and_warming_up_pass_it_by(cached: LMStudioAdapter, events: list[Event]) -> None:
    """Vectors are not kept, and a model is not warmed up by a kept answer."""
    for _ in range(2):
        await cached.embed("hi", model="text-embedding-nomic-embed-text-v1.5")
        await cached.warm_up(ttl=60)
    assert outcomes(events) == []


class Lax(BaseModel):
    n: int


class Strict(Lax):
    @field_validator("n")
    @classmethod
    def is_small(cls, n: int) -> int:
        if n > 3:
            raise ValueError
        return n


Strict.__name__ = "Lax"  # so that their schemas are the same


async def test_a_hit_is_of_the_type_asked_for(
    cached: LMStudioAdapter, lmstudio: Simulator, events: list[Event]
) -> None:
    """An answer that another type of the same schema took, and this one does not, is a miss, and asked for anew."""
    lmstudio.answer('{"n": 5}')
    lmstudio.answer('{"n": 2}')
    assert (await cached.generate_completion("hi", response_format=Lax)).parsed == Lax(n=5)
    assert (await cached.generate_completion("hi", response_format=Strict)).parsed.n == 2
    assert outcomes(events) == ["miss", "stored", "miss", "stored"]


async def test_a_file_that_cannot_be_used_says_why_once(
    lmstudio: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cache's file that is something else is named in one warning, with what to do; requests go on."""
    (tmp_path / "diary").write_text("Dear diary, " * 100)
    async with (
        SQLiteCache(tmp_path / "diary") as cache,
        LMStudioAdapter("llama3", base_url=lmstudio.url, cache=cache) as adapter,
    ):
        for _ in range(3):
            assert (await adapter.generate_completion("hi")).text == "You said: hi"
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "diary is no cache of NeuroRoute's. Give another path." in warning
