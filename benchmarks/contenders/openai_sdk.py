"""OpenAI's own client, as its documentation uses it."""

from __future__ import annotations

from typing import Any

from openai import AsyncOpenAI
from workload import API_KEY


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

    async def close(self) -> None:
        await self._client.close()
