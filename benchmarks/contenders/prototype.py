"""The prototype that the gates were set by, out of the wider comparison: aiohttp and msgspec, each turn encoded once.

What it does on this machine says how much of a gate is the machine's, and how much is ours.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from contenders import peers

os.environ["PEER_VARIANT"] = "aiohttp:once"
sys.path.append(str(peers()))

from clients.proto_ import Impl


class Client(Impl):
    async def chat(self, messages: list[dict[str, Any]], model: str) -> tuple[str, int]:
        return await super().chat(self._encoded(messages), model)

    async def stream(self, messages: list[dict[str, Any]], model: str) -> tuple[int, int]:
        taken, characters, _ = await super().stream(self._encoded(messages), model)
        return taken, characters

    async def tools(self, messages: list[dict[str, Any]], model: str) -> list[tuple[str, dict[str, Any]]]:
        calls: list[tuple[str, dict[str, Any]]] = await super().tools(self._encoded(messages), model)
        return calls

    def _encoded(self, messages: list[dict[str, Any]]) -> list[Any]:
        kept = self.__dict__.setdefault("kept", {})
        if id(messages) not in kept:
            kept[id(messages)] = self.prepare(messages)
        return kept[id(messages)]
