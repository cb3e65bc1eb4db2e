"""aiohttp as one writes it by hand: its own json, lines of the stream."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
from workload import API_KEY, TOOLS


class Client:
    async def open(self, base: str) -> None:
        self._url = base + "/chat/completions"
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_KEY}"})

    async def chat(self, messages: list[dict[str, Any]], model: str) -> tuple[str, int]:
        async with self._session.post(self._url, json={"model": model, "messages": messages}) as response:
            response.raise_for_status()
            answer = await response.json()
        return answer["choices"][0]["message"]["content"], answer["usage"]["total_tokens"]

    async def stream(self, messages: list[dict[str, Any]], model: str) -> tuple[int, int]:
        taken = characters = 0
        payload = {"model": model, "messages": messages, "stream": True}
        async with self._session.post(self._url, json=payload) as response:
            response.raise_for_status()
            async for line in response.content:
                if not line.startswith(b"data:") or (data := line[5:].strip()) == b"[DONE]":
                    continue
                choices = json.loads(data)["choices"]
                if choices and (text := choices[0]["delta"].get("content")):
                    taken += 1
                    characters += len(text)
        return taken, characters

    async def tools(self, messages: list[dict[str, Any]], model: str) -> list[tuple[str, dict[str, Any]]]:
        calls: dict[int, tuple[str, list[str]]] = {}
        payload = {"model": model, "messages": messages, "stream": True, "tools": TOOLS}
        async with self._session.post(self._url, json=payload) as response:
            response.raise_for_status()
            async for line in response.content:
                if not line.startswith(b"data:") or (data := line[5:].strip()) == b"[DONE]":
                    continue
                choices = json.loads(data)["choices"]
                for call in (choices and choices[0]["delta"].get("tool_calls")) or ():
                    function = call["function"]
                    calls.setdefault(call["index"], (function.get("name", ""), []))[1].append(function["arguments"])
        return [(name, json.loads("".join(pieces))) for name, pieces in calls.values()]

    async def close(self) -> None:
        await self._session.close()
