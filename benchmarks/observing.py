"""What observers cost: ``python benchmarks/observing.py``.

Microseconds of a whole answer through the pipe, over a transport that answers at once without a socket, the median of
many rounds in turn; nothing else of a call is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from statistics import median
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from neuroroute import LMStudioAdapter, LoggingObserver, Observer
from neuroroute.pipe.transport import WholeReply
from neuroroute.requests import ChatRequest
from neuroroute.telemetry.otel import OpenTelemetryObserver
from neuroroute.telemetry.prometheus import PrometheusObserver

BODY = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"llama3","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"Hello there."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,'
    b'"total_tokens":12}}'
)


class _Transport:
    pools = SimpleNamespace(closings=lambda: 0)

    async def send(self, request: ChatRequest) -> WholeReply:
        return WholeReply(BODY, request)


def adapter(*observers: Observer) -> LMStudioAdapter:
    """One whose transport answers at once."""
    made = LMStudioAdapter("llama3", base_url="localhost:1234", observers=[*observers])
    core: Any = made._core
    core._transport = _Transport()
    return made


def contenders() -> dict[str, LMStudioAdapter]:
    """Each kind of observer that can be had here."""
    quiet = logging.getLogger("quiet")
    quiet.addHandler(logging.NullHandler())
    quiet.setLevel(logging.INFO)
    quiet.propagate = False
    return {
        "nobody": adapter(),
        "a function that does nothing": adapter(lambda event: None),
        "logging, at INFO": adapter(LoggingObserver(logger=quiet)),
        "Prometheus": adapter(PrometheusObserver(registry=CollectorRegistry())),
        "OpenTelemetry, without an SDK": adapter(OpenTelemetryObserver()),
    }


async def measured(contenders: dict[str, LMStudioAdapter], rounds: int, calls: int) -> dict[str, float]:
    """Microseconds of a call."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, one in contenders.items():
            began = time.perf_counter()
            for _ in range(calls):
                await one.generate_completion("hi")
            if turn:  # the first round warms up
                found[name].append((time.perf_counter() - began) / calls * 1e6)
    return {name: median(times) for name, times in found.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--calls", type=int, default=200)
    given = options.parse_args()
    found = asyncio.run(measured(contenders(), given.rounds, given.calls))
    print(f"{'observers':<32} µs a call     more")
    for name, cost in found.items():
        print(f"{name:<32} {cost:9.1f} {cost - found['nobody']:8.1f}")


if __name__ == "__main__":
    sys.exit(main())
