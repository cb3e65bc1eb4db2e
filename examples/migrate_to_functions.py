"""The specification's migration "Adding Function Calling", before and after."""

import asyncio

from neuroroute import LMStudioAdapter

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


async def before(adapter: LMStudioAdapter) -> None:
    response = await adapter.generate_completion("What is the weather in New York?", {"temperature": 0.7})
    print(response.text)


async def after(adapter: LMStudioAdapter) -> None:
    response = await adapter.generate_completion(
        "What is the weather in New York?", functions=FUNCTIONS, function_call="auto", temperature=0.7
    )
    if response.function_call:
        # Handle function call
        print("Function call:", response.function_call)
    else:
        print(response.text)


async def main() -> None:
    async with LMStudioAdapter("llama3", max_tokens=100) as adapter:
        print("Before:")
        await before(adapter)
        print("After:")
        await after(adapter)


if __name__ == "__main__":
    asyncio.run(main())
