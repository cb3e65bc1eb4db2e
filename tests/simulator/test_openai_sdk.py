"""What the openai SDK makes of LM Studio's failures: an example of testing somebody else's client.

docs/testing-clients.md tells of it, and each of its claims is a test here.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import openai
import pytest

from neuroroute.simulator import (
    Answer,
    Blackhole,
    Cut,
    Fail,
    FaultPlan,
    Freeze,
    Latency,
    Refuse,
    Reset,
    Slicer,
    StreamFault,
    Unknowns,
    WholeFault,
    parse_fault,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuroroute.simulator import ChaosProxy, NetworkFault, Simulator

STORY = Answer("Once upon a žluťoučký kůň")


@pytest.fixture
def client(lmstudio: Simulator) -> Iterator[openai.OpenAI]:
    lmstudio.script(lambda _: STORY)
    with openai.OpenAI(base_url=lmstudio.url, api_key="unused") as made:
        yield made


@pytest.fixture
def shaken(lmstudio: Simulator, lmstudio_chaos: ChaosProxy) -> Iterator[openai.OpenAI]:
    """A client behind the chaos proxy that does not retry, so that a failure is seen at once."""
    lmstudio.script(lambda _: STORY)
    with openai.OpenAI(base_url=lmstudio_chaos.url, api_key="unused", max_retries=0, timeout=2) as made:
        yield made


def ask(client: openai.OpenAI) -> str | None:
    answer = client.chat.completions.create(model="llama3", messages=[{"role": "user", "content": "A story!"}])
    return answer.choices[0].message.content


def told(client: openai.OpenAI, into: list[str]) -> str | None:
    """Reads a stream; returns its finish reason."""
    reason = None
    messages = [{"role": "user", "content": "A story!"}]
    for chunk in client.chat.completions.create(model="llama3", messages=messages, stream=True):
        into.append(chunk.choices[0].delta.content or "")
        reason = chunk.choices[0].finish_reason or reason
    return reason


# ── Answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_in_a_200_is_an_answer_without_choices(lmstudio: Simulator) -> None:
    """A base URL without /v1 is a 200 with an error in it: no exception, and ``choices`` is None."""
    with openai.OpenAI(base_url=lmstudio.origin, api_key="unused") as client:
        answer = client.chat.completions.create(model="llama3", messages=[])
        assert answer.choices is None
        assert "Unexpected endpoint" in str(answer.model_extra)
        assert list(client.chat.completions.create(model="llama3", messages=[], stream=True)) == []


@pytest.mark.parametrize("word", ["model_unloaded", "unloaded_in_queue", "startup_aborted", "crash_null"])
def test_a_transient_400_is_not_retried(lmstudio: Simulator, client: openai.OpenAI, word: str) -> None:
    """What a second attempt would mend is a BadRequestError after the first, whose text does not say what it was."""
    FaultPlan(f"{word}@1").apply(lmstudio)
    with pytest.raises(openai.BadRequestError) as failed:
        ask(client)
    assert str(failed.value) == "Error code: 400"
    assert failed.value.body == parse_fault(word).effect.message
    assert len(lmstudio.requests) == 1
    assert ask(client) == STORY.text


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_other_statuses_are_retried_twice(lmstudio: Simulator, client: openai.OpenAI, status: int) -> None:
    """These statuses are tried three times in all, and ``retry-after-ms`` is obeyed."""
    lmstudio.fail(Fail(status, headers={"retry-after-ms": "1"}), times=2)
    assert ask(client) == STORY.text
    assert len(lmstudio.requests) == 3


def test_a_connection_closed_before_the_answer_is_retried(lmstudio: Simulator, client: openai.OpenAI) -> None:
    """A connection that ends without a byte of an answer is asked again."""
    lmstudio.fail(Fail(silent="close"))
    assert ask(client) == STORY.text
    assert len(lmstudio.requests) == 2


def test_a_truncated_body_is_an_error_of_the_json_module(lmstudio: Simulator, client: openai.OpenAI) -> None:
    """JSON that stops in the middle is no error of openai's: ``except openai.OpenAIError`` lets it through."""
    lmstudio.answer(Answer("Hello", whole_fault=WholeFault("end", after=30)))
    with pytest.raises(json.JSONDecodeError):
        ask(client)


# ── Streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_event_is_raised(lmstudio: Simulator, client: openai.OpenAI) -> None:
    """An error in the middle of a stream is an APIError with its words, not one of the status classes; not retried."""
    FaultPlan("stream:error:2").apply(lmstudio)
    got: list[str] = []
    with pytest.raises(openai.APIError, match="The model has crashed") as failed:
        told(client, got)
    assert type(failed.value) is openai.APIError
    assert (got, len(lmstudio.requests)) == (["Once", " upon"], 1)


def test_an_end_without_done_is_no_error(lmstudio: Simulator, client: openai.OpenAI) -> None:
    """A stream that ends early, but cleanly, is a short answer; only the missing finish reason tells."""
    lmstudio.answer(Answer("one two three", stream_fault=StreamFault("end", after=2)))
    lmstudio.answer(Answer("one two three", stream_fault=StreamFault("no_done")))
    cut: list[str] = []
    assert told(client, cut) is None
    assert cut == ["one", " two"]
    assert told(client, []) == "stop"


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_connection_lost_in_a_stream_is_raised(lmstudio: Simulator, client: openai.OpenAI, kind: str) -> None:
    """A stream whose connection breaks is an APIConnectionError, after what had come; it is not retried."""
    FaultPlan(f"stream:{kind}:2").apply(lmstudio)
    got: list[str] = []
    with pytest.raises(openai.APIConnectionError):
        told(client, got)
    assert got == ["Once", " upon"]
    assert len(lmstudio.requests) == 1


