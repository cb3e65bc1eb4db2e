"""The specification's "Tool Usage": the model may ask for several calls at once, and each gets its result."""

import asyncio
import json

from neuroroute import LMStudioAdapter, LMStudioError

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the current weather in a given location",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                    "unit": {
                        "type": "string",
                        "enum": ["celsius", "fahrenheit"],
                        "description": "The temperature unit to use",
                    },
                },
                "required": ["location"],
            },
        },
    }
]


async def tool_usage(adapter: LMStudioAdapter) -> None:
    response = await adapter.generate_completion(
        "What is the weather like in Tokyo?", tools=TOOLS, tool_choice="auto", temperature=0.2
    )
    print("Response text:", response.text)
    print("Tool calls:", response.tool_calls)

    # Handle the tool calls
    if response.tool_calls:
        print("Handling tool calls...")
        tool_responses: list[dict[str, str]] = []
        for tool_call in response.tool_calls:
            if tool_call.type == "function":
                arguments = json.loads(tool_call.function.arguments)
                print("Tool function name:", tool_call.function.name)
                print("Arguments:", arguments)

                # Simulate tool execution
                tool_result = {
                    "location": arguments.get("location"),
                    "temperature": 22,
                    "unit": arguments.get("unit", "celsius"),
                    "condition": "partly cloudy",
                }
                print("Tool result:", tool_result)
                tool_responses.append(
                    {"role": "tool", "tool_call_id": tool_call.id, "content": json.dumps(tool_result)}
                )

        # Continue the conversation with the tool results
        follow_up = await adapter.generate_completion("", messages=[*response.messages, *tool_responses])
        print("Follow-up response:", follow_up.text)


async def main() -> None:
    async with LMStudioAdapter("llama3", max_tokens=200) as adapter:
        try:
            await tool_usage(adapter)
        except (LMStudioError, ValueError) as error:  # a ValueError: the model's arguments are no JSON
            print("Error in tool usage:", error)


if __name__ == "__main__":
    asyncio.run(main())
