"""Events as Prometheus metrics; needs the extra ``prometheus``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, get_args

try:
    from prometheus_client import (
        REGISTRY,
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        make_asgi_app,  # pyright: ignore[reportUnknownVariableType] - it says nothing of what its application returns
    )
except ImportError as error:  # an empty folder may be left of it
    raise ModuleNotFoundError('the Prometheus client is missing: pip install "neuroroute[prometheus]"') from error

from neuroroute.errors import AdapterClosedError, LMStudioError, NetworkError
from neuroroute.pipe import events as told
from neuroroute.pipe.events import BreakerState, Event

OTHER = "other"
"""The label of all models (hosts, tools) beyond the first so many."""

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
"""Of answers and first chunks: a local model may load for minutes."""
WAITS = (0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20, 40, 80)

_RECOVERIES: dict[type[Event], str] = {
    told.BackingOff: "back_off",
    told.FailedOver: "failover",
    told.Hedged: "hedge",
    told.ModelReloaded: "reload",
    told.StreamContinued: "continuation",
}


class _Bounded:
    """The first so many values, as they are."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value


class PrometheusObserver:
    """Counts and measures what happens, for Prometheus to scrape.

    ::

        from neuroroute.telemetry.prometheus import PrometheusObserver

        metrics = PrometheusObserver()
        adapter = LMStudioAdapter("llama3", observers=[metrics])
        app.mount("/metrics", metrics.asgi_app())  # FastAPI, Starlette

    Several adapters may share one. What there is, and what to alert on: docs/operations.md.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry | None = None,
        max_models: int = 20,
        max_hosts: int = 50,
        max_tools: int = 50,
        max_guards: int = 50,
    ) -> None:
        """Registers the metrics.

        Args:
            registry: where. Default: the one of ``prometheus_client``, which also its own servers show.
            max_models: how many models have series of their own; the others are ``other``.
            max_hosts: likewise.
            max_tools: likewise.
            max_guards: likewise.

        Raises:
            ValueError: the registry has these metrics already.
        """
        self.registry = registry or REGISTRY
        self._model, self._host = _Bounded(max_models), _Bounded(max_hosts)
        self._tool, self._guard = _Bounded(max_tools), _Bounded(max_guards)
        if "neuroroute_requests" in getattr(self.registry, "_names_to_collectors", ()):
            raise ValueError(
                "the registry has these metrics: let adapters share one observer, or give each a registry="
            )
        place = ("model", "host")
        self._requests = self._counter("requests", "Requests that are over.", *place, "outcome", "code")
        self._attempts = self._counter("attempts", "Times that requests were sent.", *place, "outcome", "code")
        self._recoveries = self._counter("recoveries", "What was done where an attempt was not enough.", *place, "kind")
        self._tokens = self._counter("tokens", "Tokens, as servers counted them.", *place, "kind")
        self._salvaged = self._counter("salvaged_calls", "Calls that were taken out of the text.", *place)
        self._tools = self._counter("tool_calls", "Calls of tools that were run or refused.", "tool", "code")
        self._looks = self._counter("cache_looks", "Looks into the cache.", "model", "outcome")
        self._stored = self._counter("cache_stores", "Answers that were put into the cache, or were to be.", "outcome")
        self._refusals = self._counter(
            "guard_refusals", "What guards refused, or failed at.", "guard", "stage", "outcome"
        )
        self._seconds = self._histogram("request_duration_seconds", "How long requests took.", SECONDS)
        self._first = self._histogram("time_to_first_token_seconds", "Until a stream's first chunk.", SECONDS)
        self._waits = self._histogram("queue_wait_seconds", "How long attempts waited for a slot.", WAITS)
        self._under_way = self._gauge("requests_in_flight", "Requests that are not over.")
        self._waiting = self._gauge("queue_length", "Attempts that wait for a slot.", *place)
        self._breakers = self._gauge("breaker_state", "1 for the state that a circuit breaker is in.", *place, "state")
        self._up = self._gauge("host_up", "Whether somebody answered when the host was last asked.", "host")
        self._breakers_seen: set[tuple[str, str]] = set()

    def asgi_app(self) -> Callable[..., Any]:
        """An ASGI application that shows the metrics, to be mounted at ``/metrics``."""
        return make_asgi_app(self.registry)  # pyright: ignore[reportUnknownVariableType]

    def __call__(self, event: Event) -> None:
        """Takes an event."""
        take = self._TAKES.get(type(event))
        if take is not None:
            take(self, event)

    def _place(self, event: Event) -> tuple[str, str]:
        return self._model(event.model), self._host(event.host)

    def _started(self, event: told.RequestStarted) -> None:
        self._under_way.inc()

    def _ended(self, event: told.RequestEnded) -> None:
        place = self._place(event)
        self._under_way.dec()
        self._requests.labels(*place, event.outcome, _code(event.error)).inc()
        if event.outcome == "answered" and not event.cached:
            self._seconds.labels(*place).observe(event.duration_ms / 1000)
        if event.ttft_ms is not None and not event.cached:
            self._first.labels(*place).observe(event.ttft_ms / 1000)
        if event.tokens is not None and event.attempts:  # else another request took them
            self._tokens.labels(*place, "prompt").inc(event.tokens.prompt)
            self._tokens.labels(*place, "completion").inc(event.tokens.completion)

    def _attempt(self, event: told.AttemptEnded) -> None:
        place, error = self._place(event), event.error
        self._attempts.labels(*place, event.outcome, _code(error)).inc()
        if event.outcome == "answered" or (error is not None and error.status is not None):
            self._up.labels(place[1]).set(1)
        elif error is not None and _nobody_answered(error):
            self._up.labels(place[1]).set(0)

    def _admitted(self, event: told.Admitted) -> None:
        self._waits.labels(*self._place(event)).observe(event.wait_ms / 1000)
        self._queue(event)

    def _queue(self, event: told.Queued | told.Admitted | told.LeftQueue) -> None:
        place = self._place(event)
        self._waiting.labels(*place).set(event.queue_length)
        if place not in self._breakers_seen:  # nothing was told of it, so it is closed
            self._set_breaker(place, "closed")

    def _breaker_changed(self, event: told.BreakerChanged) -> None:
        self._set_breaker(self._place(event), event.after)

    def _set_breaker(self, place: tuple[str, str], now: BreakerState) -> None:
        self._breakers_seen.add(place)
        for state in get_args(BreakerState):
            self._breakers.labels(*place, state).set(state == now)

    def _host_changed(self, event: told.HostChanged) -> None:
        self._up.labels(self._host(event.host)).set(event.after != "down")

    def _recovered(self, event: Event) -> None:
        self._recoveries.labels(*self._place(event), _RECOVERIES[type(event)]).inc()

    def _calls_salvaged(self, event: told.CallsSalvaged) -> None:
        self._salvaged.labels(*self._place(event)).inc(event.count)

    def _tool_ran(self, event: told.ToolRan) -> None:
        self._tools.labels(self._tool(event.name or "unknown"), event.code or "").inc()

    def _cache_looked(self, event: told.CacheLooked) -> None:
        self._looks.labels(self._model(event.model), event.outcome).inc()

    def _cache_stored(self, event: told.CacheStored) -> None:
        self._stored.labels(event.outcome).inc()

    def _guard_refused(self, event: told.GuardRefused) -> None:
        self._refusals.labels(self._guard(event.guard), event.stage, "failed" if event.failed else "refused").inc()

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"neuroroute_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"neuroroute_{name}", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"neuroroute_{name}", what, ("model", "host"), buckets=buckets, registry=self.registry)

    _TAKES: ClassVar[dict[type[Event], Callable[[PrometheusObserver, Any], None]]] = {
        told.RequestStarted: _started,
        told.RequestEnded: _ended,
        told.AttemptEnded: _attempt,
        told.Queued: _queue,
        told.Admitted: _admitted,
        told.LeftQueue: _queue,
        told.BreakerChanged: _breaker_changed,
        told.HostChanged: _host_changed,
        told.CallsSalvaged: _calls_salvaged,
        told.ToolRan: _tool_ran,
        told.CacheLooked: _cache_looked,
        told.CacheStored: _cache_stored,
        told.GuardRefused: _guard_refused,
        **dict.fromkeys(_RECOVERIES, _recovered),
    }


def _nobody_answered(error: LMStudioError) -> bool:
    """Of other failures, such as a time limit for the answer, nobody knows."""
    refused = isinstance(error, NetworkError) and not isinstance(error, AdapterClosedError)
    return refused or error.details.get("phase") == "connecting"


def _code(error: LMStudioError | None) -> str:
    return "" if error is None else error.code
