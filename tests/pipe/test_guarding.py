from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from conftest import chats
from neuroroute import (
    AnyMessage,
    Event,
    GuardRefused,
    LMStudioAdapter,
    MemoryCache,
    ModelContentFilteredError,
    ModelInvalidRequestError,
    ModelQuotaExceededError,
    ModelResponse,
    ModelTimeoutError,
    StreamInterruptedError,
    SyncLMStudioAdapter,
    tool,
)
from neuroroute.simulator import Answer, Simulator, StreamFault

if TYPE_CHECKING:
    from collections.abc import Callable


def no_secret(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> str | None:
    return "it has a secret" if any("secret" in message.text for message in messages) else None


async def no_secret_either(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> bool:
    return not any("secret" in message.text for message in messages)


class Raising:
    def before(self, messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> None:
        if no_secret(messages, options):
            raise ValueError("it has a secret")


class NoCurse:
    """Looks at answers alone."""

    def __init__(self) -> None:
        self.seen: list[ModelResponse] = []

    async def after(self, response: ModelResponse) -> str | None:
        self.seen.append(response)
        return "it curses" if "curse" in response.text else None


def guarded(lmstudio: Simulator, *guards: Any, **more: Any) -> LMStudioAdapter:
    return LMStudioAdapter("llama3", base_url=lmstudio.url, guards=guards, max_retries=0, **more)


@pytest.mark.parametrize(
    ("guard", "name", "why"),
    [
        (no_secret, "no_secret", ": it has a secret"),
        (no_secret_either, "no_secret_either", ""),
    ],
)
async def test_a_request_is_refused(lmstudio: Simulator, guard: Any, name: str, why: str) -> None:
    """A guard refuses with a reason, False or an exception: a typed error, before anything is sent, streams too."""
    events: list[Event] = []
    async with guarded(lmstudio, guard, observers=[events.append]) as adapter:
        with pytest.raises(ModelContentFilteredError) as caught:
            await adapter.generate_completion("a secret")
        with pytest.raises(ModelContentFilteredError):
            await adapter.stream("a secret").whole()
        chunks = [chunk async for chunk in adapter.generate_completion_stream("a secret")]
        assert isinstance(chunks[-1].exception, ModelContentFilteredError)
        assert lmstudio.requests == []
        assert (await adapter.generate_completion("hi")).text == "You said: hi"
    error = caught.value
    assert error.message == f"the guard {name} refused the request{why}"
    assert (error.code, error.retryable, error.partial) == ("MODEL_CONTENT_FILTERED", False, None)
    assert error.details == {"guard": name, "stage": "before", "failed": False}
    told = [event for event in events if isinstance(event, GuardRefused)]
    assert [(event.host, event.guard, event.stage) for event in told] == [(error.host, name, "before")] * 3
    assert len({event.request_id for event in told} - {""}) == 3


async def test_a_guard_that_fails_is_told_as_such(lmstudio: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """What a guard raises refuses, too, and is told as a failure: where, and not in its words, which may quote."""
    events: list[Event] = []
    async with guarded(lmstudio, Raising(), observers=[events.append]) as adapter:
        with pytest.raises(ModelContentFilteredError, match=r"the guard Raising failed, .*: ValueError in ") as caught:
            await adapter.generate_completion("a secret")
    assert caught.value.details == {"guard": "Raising", "stage": "before", "failed": True}
    assert isinstance(caught.value.__cause__, ValueError)
    assert "it has a secret" not in str(caught.value) + caplog.text
    assert "the guard Raising failed at the request: ValueError in " in caplog.text
    assert [event.failed for event in events if isinstance(event, GuardRefused)] == [True]
    assert lmstudio.requests == []


async def test_a_whole_answer_is_refused(lmstudio: Simulator) -> None:
    """A whole answer that is refused is not handed out, not even in the error."""
    guard = NoCurse()
    lmstudio.answer("a curse")
    lmstudio.answer(Answer("fine", reasoning="hm"))
    async with guarded(lmstudio, guard) as adapter:
        with pytest.raises(
            ModelContentFilteredError, match="the guard NoCurse refused the answer: it curses"
        ) as caught:
            await adapter.generate_completion("hi")
        response = await adapter.generate_completion("hi")
        assert adapter._core.hosts.all[0].model("llama3").gate.is_idle
    assert caught.value.partial is None
    assert len(guard.seen) == 2
    seen = guard.seen[1]
    assert (seen.text, seen.reasoning, seen.tokens, seen.messages) == ("fine", "hm", response.tokens, response.messages)


async def test_a_stream_is_refused_at_its_end(lmstudio: Simulator) -> None:
    """Of a stream the chunks have been handed out when a guard sees it whole: the end is an error in place of it."""
    guard = NoCurse()
    async with guarded(lmstudio, guard) as adapter:
        for text in ("one curse two", "one two"):
            lmstudio.answer(Answer(text, chunk_size=1))
        stream = adapter.stream("hi")
        texts: list[str] = []
        with pytest.raises(ModelContentFilteredError) as caught:
            async for chunk in stream:
                texts.append(chunk.chunk)
        assert (await adapter.stream("hi").whole()).text == "one two"
    assert "".join(texts) == "one curse two"
    assert caught.value.partial is not None
    assert [response.text for response in guard.seen] == ["one curse two", "one two"]


async def test_a_stream_that_breaks_is_not_judged(lmstudio: Simulator) -> None:
    """What broke off is no answer: its own error is told, and no guard is asked."""
    guard = NoCurse()
    lmstudio.answer(Answer(chunks=["one ", "two"], stream_fault=StreamFault("cut", after=1)))
    async with guarded(lmstudio, guard) as adapter:
        with pytest.raises(StreamInterruptedError):
            await adapter.stream("hi").whole()
    assert guard.seen == []


async def test_a_continued_stream_is_judged_whole(lmstudio: Simulator) -> None:
    """Of a stream that was continued, a guard sees all the text."""
    guard = NoCurse()
    lmstudio.answer(Answer(chunks=["one ", "two ", "three"], stream_fault=StreamFault("cut", after=2)))
    lmstudio.answer("three")
    async with guarded(lmstudio, guard) as adapter:
        stream = adapter.stream("hi", continue_stream=True, max_retries=1)
        assert "".join([chunk.chunk async for chunk in stream]) == "one two three"
    assert [response.text for response in guard.seen] == ["one two three"]


async def test_the_cache_is_guarded(lmstudio: Simulator) -> None:
    """What comes from the cache is judged as what comes from the model, and so is what would be looked up."""
    guard = NoCurse()
    lmstudio.answer("a curse")
    async with guarded(lmstudio, no_secret, guard, cache=MemoryCache()) as adapter:
        for _ in range(2):
            with pytest.raises(ModelContentFilteredError):
                await adapter.generate_completion("hi")
    assert [response.cached for response in guard.seen] == [False, True]
    assert len(chats(lmstudio)) == 1


@tool
def look() -> str:
    """Looks."""
    return "a secret"


async def test_results_of_tools_are_guarded(lmstudio: Simulator) -> None:
    """Every round of tools is seen: a result that must not be sent is not."""
    lmstudio.answer(Answer(tool_calls=[("look", {})]))
    async with guarded(lmstudio, no_secret) as adapter:
        with pytest.raises(ModelContentFilteredError):
            await adapter.run_tools("hi", tools=[look], max_rounds=1)
    assert len(chats(lmstudio)) == 1


async def test_texts_to_embed_are_guarded(lmstudio: Simulator) -> None:
    """What is sent to be embedded is seen as messages; vectors are not shown to guards."""
    guard = NoCurse()
    async with guarded(lmstudio, no_secret, guard) as adapter:
        with pytest.raises(ModelContentFilteredError):
            await adapter.embed(["fine", "a secret"], model="auto")
        assert len(await adapter.embed(["fine"], model="auto")) == 1
    assert guard.seen == []


async def test_a_guard_sees_what_is_sent(lmstudio: Simulator) -> None:
    """Messages with the system message, and the options; it can change neither."""
    seen: list[Any] = []

    def look_at(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> None:
        seen.append([(message.role, message.text) for message in messages])
        seen.append(options["temperature"])
        with pytest.raises(TypeError):
            options["temperature"] = 2  # type: ignore[index]

    async with guarded(lmstudio, look_at, temperature=0.1) as adapter:
        await adapter.generate_completion("hi")
    assert seen == [[("system", "You are a helpful assistant."), ("user", "hi")], 0.1]


async def test_an_error_of_ours_is_handed_on(lmstudio: Simulator) -> None:
    """A guard that raises one of this library's errors has chosen what the caller sees."""

    def quota(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> None:
        raise ModelQuotaExceededError("enough for today")

    async with guarded(lmstudio, quota) as adapter:
        with pytest.raises(ModelQuotaExceededError, match="enough for today"):
            await adapter.generate_completion("hi")


@pytest.mark.parametrize("verdict", [5, b"no", ["no"], {}])
async def test_a_guard_that_says_nothing_clear_refuses(lmstudio: Simulator, verdict: Any) -> None:
    """What is no verdict lets nothing through."""
    async with guarded(lmstudio, lambda messages, options: verdict) as adapter:
        with pytest.raises(ModelContentFilteredError, match="must return True, None, False or a reason") as caught:
            await adapter.generate_completion("hi")
    assert isinstance(caught.value.__cause__, TypeError)
    assert lmstudio.requests == []


async def hangs(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> None:
    await asyncio.Event().wait()


def blocks(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> None:
    time.sleep(0.1)


@pytest.mark.parametrize("guard", [hangs, blocks])
async def test_a_guard_s_time_is_the_request_s(lmstudio: Simulator, guard: Callable[..., Any]) -> None:
    """A guard that takes longer than the request may is not waited for, and holds up nothing else."""
    async with guarded(lmstudio, guard) as adapter:
        began = time.perf_counter()
        with pytest.raises(ModelTimeoutError, match="did not answer within timeout_ms=20"):
            await adapter.generate_completion("hi", timeout_ms=20)
        assert time.perf_counter() - began < 0.09
    assert lmstudio.requests == []


async def test_the_time_of_a_guard_counts(lmstudio: Simulator) -> None:
    """What a guard took is taken from the request's time."""
    lmstudio.answer(Answer("late", delay=0.1))

    async def slow(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> None:
        await asyncio.sleep(0.1)

    async with guarded(lmstudio, slow) as adapter:
        with pytest.raises(ModelTimeoutError, match="the answer did not come within timeout_ms=150"):
            await adapter.generate_completion("hi", timeout_ms=150)


@pytest.mark.parametrize("wrong", [5, "no", [5], [None], [NoCurse], no_secret, {no_secret}, [lambda: 1], [lambda m: 1]])
def test_what_is_no_guard_is_refused(wrong: Any) -> None:
    """An adapter says what a guard must be."""
    with pytest.raises(ModelInvalidRequestError, match="guards must be a list of functions"):
        LMStudioAdapter("llama3", guards=wrong)


def test_without_asyncio(lmstudio: Simulator) -> None:
    """The blocking adapter is guarded the same."""
    with (
        SyncLMStudioAdapter("llama3", base_url=lmstudio.url, guards=[no_secret, NoCurse()]) as adapter,
        pytest.raises(ModelContentFilteredError),
    ):
        adapter.generate_completion("a secret")
