"""The specification's "Configuration Manager", with a FastAPI application.

The adapter finds ``app.state.config_manager`` and asks it for ``LMSTUDIO_URL`` and ``LMSTUDIO_TIMEOUT``, with the
environment's values as defaults. Needs ``pip install fastapi httpx``.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from neuroroute import LMStudioAdapter, LMStudioError


class ConfigManager:
    """Yours may read a file, a vault or a database; ``get`` may be sync or async."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    async def get(self, key: str, default: Any) -> Any:
        value = self.values.get(key, default)
        print(f"asked for {key}: {'set here' if key in self.values else 'the default'}")
        return value


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.config_manager = ConfigManager(LMSTUDIO_TIMEOUT="30000")
    async with LMStudioAdapter("llama3", app=app, max_tokens=60) as adapter:
        app.state.adapter = adapter
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/ask")
async def ask(question: str) -> dict[str, Any]:
    try:
        response = await app.state.adapter.generate_completion(question)
    except LMStudioError as error:
        return {"error": {"code": error.code, "message": str(error)}}
    return {"answer": response.text, "tokens": response.tokens.total}


if __name__ == "__main__":
    with TestClient(app) as client:
        print(client.get("/ask", params={"question": "What is FastAPI, in one sentence?"}).json())
