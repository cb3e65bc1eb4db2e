from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from neuroroute import (
    BackingOff,
    BreakerPolicy,
    Event,
    LMStudioAdapter,
    LMStudioError,
    MemoryCache,
    ModelContentFilteredError,
    ModelTimeoutError,
    TokenUsage,
)
from neuroroute.pipe import events as told
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault
from neuroroute.telemetry.prometheus import PrometheusObserver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from conftest import FakeClock
    from neuroroute import AnyMessage

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


@pytest.fixture
def metrics() -> PrometheusObserver:
    return PrometheusObserver(registry=CollectorRegistry())


@pytest.fixture
async def counted(lmstudio: Simulator, clock: FakeClock, metrics: PrometheusObserver) -> AsyncIterator[LMStudioAdapter]:
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock, slots=1, observers=[metrics]) as made:
        yield made


def value(metrics: PrometheusObserver, name: str, **labels: str) -> float | None:
    """The sum of all series with these labels; None where there is none."""
    found = [
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"neuroroute_{name}" and labels.items() <= sample.labels.items()
    ]
    return sum(found) if found else None


async def test_answers_are_counted(counted: LMStudioAdapter, lmstudio: Simulator, metrics: PrometheusObserver) -> None:
    """Requests, attempts, tokens and times of an answer are there under its model and host."""
    place = {"model": "llama3", "host": f"127.0.0.1:{lmstudio.port}"}
    lmstudio.answer(Answer("hi", usage=USAGE), times=2)
    await counted.generate_completion("hi")
    await counted.stream("hi").whole()
    assert value(metrics, "requests_total", **place, outcome="answered", code="") == 2
    assert value(metrics, "attempts_total", **place, outcome="answered") == 2
    assert value(metrics, "tokens_total", **place, kind="prompt") == 18
    assert value(metrics, "tokens_total", **place, kind="completion") == 8
    assert value(metrics, "request_duration_seconds_count", **place) == 2
    assert value(metrics, "time_to_first_token_seconds_count", **place) == 1
    assert value(metrics, "queue_wait_seconds_count", **place) == 2
    assert value(metrics, "breaker_state", **place, state="closed") == 1
    assert value(metrics, "breaker_state", **place, state="open") == 0
    assert value(metrics, "host_up", host=place["host"]) == 1
    assert value(metrics, "requests_in_flight") == 0


async def test_failures_are_counted(counted: LMStudioAdapter, lmstudio: Simulator, metrics: PrometheusObserver) -> None:
    """Failures have their codes; what was tried again, or continued, is counted by its kind."""
    lmstudio.fail("crash_null")
    await counted.generate_completion("hi")
    lmstudio.answer(Answer(chunks=["a", "b"], stream_fault=StreamFault("cut", after=1)))
    with pytest.raises(LMStudioError):
        await counted.stream("hi").whole()
    lmstudio.answer(Answer(chunks=["a", "b"], stream_fault=StreamFault("cut", after=1)))
    await counted.stream("hi", continue_stream=True).whole()
    assert value(metrics, "requests_total", outcome="failed", code="STREAM_INTERRUPTED") == 1
    assert value(metrics, "attempts_total", outcome="failed", code="MODEL_UNAVAILABLE") == 1
    assert value(metrics, "recoveries_total", kind="back_off") == 1
    assert value(metrics, "recoveries_total", kind="continuation") == 1
    assert value(metrics, "request_duration_seconds_count") == 2  # of answers only


async def test_breakers_and_hosts(lmstudio: Simulator, clock: FakeClock, metrics: PrometheusObserver) -> None:
    """A breaker is in one state at a time; a host is down once nobody answers there, and up with the next answer."""
    policy = BreakerPolicy(minimum_calls=1)
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, clock=clock, max_retries=0, breaker=policy, observers=[metrics]
    ) as adapter:
        lmstudio.fail(Fail(silent="close"))
        with pytest.raises(LMStudioError):
            await adapter.generate_completion("hi")
        states = {state: value(metrics, "breaker_state", state=state) for state in ("closed", "half_open", "open")}
        assert states == {"closed": 0, "half_open": 0, "open": 1}
        assert value(metrics, "host_up") == 0
        clock.now += 31
        await adapter.generate_completion("hi")
    assert value(metrics, "breaker_state", state="closed") == 1
    assert value(metrics, "breaker_state") == 1
    assert value(metrics, "host_up") == 1


