"""A web service with a tool, a cache and a guard, which shows its metrics.

pip install "neuroroute[prometheus]" fastapi uvicorn
uvicorn --app-dir examples/service app:app
curl "localhost:8000/ask?question=How+warm+is+it+in+Oslo"
curl -N "localhost:8000/stream?question=Tell+me+a+story"
curl localhost:8000/metrics/
"""

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

from neuroroute import (
    AnyMessage,
    LMStudioAdapter,
    LMStudioError,
    LoggingObserver,
    MemoryCache,
    ModelContentFilteredError,
    ModelInvalidRequestError,
    tool,
)
from neuroroute.telemetry.prometheus import PrometheusObserver


@tool
def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: its name.
    """
    return f"It is 7 degrees in {city}."


def no_card_numbers(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> str | None:
    found = any(re.search(r"\b(?:\d[ -]?){16}\b", message.text) for message in messages)
    return "it looks like the number of a card" if found else None


logging.basicConfig(level=logging.INFO)
metrics = PrometheusObserver()
adapter = LMStudioAdapter("auto", cache=MemoryCache(), guards=[no_card_numbers], observers=[metrics, LoggingObserver()])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with adapter:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/metrics", metrics.asgi_app())


def told(error: LMStudioError) -> HTTPException:
    """What whoever asked is told; the log has more."""
    if isinstance(error, (ModelContentFilteredError, ModelInvalidRequestError)):
        return HTTPException(422, error.message)
    return HTTPException(503 if error.retryable else 502, f"the model cannot answer: {error.code}")


@app.get("/ask")
async def ask(question: str) -> dict[str, Any]:
    """An answer, by way of the tool where the model calls it."""
    try:
        response = await adapter.run_tools(question, tools=[get_weather], max_rounds=3)
    except LMStudioError as error:
        raise told(error) from error
    return {"answer": response.text, "model": response.model, "cached": response.cached}


@app.get("/stream")
async def stream(question: str) -> StreamingResponse:
    """An answer as it comes; an error before its first word has a status of its own."""
    answer = adapter.stream(question)
    try:
        first = await anext(answer)
    except LMStudioError as error:
        raise told(error) from error

    async def words() -> AsyncIterator[str]:
        async with answer:
            yield first.chunk
            async for chunk in answer:
                yield chunk.chunk

    return StreamingResponse(words(), media_type="text/plain")
