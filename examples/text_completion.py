"""Text completion: the model goes on with a text as it stands, without a chat template. For code, and base models."""

import asyncio

from neuroroute import LMStudioAdapter, LMStudioError

PROMPT = "def celsius_to_fahrenheit(degrees):\n"


async def main() -> None:
    async with LMStudioAdapter("llama3", api="completions", max_tokens=60, temperature=0, stop="\ndef ") as adapter:
        try:
            response = await adapter.generate_completion(PROMPT)
        except LMStudioError as error:
            print("Error:", error)
            return
        print(PROMPT + response.text)
        print("Tokens:", response.tokens.total)


if __name__ == "__main__":
    asyncio.run(main())
