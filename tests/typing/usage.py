"""A user's program, never run: both type checkers read it, as `make types` does.

Each deliberate error is marked for both, so that one that is no longer found is an error itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_type

from neuroroute import (
    AnyMessage,
    Capability,
    ChunkStream,
    CompletionStream,
    Embeddings,
    InputChecks,
    LMStudioAdapter,
    LoadedModel,
    MemoryCache,
    ModelDetails,
    ModelResponse,
    RequestOptions,
    ResponseCache,
    RetryPolicy,
    SQLiteCache,
    StreamingChunk,
    SyncChunkStream,
    SyncCompletionStream,
    SyncLMStudioAdapter,
    SyncToolStream,
    TextPart,
    ToolCall,
    ToolStream,
    UserMessage,
    tool,
)


@tool
def weather(city: str, days: int = 1) -> str:
    """Tells the weather."""
    return f"{city}: {days} times sun"


@tool(name="clock", timeout_ms=500)
async def time_of(zone: str) -> float:
    """Tells the time."""
    return len(zone) / 2


class Lamp:
    """Something with a method for the model."""

    @tool
    def dim(self, percent: int) -> bool:
        """Dims the lamp."""
        return percent > 0


def tools() -> None:
    """A tool called by its program is the function that it was."""
    assert_type(weather("Paris", days=2), str)
    assert_type(Lamp().dim(5), bool)
    assert_type(weather.name, str)
    weather(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    weather("Paris", hours=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Lamp().dim("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def asynchronous(refuse: Callable[[ToolCall], bool]) -> None:
    """The asynchronous adapter."""
    assert_type(await time_of("CET"), float)
    options: RequestOptions = {"temperature": 0.2, "messages": [UserMessage(content="hi")], "tools": [weather]}
    async with LMStudioAdapter("llama3", retry=RetryPolicy(max_backoff=5), temperature=0.5) as adapter:
        assert_type(adapter, LMStudioAdapter)
        response = await adapter.generate_completion("hi", options, max_tokens=5, stop=["x"], reasoning="low")
        assert_type(response, ModelResponse)
        assert_type(response.text, str)
        assert_type(response.tool_calls, tuple[ToolCall, ...])
        async with adapter.stream("hi", messages=[{"role": "user", "content": "x"}]) as stream:
            assert_type(stream, CompletionStream)
            async for chunk in stream:
                assert_type(chunk, StreamingChunk)
                assert_type(chunk.chunk, str)
        assert_type(stream.response, ModelResponse)
        assert_type(adapter.generate_completion_stream("hi"), ChunkStream)
        assert_type(await adapter.run_tools("hi", tools=[weather, time_of, len], max_rounds=3), ModelResponse)
        assert_type(adapter.stream_tools("hi", tools=[Lamp().dim], max_rounds=1, on_tool_call=refuse), ToolStream)
        assert_type(await adapter.list_models(), list[ModelDetails])
        assert_type(await adapter.get_capabilities(), frozenset[Capability])
        assert_type(await adapter.load_model(context_length=4096, on_progress=print), LoadedModel)
        assert_type(await adapter.embed(["a", "b"], model="auto", timeout_ms=5), Embeddings)
        assert_type(await adapter.generate_completion("hi", api="native", previous=response), ModelResponse)
        adapter.stream("hi", api="v1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await adapter.embed("a", temperature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        adapter.conversation(api="native", integrations=["mcp/x"], on_progress=print)
        await adapter.generate_completion("hi", needs={"flying"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(await adapter.count_tokens([UserMessage(content="hi")], tools=[weather]), int)
        assert_type(adapter.estimate_tokens("hi"), int)
        await adapter.generate_completion("hi", cache_mode="write")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(await adapter.is_available(), bool)
        assert_type(adapter.with_model("qwen3-8b", top_p=0.5), LMStudioAdapter)

        await adapter.generate_completion("hi", temperature="warm")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await adapter.generate_completion("hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        await adapter.run_tools("hi", tools=[weather])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        adapter.stream("hi", reasoning="hard")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        adapter.with_model(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def blocking() -> None:
    """The blocking adapter has the same signatures, without await."""
    with SyncLMStudioAdapter("llama3", max_retries=1) as adapter:
        assert_type(adapter, SyncLMStudioAdapter)
        response = adapter.generate_completion("hi", {"seed": 5}, max_tokens=5)
        assert_type(response, ModelResponse)
        with adapter.stream("hi", top_k=40) as stream:
            assert_type(stream, SyncCompletionStream)
            for chunk in stream:
                assert_type(chunk, StreamingChunk)
        assert_type(stream.response, ModelResponse)
        assert_type(adapter.generate_completion_stream("hi"), SyncChunkStream)
        assert_type(adapter.run_tools("hi", tools=[weather], max_rounds=3), ModelResponse)
        assert_type(adapter.stream_tools("hi", tools=[weather], max_rounds=3), SyncToolStream)
        assert_type(adapter.list_models(), list[ModelDetails])
        assert_type(adapter.get_capabilities(), frozenset[Capability])
        assert_type(adapter.unload_model(), tuple[str, ...])
        assert_type(adapter.embed("a"), Embeddings)
        assert_type(adapter.is_available(), bool)
        assert_type(adapter.with_model("qwen3-8b"), SyncLMStudioAdapter)

        adapter.generate_completion(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        adapter.generate_completion("hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        adapter.stream("hi", max_tokens="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        adapter.run_tools("hi", tools=[weather])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def short(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> str | None:
    """A guard."""
    return "too many" if len(messages) > 5 else None


class Moderation:
    """A guard of both ends."""

    def before(self, messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> bool:
        """Whether it may be sent."""
        return bool(messages)

    async def after(self, response: ModelResponse) -> str | None:
        """Why it may not be handed out."""
        return response.text or None


def guarded(cache: ResponseCache) -> None:
    """Caches and guards are whatever has the methods."""
    checks = InputChecks(allowed_roles={"user"}, control_characters="strip")
    for kept in (MemoryCache(), SQLiteCache("answers.db", ttl_seconds=None), cache):
        LMStudioAdapter("llama3", cache=kept, checks=checks, guards=[short, Moderation()])
    LMStudioAdapter("llama3", cache={})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    LMStudioAdapter("llama3", guards=[5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    InputChecks(allowed_roles={"sage"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def values(response: ModelResponse) -> None:
    """What goes in and comes out is frozen, and made with keywords."""
    response.messages.append(UserMessage(content=(TextPart(text="look"),), name="ann"))
    SyncLMStudioAdapter("llama3", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    UserMessage("hi")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    UserMessage(content="hi").content = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
