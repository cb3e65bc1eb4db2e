"""Tools the Python way: functions are offered as they are, and the adapter runs what the model calls.

``run_tools`` gives the final answer, ``stream_tools`` the chunks of every answer on the way there.
"""

import asyncio
from typing import Literal

from neuroroute import LMStudioAdapter, LMStudioError, ToolCall, tool


@tool
def get_weather(location: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> dict[str, object]:
    """Get the current weather in a given location.

    Args:
        location: The city and state, e.g. San Francisco, CA
        unit: The temperature unit to use
    """
    return {"location": location, "temperature": 22 if unit == "celsius" else 72, "unit": unit}


@tool(timeout_ms=5000)
async def send_postcard(recipient: str, text: str) -> str:
    """Send a postcard to somebody.

    Args:
        recipient: Who gets it
        text: What to write on it
    """
    return f"sent to {recipient}: {text}"


def approve(call: ToolCall) -> str | None:
    """Sees each call before it runs; a text refuses it and is told to the model."""
    print(f"-> {call.function.name} {call.function.arguments}")
    return "the user allows no postcards" if call.function.name == "send_postcard" else None


async def whole(adapter: LMStudioAdapter) -> None:
    response = await adapter.run_tools(
        "How warm is it in Oslo and in Rome?", tools=[get_weather], max_rounds=3, on_tool_call=approve
    )
    print("Answer:", response.text)
    print("Roles:", *(message.role for message in response.messages))


async def streamed(adapter: LMStudioAdapter) -> None:
    async with adapter.stream_tools(
        "Send Ann a postcard.", tools=[get_weather, send_postcard], max_rounds=3, on_tool_call=approve
    ) as stream:
        async for chunk in stream:
            print(chunk.chunk, end="", flush=True)
    print("\nFinish reason:", stream.response.finish_reason)


async def main() -> None:
    async with LMStudioAdapter("llama3", max_tokens=200, temperature=0) as adapter:
        for example in (whole, streamed):
            try:
                await example(adapter)
            except LMStudioError as error:  # a ToolRoundsError: the model found no end
                print("Error:", error)


if __name__ == "__main__":
    asyncio.run(main())
