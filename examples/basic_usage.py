"""The specification's "Basic Usage": one prompt, one answer."""

import asyncio

from neuroroute import LMStudioAdapter, LMStudioError


async def basic_completion() -> None:
    async with LMStudioAdapter("llama3") as adapter:
        try:
            response = await adapter.generate_completion(
                "What are the three laws of robotics?",
                system_message="You are a helpful AI assistant with expertise in science fiction literature.",
                temperature=0.7,
                max_tokens=500,
            )
        except LMStudioError as error:
            print("Error in basic completion:", error)
            return
        print("Response:", response.text)
        print("Token usage:", response.tokens)
        print("Processing time:", round(response.processing_time, 2), "seconds")


if __name__ == "__main__":
    asyncio.run(basic_completion())
