"""The specification's "Streaming", with a function: once a call is complete, it comes as one chunk of text."""

import asyncio
import json

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


async def streaming_with_function_calls(adapter: LMStudioAdapter) -> None:
    print("Streaming response:")
    stream = adapter.generate_completion_stream(
        "What is the weather like in Paris?", functions=FUNCTIONS, function_call="auto", temperature=0.2
    )

    # Process the stream
    full_text = ""
    function_call_data = ""
    async for chunk in stream:
        if chunk.error:
            print("Stream error:", chunk.error_details)
            break
        if "[Function Call]" in chunk.chunk:
            # This is a function call chunk; chunk.function_call has it, too, as a FunctionCall
            function_call_data += chunk.chunk.replace("[Function Call]:", "").strip()
            print("*", end="", flush=True)  # Show function call progress
        else:
            # This is a regular text chunk
            full_text += chunk.chunk
            print(chunk.chunk, end="", flush=True)
        if chunk.done:
            print("\n\nStream finished.")
            print("Finish reason:", chunk.finish_reason)
            break

    print("\nFull text:", full_text)
    if function_call_data:
        print("Function call data:", function_call_data)
        try:
            # Parse the function call data
            print("Parsed function call:", json.loads(function_call_data))
        except ValueError as error:
            print("Error parsing function call data:", error)


async def main() -> None:
    async with LMStudioAdapter("llama3", max_tokens=200) as adapter:
        await streaming_with_function_calls(adapter)


if __name__ == "__main__":
    asyncio.run(main())
