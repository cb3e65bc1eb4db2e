"""The specification's "Combining Multiple Features": a history, two tools, and the final answer as a stream."""

import asyncio
import json

from neuroroute import LMStudioAdapter, LMStudioError, ToolCall

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "search_database",
            "description": "Search a database for information",
            "parameters": {
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "The search query"},
                    "limit": {"type": "number", "description": "Maximum number of results to return"},
                },
                "required": ["query"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "get_current_time",
            "description": "Get the current time in a specific timezone",
            "parameters": {
                "type": "object",
                "properties": {
                    "timezone": {"type": "string", "description": 'The timezone (e.g., "America/New_York")'}
                },
                "required": ["timezone"],
            },
        },
    },
]

MESSAGES = [
    {
        "role": "system",
        "content": (
            "You are a helpful assistant with access to tools for searching a database and getting the current time."
        ),
    },
    {
        "role": "user",
        "content": "I need information about renewable energy and also what time it is in Tokyo.",
    },
]


def run(tool_call: ToolCall) -> dict[str, object]:
    arguments = json.loads(tool_call.function.arguments)
    if tool_call.function.name == "search_database":
        # Simulate database search
        return {
            "results": [
                {"title": "Solar Energy Basics", "source": "database"},
                {"title": "Wind Power Technologies", "source": "database"},
                {"title": "Hydroelectric Power", "source": "database"},
            ]
        }
    # Simulate getting current time
    return {"time": "14:30", "timezone": arguments.get("timezone"), "date": "2025-04-23"}


async def complex_example(adapter: LMStudioAdapter) -> None:
    # First response with tool calls
    response1 = await adapter.generate_completion(
        "", messages=MESSAGES, tools=TOOLS, tool_choice="auto", temperature=0.2, max_retries=2
    )
    print("Initial response:", response1.text)
    print("Tool calls:", response1.tool_calls)
    if not response1.tool_calls:
        return  # that was the final response

    # Handle tool calls
    tool_responses = [
        {"role": "tool", "tool_call_id": tool_call.id, "content": json.dumps(run(tool_call))}
        for tool_call in response1.tool_calls
    ]

    # Continue conversation with tool results
    updated_messages = [*response1.messages, *tool_responses]

    # Stream the final response
    print("\nStreaming final response:")
    stream = adapter.generate_completion_stream("", messages=updated_messages, temperature=0.7, max_tokens=500)
    async for chunk in stream:
        if chunk.error:
            print("Stream error:", chunk.error_details)
            break
        print(chunk.chunk, end="", flush=True)
        if chunk.done:
            print("\n\nStream finished.")
            break


async def main() -> None:
    async with LMStudioAdapter("llama3") as adapter:
        try:
            await complex_example(adapter)
        except (LMStudioError, ValueError) as error:  # a ValueError: the model's arguments are no JSON
            print("Error in complex example:", error)


if __name__ == "__main__":
    asyncio.run(main())
