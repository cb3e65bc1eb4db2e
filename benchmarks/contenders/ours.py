"""NeuroRoute as its documentation uses it: every layer of the pipe, histories as plain dicts.

64 slots, since the server takes 64 requests at once; with the default of 4 the queue would be measured.
"""

from __future__ import annotations

import json
from typing import Any

from workload import API_KEY, TOOLS

from neuroroute import LMStudioAdapter


class Client:
    async def open(self, base: str) -> None:
        self._adapter = LMStudioAdapter("bench-ns", base_url=base, api_token=API_KEY, slots=64, system_message=None)

    async def chat(self, messages: list[dict[str, Any]], model: str) -> tuple[str, int]:
        response = await self._adapter.generate_completion(messages=messages, model=model)
        return response.text, response.tokens.total

    async def stream(self, messages: list[dict[str, Any]], model: str) -> tuple[int, int]:
        taken = characters = 0
        async with self._adapter.stream(messages=messages, model=model) as stream:
            async for chunk in stream:
                if text := chunk.chunk:
                    taken += 1
                    characters += len(text)
        return taken, characters

    async def tools(self, messages: list[dict[str, Any]], model: str) -> list[tuple[str, dict[str, Any]]]:
        async with self._adapter.stream(messages=messages, model=model, tools=TOOLS) as stream:
            async for _ in stream:
                pass
        calls = stream.response.tool_calls
        return [(call.function.name, json.loads(call.function.arguments)) for call in calls]

    async def close(self) -> None:
        await self._adapter.aclose()