# ── The network ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", [Slicer(3), Latency(20, 10)], ids=str)
def test_torn_and_late_bytes_do_no_harm(shaken: openai.OpenAI, lmstudio_chaos: ChaosProxy, fault: NetworkFault) -> None:
    """Lines and characters torn apart, and bytes that come late, make the same answer."""
    lmstudio_chaos.set(fault)
    got: list[str] = []
    assert ask(shaken) == STORY.text
    assert told(shaken, got) == "stop"
    assert "".join(got) == STORY.text
    assert lmstudio_chaos.applied[fault] == 1


@pytest.mark.parametrize("fault", [Cut(0), Cut(300), Reset(), Reset(300), Refuse()], ids=str)
def test_a_lost_connection_is_one_error(shaken: openai.OpenAI, lmstudio_chaos: ChaosProxy, fault: NetworkFault) -> None:
    """Refused, reset, cut before or in the answer: an APIConnectionError."""
    lmstudio_chaos.set(fault)
    with pytest.raises(openai.APIConnectionError) as failed:
        ask(shaken)
    assert not isinstance(failed.value, openai.APITimeoutError)


@pytest.mark.parametrize("fault", [Blackhole(), Freeze(700)], ids=str)
def test_silence_ends_with_the_timeout(shaken: openai.OpenAI, lmstudio_chaos: ChaosProxy, fault: NetworkFault) -> None:
    """No answer, or a stream that falls silent: an APITimeoutError after ``timeout`` seconds without a byte."""
    lmstudio_chaos.set(fault)
    with pytest.raises(openai.APITimeoutError):
        told(shaken.with_options(timeout=0.1), [])


def test_a_slow_stream_never_times_out(lmstudio: Simulator, shaken: openai.OpenAI) -> None:
    """``timeout`` is between two bytes: a stream may take any time in all, as long as something comes."""
    lmstudio.answer(Answer("a b c d e", delay_between=0.08))
    assert told(shaken.with_options(timeout=0.3), []) == "stop"


# ── The other routes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_embeddings(client: openai.OpenAI) -> None:
    """The SDK asks for base64 by itself, is sent numbers, and takes them."""
    answer = client.embeddings.create(model="text-embedding-nomic-embed-text-v1.5", input=["one", "two"])
    assert [len(item.embedding) for item in answer.data] == [8, 8]
    assert all(type(number) is float for item in answer.data for number in item.embedding)
    assert (answer.data[1].index, answer.usage.total_tokens) == (1, 0)


def test_text_completions(client: openai.OpenAI) -> None:
    """Text completions say the same in both modes."""
    whole = client.completions.create(model="llama3", prompt="A story!")
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == (STORY.text, "stop")
    stream = client.completions.create(model="llama3", prompt="A story!", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == STORY.text


def test_responses(lmstudio: Simulator, client: openai.OpenAI) -> None:
    """A response is read whole and as a stream, calls included, and continued by its id."""
    first = client.responses.create(model="llama3", input="A story!")
    assert (first.output_text, first.status) == (STORY.text, "completed")
    lmstudio.answer(Answer("Sunny.", reasoning="hm", tool_calls=[("get_weather", {"city": "Paris"})]))
    with client.responses.stream(model="llama3", input="Go on.", previous_response_id=first.id) as stream:
        seen = [event.type for event in stream]
        last = stream.get_final_response()
    assert (seen[0], seen[-1]) == ("response.created", "response.completed")
    assert last.output_text == "Sunny."
    assert [item.type for item in last.output] == ["reasoning", "message", "function_call"]
    assert last.usage is not None
    assert last.usage.input_tokens == 2 + 5 + 2
    deltas = client.responses.create(model="llama3", input="A story!", stream=True)
    text = [event.delta for event in deltas if event.type == "response.output_text.delta"]
    assert "".join(text) == STORY.text
    lmstudio.forget(last.id)
    with pytest.raises(openai.BadRequestError) as stale:
        client.responses.create(model="llama3", input="x", previous_response_id=last.id)
    assert stale.value.code == "previous_response_not_found"


@pytest.mark.parametrize(("form", "raised"), [("chat", True), ("error", False), ("failed", False)])
def test_a_response_that_fails_in_its_stream(
    lmstudio: Simulator, client: openai.OpenAI, form: Any, raised: bool
) -> None:
    """Only an error event as chat has it is raised; OpenAI's own events are handed out, and the stream just ends."""
    lmstudio.unknowns = Unknowns(responses_error=form)
    FaultPlan("stream:error:1").apply(lmstudio)
    seen: list[str] = []
    with pytest.raises(openai.APIError) if raised else nullcontext():
        seen.extend(event.type for event in client.responses.create(model="llama3", input="A story!", stream=True))
    assert raised or seen[-1] == {"error": "error", "failed": "response.failed"}[form]
