"""The same adapter without asyncio."""

from neuroroute import SyncLMStudioAdapter


def main() -> None:
    with SyncLMStudioAdapter("llama3", max_tokens=60) as adapter:
        print(adapter.generate_completion("What is the capital of Italy?").text)
        with adapter.stream("And of Spain?") as stream:
            for chunk in stream:
                print(chunk.chunk, end="", flush=True)
        print(f"\n{stream.response.tokens.total} tokens")


if __name__ == "__main__":
    main()
