"""The specification's migration "From Basic Completion to Conversation History", before and after."""

import asyncio

from neuroroute import LMStudioAdapter


async def before(adapter: LMStudioAdapter) -> None:
    response = await adapter.generate_completion("What is the capital of France?", {"temperature": 0.7})
    print(response.text)


async def after(adapter: LMStudioAdapter) -> None:
    # First message
    response1 = await adapter.generate_completion("What is the capital of France?", temperature=0.7)
    print(response1.text)

    # Continue the conversation: response.messages is the whole history, the answer included.
    messages = [*response1.messages, {"role": "user", "content": "What is its population?"}]
    response2 = await adapter.generate_completion(messages=messages)
    print(response2.text)


async def main() -> None:
    async with LMStudioAdapter("llama3", max_tokens=100) as adapter:
        print("Before:")
        await before(adapter)
        print("After:")
        await after(adapter)


if __name__ == "__main__":
    asyncio.run(main())
