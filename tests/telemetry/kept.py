"""Where the tests have spans and metrics go."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from neuroroute.telemetry.otel import OpenTelemetryObserver


class Kept:
    """Where spans and metrics go."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def observer(self, **more: Any) -> OpenTelemetryObserver:
        return OpenTelemetryObserver(tracer_provider=self.tracers, meter_provider=self.meters, **more)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def points(self, name: str) -> list[Any]:
        data: Any = self.reader.get_metrics_data()
        every = [one for of in data.resource_metrics for scope in of.scope_metrics for one in scope.metrics]
        return [point for one in every if one.name == name for point in one.data.data_points]

    def texts(self) -> list[str]:
        """All that was kept, as JSON."""
        data: Any = self.reader.get_metrics_data()
        return [data.to_json(), *(span.to_json() for span in self.exporter.get_finished_spans())]
