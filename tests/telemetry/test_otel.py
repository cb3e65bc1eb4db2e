from __future__ import annotations

import asyncio
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from conftest import chats
from neuroroute import AssistantMessage, LMStudioAdapter, LMStudioError, SyncLMStudioAdapter, ToolMessage, UserMessage
from neuroroute.messages import FunctionCall, ToolCall
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault
from telemetry.kept import Kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from conftest import FakeClock

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


@pytest.fixture
async def traced(lmstudio: Simulator, clock: FakeClock, kept: Kept) -> AsyncIterator[LMStudioAdapter]:
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock, observers=[kept.observer()]) as made:
        yield made


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_the_span_of_a_request(traced: LMStudioAdapter, lmstudio: Simulator, kept: Kept) -> None:
    """A request is a client span with the attributes of the conventions."""
    lmstudio.answer(Answer("hi", usage=USAGE))
    response = await traced.stream("hi", temperature=0.5, max_tokens=50, seed=7).whole()
    (span,) = kept.spans("chat llama3")
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    scope = span.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("neuroroute", version("neuroroute"))
    assert scope.schema_url == "https://opentelemetry.io/schemas/1.41.0"
    found = facts(span)
    assert found.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "lm_studio",
        "gen_ai.request.model": "llama3",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.top_p": 1,
        "gen_ai.request.frequency_penalty": 0,
        "gen_ai.request.presence_penalty": 0,
        "gen_ai.request.seed": 7,
        "gen_ai.response.model": "llama3",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 4,
        "server.address": "127.0.0.1",
        "server.port": lmstudio.port,
        "neuroroute.request_id": response.request_id,
        "neuroroute.attempts": 1,
        "neuroroute.cached": False,
    }


async def test_attempts_are_children(traced: LMStudioAdapter, lmstudio: Simulator, kept: Kept) -> None:
    """Each attempt is a child of its request, those that failed have their errors; a retry in between is an event."""
    lmstudio.fail("crash_null")
    await traced.generate_completion("hi")
    (request,) = kept.spans("chat llama3")
    first, second = kept.spans("attempt")
    for attempt in (first, second):
        assert attempt.parent is not None
        assert attempt.parent.span_id == request.context.span_id  # type: ignore[union-attr]
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "MODEL_UNAVAILABLE")
    assert facts(first)["error.type"] == "MODEL_UNAVAILABLE"
    assert second.status.status_code is StatusCode.UNSET
    assert facts(second)["http.request.resend_count"] == 1
    assert request.status.status_code is StatusCode.UNSET
    told = {event.name: event.attributes for event in request.events}
    assert set(told) == {"neuroroute.Admitted", "neuroroute.BackingOff"}
    assert told["neuroroute.BackingOff"]["error.type"] == "MODEL_UNAVAILABLE"  # type: ignore[index]


async def test_the_context_reaches_the_server(traced: LMStudioAdapter, lmstudio: Simulator, kept: Kept) -> None:
    """Every attempt sends the context of its own span, within the trace of whoever calls."""
    lmstudio.fail(Fail(500))
    with kept.tracers.get_tracer("app").start_as_current_span("app") as app:
        await traced.generate_completion("hi")
    attempts = kept.spans("attempt")
    trace_id = app.get_span_context().trace_id
    assert [chat.headers["traceparent"] for chat in chats(lmstudio)] == [
        f"00-{trace_id:032x}-{attempt.context.span_id:016x}-{int(attempt.context.trace_flags):02x}"  # type: ignore[union-attr]
        for attempt in attempts
    ]
    assert kept.spans("chat llama3")[0].parent == app.get_span_context()


def test_blocking_calls_have_their_parent(lmstudio: Simulator, kept: Kept) -> None:
    """A call by way of the blocking adapter belongs to the span of the thread that makes it."""
    with (
        SyncLMStudioAdapter("llama3", base_url=lmstudio.url, observers=[kept.observer()]) as adapter,
        kept.tracers.get_tracer("app").start_as_current_span("app") as app,
    ):
        adapter.generate_completion("hi")
        list(adapter.stream("hi"))
    assert [span.parent for span in kept.spans("chat llama3")] == [app.get_span_context()] * 2


async def test_requests_side_by_side(traced: LMStudioAdapter, kept: Kept) -> None:
    """Attempts belong to their own requests, however many there are at once."""
    await asyncio.gather(*(traced.generate_completion("hi") for _ in range(10)))
    requests = {span.context.span_id for span in kept.spans("chat llama3")}  # type: ignore[union-attr]
    parents = {span.parent.span_id for span in kept.spans("attempt") if span.parent}
    assert len(requests) == 10
    assert parents == requests


async def test_a_failure(traced: LMStudioAdapter, lmstudio: Simulator, kept: Kept) -> None:
    """A request that fails has the error's code, and none of the server's words, in its span and its duration."""
    lmstudio.fail(Fail(400, {"error": "cannot read 'my secret'"}))
    with pytest.raises(LMStudioError, match="my secret"):
        await traced.generate_completion("hi")
    (span,) = kept.spans("chat llama3")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "MODEL_INVALID_REQUEST")
    assert facts(span)["error.type"] == "MODEL_INVALID_REQUEST"
    (point,) = kept.points("gen_ai.client.operation.duration")
    assert point.attributes["error.type"] == "MODEL_INVALID_REQUEST"
    assert "secret" not in span.to_json()


