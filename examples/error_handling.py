"""The specification's "Error Handling", with each branch reached.

No server fails to order, so a simulated LM Studio does: the one that the tests of NeuroRoute run against.
"""

import asyncio

from neuroroute import LMStudioAdapter, LMStudioError
from neuroroute.simulator import Fail, Simulator

FAILURES = {
    "answers": None,
    "is rate limited": Fail(429, {"error": "Too many requests"}, headers={"Retry-After": "0.01"}),
    "has a small context": Fail(400, {"error": "Cannot truncate prompt with n_keep (13575) >= n_ctx (4096)"}),
    "has no model loaded": Fail(400, {"error": "No models loaded. Please load a model in the developer page ..."}),
    "refuses images": Fail(400, {"error": "'url' field must be a base64 encoded image."}),
}


async def ask(adapter: LMStudioAdapter) -> None:
    try:
        response = await adapter.generate_completion("Hello", max_retries=3, initial_backoff=1)
        print(response.text)
    except LMStudioError as error:
        if error.code == "MODEL_RATE_LIMITED":
            print(f"Rate limited, try again later (tried {error.attempts} times)")
        elif error.code == "MODEL_CONTEXT_LENGTH":
            print("Input is too long for the model:", error.details)
        elif error.code == "MODEL_UNAVAILABLE":
            print("Model is currently unavailable:", error.hint)
        else:
            print("Error:", error)


async def main() -> None:
    async with Simulator() as lmstudio, LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        for what, failure in FAILURES.items():
            lmstudio.script(lambda _, failure=failure: failure or "Hello to you!")
            print(f"A server that {what}:", end=" ")
            await ask(adapter)


if __name__ == "__main__":
    asyncio.run(main())