async def test_who_is_down(lmstudio: Simulator, metrics: PrometheusObserver) -> None:
    """A host where no connection is made in time is down; that an answer is late says nothing of the host."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # until the system takes no more
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        async with LMStudioAdapter(
            "llama3", base_url=f"127.0.0.1:{address[1]}", max_retries=0, connect_timeout_ms=80, observers=[metrics]
        ) as adapter:
            with pytest.raises(ModelTimeoutError):
                await adapter.generate_completion("hi")
        for one in waiting:
            one.close()
    assert value(metrics, "host_up", host=f"127.0.0.1:{address[1]}") == 0
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, max_retries=0, observers=[metrics]) as adapter:
        await adapter.generate_completion("hi")
        lmstudio.answer(Answer("late", delay=5))
        with pytest.raises(ModelTimeoutError):
            await adapter.generate_completion("hi", timeout_ms=30)
    assert value(metrics, "host_up", host=f"127.0.0.1:{lmstudio.port}") == 1


async def test_the_queue(counted: LMStudioAdapter, lmstudio: Simulator, metrics: PrometheusObserver) -> None:
    """What waits and what is under way is seen while it does, and nothing of it stays."""
    lmstudio.answer(Answer("slow", delay=5))
    tasks = [asyncio.ensure_future(counted.generate_completion("hi")) for _ in range(4)]
    await lmstudio.wait_for_requests(1)
    while value(metrics, "queue_length") != 3:
        await asyncio.sleep(0)
    assert value(metrics, "requests_in_flight") == 4
    tasks[3].cancel()
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert value(metrics, "queue_length") == 0
    assert value(metrics, "requests_in_flight") == 0
    assert value(metrics, "requests_total", outcome="left") == 2


async def test_tools_and_salvage(counted: LMStudioAdapter, lmstudio: Simulator, metrics: PrometheusObserver) -> None:
    """Calls of tools are counted by tool and error; a name that the model made up is not a label."""

    def lookup(name: str) -> str:
        return name

    lmstudio.answer(Answer(tool_calls=[("lookup", {"name": "Ann"}), ("lookup", {}), ("made_up", {})]))
    lmstudio.answer('<tool_call>{"name": "lookup", "arguments": {"name": "Bob"}}</tool_call>')
    await counted.run_tools("hi", tools=[lookup], max_rounds=2)
    assert value(metrics, "tool_calls_total", tool="lookup", code="") == 2
    assert value(metrics, "tool_calls_total", tool="lookup", code="TOOL_ARGUMENTS") == 1
    assert value(metrics, "tool_calls_total", tool="unknown", code="TOOL_UNKNOWN") == 1
    assert value(metrics, "salvaged_calls_total") == 1


async def test_cache_and_guards(lmstudio: Simulator, metrics: PrometheusObserver) -> None:
    """Looks into the cache and refusals are counted; tokens and times are of what was asked, not of what is shared."""

    def no(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> bool:
        return messages[-1].text != "no"

    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, observers=[metrics], cache=MemoryCache(), guards=[no]
    ) as adapter:
        lmstudio.answer(Answer("hi", usage=USAGE))
        await asyncio.gather(*[adapter.stream("hi").whole() for _ in range(3)])
        await adapter.stream("hi").whole()
        with pytest.raises(ModelContentFilteredError):
            await adapter.generate_completion("no")
    looks = {outcome: value(metrics, "cache_looks_total", outcome=outcome) for outcome in ("miss", "joined", "hit")}
    assert looks == {"miss": 1, "joined": 2, "hit": 1}
    assert value(metrics, "cache_stores_total", outcome="stored") == 1
    assert value(metrics, "guard_refusals_total", guard="no", stage="before") == 1
    assert value(metrics, "requests_total", outcome="answered") == 4
    assert value(metrics, "tokens_total", kind="prompt") == 9
    assert value(metrics, "time_to_first_token_seconds_count") == 3


def test_one_observer_for_a_registry(metrics: PrometheusObserver) -> None:
    """A second one with the same registry is told what to do instead."""
    with pytest.raises(ValueError, match="let adapters share one observer"):
        PrometheusObserver(registry=metrics.registry)


def test_labels_are_bounded() -> None:
    """Of models and hosts beyond the first so many, all are one series."""
    metrics = PrometheusObserver(registry=CollectorRegistry(), max_models=3, max_hosts=2)
    for number in range(100):
        error = LMStudioError("no")
        host, model = f"host{number % 5}", f"model{number}"
        metrics(BackingOff(host=host, model=model, error=error, attempt=1, delay_ms=1))
    families = {family.name: family for family in metrics.registry.collect()}
    samples = [sample for sample in families["neuroroute_recoveries"].samples if sample.name.endswith("_total")]
    assert {sample.labels["model"] for sample in samples} == {"model0", "model1", "model2", "other"}
    assert {sample.labels["host"] for sample in samples} == {"host0", "host1", "other"}
    assert sum(sample.value for sample in samples) == 100


def test_a_cached_answer_takes_no_tokens(metrics: PrometheusObserver) -> None:
    """What came from a cache is a request, but its tokens were counted when it was made."""
    metrics(
        told.RequestEnded(
            host="h",
            model="m",
            api="chat",
            streaming=False,
            outcome="answered",
            error=None,
            duration_ms=1,
            ttft_ms=None,
            attempts=0,
            answered_by="m",
            finish_reason="stop",
            tokens=TokenUsage(prompt=9, completion=4, total=13),
            cached=True,
        )
    )
    assert value(metrics, "requests_total") == 1
    assert value(metrics, "tokens_total") is None


def test_every_label_has_few_values(metrics: PrometheusObserver) -> None:
    """No metric has a label but those that are bounded, or that we give their values."""
    labels = {name for collector in metrics.registry._collector_to_names for name in _labels(collector)}
    assert labels == {"model", "host", "tool", "guard", "stage", "outcome", "code", "kind", "state"}


def _labels(collector: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = collector._labelnames
    return names


def test_other_events_are_nothing_to_it(metrics: PrometheusObserver) -> None:
    """Events that it counts nothing of change nothing."""
    before = [family.samples for family in metrics.registry.collect()]
    metrics(Event(host="h", model="m"))
    metrics(told.PromptProcessing(host="h", model="m", fraction=0.5))
    assert [family.samples for family in metrics.registry.collect()] == before


async def test_the_asgi_application(counted: LMStudioAdapter, metrics: PrometheusObserver) -> None:
    """Mounted in an application, it shows the metrics."""
    app = FastAPI()
    app.mount("/metrics", metrics.asgi_app())
    await counted.generate_completion("hi")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        shown = await client.get("/metrics/")
    assert shown.status_code == 200
    assert shown.headers["content-type"].startswith("text/plain")
    assert 'neuroroute_requests_total{code="",host=' in shown.text