async def test_one_that_is_left(traced: LMStudioAdapter, lmstudio: Simulator, kept: Kept) -> None:
    """A stream that is left is no error; its spans have ended, and say so."""
    lmstudio.answer(Answer(chunks=["a", "b", "c"], delay_between=5))
    async with traced.stream("hi") as stream:
        await anext(stream)
    (request,), (attempt,) = kept.spans("chat llama3"), kept.spans("attempt")
    for span in (request, attempt):
        assert span.status.status_code is StatusCode.UNSET
        assert facts(span)["neuroroute.outcome"] == "left"


async def test_metrics(traced: LMStudioAdapter, lmstudio: Simulator, kept: Kept) -> None:
    """Duration, time to first chunk and tokens are histograms with the boundaries of the conventions."""
    lmstudio.answer(Answer("hi", usage=USAGE), times=2)
    await traced.stream("hi").whole()
    await traced.generate_completion("hi")
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "lm_studio",
        "gen_ai.request.model": "llama3",
        "gen_ai.response.model": "llama3",
        "server.address": "127.0.0.1",
        "server.port": lmstudio.port,
    }
    (duration,) = kept.points("gen_ai.client.operation.duration")
    assert (duration.count, dict(duration.attributes)) == (2, common)
    assert duration.explicit_bounds[:3] == (0.01, 0.02, 0.04)
    assert duration.explicit_bounds[-1] == pytest.approx(81.92)
    (first,) = kept.points("gen_ai.client.operation.time_to_first_chunk")
    assert (first.count, dict(first.attributes)) == (1, common)
    tokens = {point.attributes["gen_ai.token.type"]: point for point in kept.points("gen_ai.client.token.usage")}
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 18, "output": 8}
    assert tokens["input"].explicit_bounds[-1] == 67108864


async def test_tools(traced: LMStudioAdapter, lmstudio: Simulator, kept: Kept) -> None:
    """A tool that ran is a span beside the requests, under whoever called, as long as the tool took."""

    def lookup(name: str) -> str:
        return name

    lmstudio.answer(Answer(tool_calls=[("lookup", {"name": "Ann"}), ("lookup", {})]))
    with kept.tracers.get_tracer("app").start_as_current_span("app") as app:
        await traced.run_tools("hi", tools=[lookup], max_rounds=1)
    ran = kept.spans("execute_tool lookup")
    assert {span.parent.span_id for span in ran if span.parent} == {app.get_span_context().span_id}
    assert len(ran) == 2
    assert sorted(str(facts(span).get("error.type")) for span in ran) == ["None", "TOOL_ARGUMENTS"]
    assert {facts(span)["gen_ai.operation.name"] for span in ran} == {"execute_tool"}
    assert all(span.end_time >= span.start_time for span in ran)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "name"), [({"api": "completions"}, "text_completion"), ({"api": "native"}, "chat")], ids=str
)
async def test_operations(traced: LMStudioAdapter, kept: Kept, options: Any, name: str) -> None:
    """Each route has the operation that the conventions have for it."""
    await traced.generate_completion("hi", system_message=None, **options)
    assert kept.spans(f"{name} llama3")


async def test_embeddings(traced: LMStudioAdapter, kept: Kept) -> None:
    """Embeddings are an operation of their own."""
    await traced.embed("hi", model="text-embedding-nomic-embed-text-v1.5")
    assert kept.spans("embeddings text-embedding-nomic-embed-text-v1.5")


async def test_a_named_host(lmstudio: Simulator, kept: Kept) -> None:
    """A host that was given a name is told by it, without a port."""
    from neuroroute import HostSettings

    hosts = [HostSettings(url=lmstudio.url, name="studio: upstairs")]
    async with LMStudioAdapter("llama3", base_url=hosts, observers=[kept.observer()]) as adapter:
        await adapter.generate_completion("hi")
    found = facts(kept.spans("chat llama3")[0])
    assert found["server.address"] == "studio: upstairs"
    assert "server.port" not in found


async def test_content_on_request(lmstudio: Simulator, kept: Kept) -> None:
    """Messages are recorded when asked for, in the form of the conventions and through the hook; else they are not."""
    history = [
        UserMessage(content="I am Ann"),
        AssistantMessage(tool_calls=(ToolCall(id="1", function=FunctionCall(name="find", arguments='{"who":"Ann"}')),)),
        ToolMessage(tool_call_id="1", content="Ann is here"),
    ]
    lmstudio.answer(Answer("Hello Ann", reasoning="hm"), times=2)
    observer = kept.observer(record_content=True, redact=lambda text: text.replace("Ann", "***"))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, system_message=None, observers=[observer]) as adapter:
        await adapter.generate_completion(messages=history)
    found = facts(kept.spans("chat llama3")[0])
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "I am ***"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "1", "name": "find", "arguments": '{"who":"***"}'}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "*** is here"}]},
    ]
    assert json.loads(found["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "Hello ***"}],
            "finish_reason": "stop",
        }
    ]


async def test_nothing_stays(traced: LMStudioAdapter, lmstudio: Simulator, kept: Kept) -> None:
    """However requests end, their spans do, and nothing is kept of them."""
    observer = kept.observer()
    lmstudio.answer(Answer(chunks=["a", "b"], stream_fault=StreamFault("cut", after=1)))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, max_retries=0, observers=[observer]) as adapter:
        with pytest.raises(LMStudioError):
            await adapter.stream("hi").whole()
        lmstudio.answer(Answer("late", delay=5))
        await adapter.generate_completion("hi", hedge_after_ms=10)
        async for _ in adapter.stream("hi"):
            break
        await asyncio.sleep(0)
    assert observer._open == {}
    assert len(kept.spans("attempt")) == 4
