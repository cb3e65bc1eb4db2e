"""The specification's "Direct Parameter Passing": settings for all calls at the constructor, for one at the call."""

import asyncio

from neuroroute import LMStudioAdapter


async def main() -> None:
    # A call's own value > the constructor's > the configuration manager's > the environment's > the default.
    async with LMStudioAdapter("llama3", max_tokens=60, temperature=0.2) as adapter:
        response = await adapter.generate_completion("Hello", timeout_ms=30000, max_retries=2, initial_backoff=500)
        print(response.text)
        print(f"answered by {response.model} after {response.attempts} attempt(s)")


if __name__ == "__main__":
    asyncio.run(main())
