"""OpenAI's own client, as its documentation uses it."""

from __future__ import annotations

import json
from typing import Any

from openai import AsyncOpenAI
from workload import API_KEY, TOOLS


class Client:
    async def open(self, base: str) -> None:
        self._client = AsyncOpenAI(base_url=base, api_key=API_KEY)

    async def chat(self, messages: list[Any], model: str) -> tuple[str, int]:
        answer = await self._client.chat.completions.create(model=model, messages=messages)
        assert answer.usage is not None
        return answer.choices[0].message.content or "", answer.usage.total_tokens

    async def stream(self, messages: list[Any], model: str) -> tuple[int, int]:
        taken = characters = 0
        async for chunk in await self._client.chat.completions.create(model=model, messages=messages, stream=True):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                taken += 1
                characters += len(text)
        return taken, characters

    async def tools(self, messages: list[Any], model: str) -> list[tuple[str, dict[str, Any]]]:
        calls: dict[int, tuple[str, list[str]]] = {}
        made = self._client.chat.completions.create(model=model, messages=messages, tools=TOOLS, stream=True)  # type: ignore[call-overload]
        async for chunk in await made:
            for call in (chunk.choices and chunk.choices[0].delta.tool_calls) or ():
                calls.setdefault(call.index, (call.function.name, []))[1].append(call.function.arguments or "")
        return [(name, json.loads("".join(pieces))) for name, pieces in calls.values()]

    async def close(self) -> None:
        await self._client.close()
