"""Logs as JSON, and metrics for Prometheus, of a few requests."""

import asyncio
import logging

from neuroroute import JSONFormatter, LMStudioAdapter, LoggingObserver
from neuroroute.telemetry.prometheus import PrometheusObserver  # first: it says how to install what is missing

from prometheus_client import CollectorRegistry, generate_latest  # isort: skip


async def main() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])

    # app.mount("/metrics", metrics.asgi_app()), and registry= left out, in an application with FastAPI or Starlette
    metrics = PrometheusObserver(registry=CollectorRegistry())
    async with LMStudioAdapter("llama3", model="auto", observers=[LoggingObserver(), metrics]) as adapter:
        response = await adapter.generate_completion("What is the capital of France?")
        print("Answer:", response.text)
        async for chunk in adapter.stream("Tell me a story about a space explorer.", max_tokens=100):
            print(chunk.chunk, end="")
    print()
    for line in generate_latest(metrics.registry).decode().splitlines():
        if line.startswith(("neuroroute_requests_total", "neuroroute_tokens_total")):
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
