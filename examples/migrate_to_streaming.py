"""The specification's migration "From Non-Streaming to Streaming", before and after, and the Python form beside it."""

import asyncio

from neuroroute import LMStudioAdapter

PROMPT = "Tell me a story about a space explorer."


async def before(adapter: LMStudioAdapter) -> None:
    response = await adapter.generate_completion(PROMPT, temperature=0.7)
    print(response.text)


async def after(adapter: LMStudioAdapter) -> None:
    async for chunk in adapter.generate_completion_stream(PROMPT, temperature=0.7):
        if chunk.error:
            print("Stream error:", chunk.error_details)
            break
        print(chunk.chunk, end="", flush=True)
        if chunk.done:
            print("\nStream finished.")
            break


async def after_in_python(adapter: LMStudioAdapter) -> None:
    """Raises typed errors, and folds the chunks for you."""
    async with adapter.stream(PROMPT, temperature=0.7) as stream:
        async for chunk in stream:
            print(chunk.chunk, end="", flush=True)
    print(f"\n{stream.response.finish_reason}: {stream.response.tokens.completion} tokens")


async def main() -> None:
    async with LMStudioAdapter("llama3", max_tokens=60) as adapter:
        print("Before:")
        await before(adapter)
        print("After:")
        await after(adapter)
        print("After, in Python's form:")
        await after_in_python(adapter)


if __name__ == "__main__":
    asyncio.run(main())
