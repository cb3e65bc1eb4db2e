"""A cache for what is asked often, limits on what is let through, and a guard with a say of its own."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from neuroroute import AnyMessage, InputChecks, LMStudioAdapter, LMStudioError, MemoryCache


def no_card_numbers(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> str | None:
    found = any(re.search(r"\b(?:\d[ -]?){16}\b", message.text) for message in messages)
    return "it looks like the number of a card" if found else None


async def main() -> None:
    checks = InputChecks(max_message_bytes=2000, max_completion_tokens=200, control_characters="strip")
    async with LMStudioAdapter("auto", cache=MemoryCache(), checks=checks, guards=[no_card_numbers]) as adapter:
        try:
            for _ in range(2):
                response = await adapter.generate_completion("What is the capital of France?")
                print(f"{response.text} From the cache: {response.cached}")
            await adapter.generate_completion("Is 4111 1111 1111 1111 a good number?")
        except LMStudioError as error:
            print("Error:", error)


if __name__ == "__main__":
    asyncio.run(main())
