"""The specification's "Function Calling": the model asks for a function, you run it, the model goes on.

LM Studio ignores ``functions``, so they are sent as tools and the answer is told in the older form.
"""

import asyncio
import json

from neuroroute import LMStudioAdapter, LMStudioError

FUNCTIONS = [
    {
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
    }
]


async def function_calling(adapter: LMStudioAdapter) -> None:
    response = await adapter.generate_completion(
        "What is the weather like in San Francisco and New York?",
        functions=FUNCTIONS,
        function_call="auto",
        temperature=0.2,
    )
    print("Response text:", response.text)
    print("Function call:", response.function_call)

    # Handle the function call
    if response.function_call:
        print("Handling function call...")
        name = response.function_call.name
        arguments = json.loads(response.function_call.arguments)
        print("Function name:", name)
        print("Arguments:", arguments)

        # Simulate function execution
        function_result = {
            "location": arguments.get("location"),
            "temperature": 72,
            "unit": arguments.get("unit", "fahrenheit"),
            "condition": "sunny",
        }
        print("Function result:", function_result)

        # Continue the conversation with the function result
        messages = [
            *response.messages,
            {"role": "function", "name": "get_weather", "content": json.dumps(function_result)},
        ]
        follow_up = await adapter.generate_completion("", messages=messages)
        print("Follow-up response:", follow_up.text)


async def main() -> None:
    async with LMStudioAdapter("llama3", max_tokens=200) as adapter:
        try:
            await function_calling(adapter)
        except (LMStudioError, ValueError) as error:  # a ValueError: the model's arguments are no JSON
            print("Error in function calling:", error)


if __name__ == "__main__":
    asyncio.run(main())
