"""The whole pipe against a real language model; its structure is asserted, never its words."""

from __future__ import annotations

import pytest

from neuroroute import LMStudioAdapter, ModelContextLengthError, tool
from neuroroute.engine import EmbeddedEngine

pytestmark = pytest.mark.engine
EXACT = {"temperature": 0, "max_tokens": 40, "extra": {"cache_prompt": False}}


async def test_a_completion(engine: EmbeddedEngine) -> None:
    """A real model answers, counts its tokens and says how fast it was."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url) as adapter:
        response = await adapter.generate_completion("What is the capital of France?", **EXACT)
    assert response.text
    assert response.model == engine.model_id
    assert response.finish_reason in ("stop", "length")
    assert 0 < response.tokens.completion <= 40
    assert response.tokens.total == response.tokens.prompt + response.tokens.completion
    assert not response.tokens.estimated
    assert response.stats.tokens_per_second is not None
    assert response.stats.tokens_per_second > 0
    assert response.notes == ()


async def test_a_stream_is_the_same_answer(engine: EmbeddedEngine) -> None:
    """At temperature 0 the stream of a real model, folded, is its whole answer."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, **EXACT, seed=1) as adapter:
        whole = await adapter.generate_completion("Count to five.")
        async with adapter.stream("Count to five.") as stream:
            chunks = [chunk async for chunk in stream]
    assert len(chunks) > 3
    assert (stream.response.text, stream.response.tokens) == (whole.text, whole.tokens)
    assert stream.response.finish_reason == whole.finish_reason
    assert stream.response.raw.keys() >= {"id", "created", "model", "choices", "usage"}


async def test_a_conversation(engine: EmbeddedEngine) -> None:
    """A second turn is answered with the first in view: the model reads both."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, **EXACT) as adapter:
        first = await adapter.generate_completion("My name is Ada.")
        history = [*first.messages, {"role": "user", "content": "What is my name? One word."}]
        second = await adapter.generate_completion(messages=history)
    assert second.text
    assert second.tokens.prompt > first.tokens.total


async def test_a_text_is_completed(engine: EmbeddedEngine) -> None:
    """A real model goes on with a text as it stands, whole and streamed alike."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, api="completions", **EXACT) as adapter:
        whole = await adapter.generate_completion("def add(a, b):\n    return", max_tokens=4)
        streamed = await adapter.stream("def add(a, b):\n    return", max_tokens=4).whole()
    assert whole.text == streamed.text
    assert "a" in whole.text
    assert (whole.tokens.completion, whole.tokens.estimated, whole.notes) == (4, False, ())


async def test_a_conversation_over_responses(engine: EmbeddedEngine) -> None:
    """llama.cpp answers there and remembers nothing: every turn succeeds, and is sent what was said before."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, **EXACT) as adapter:
        chat = adapter.conversation(api="responses")
        first = await chat.ask("Say hi.", max_tokens=3)
        second = await chat.ask("Again.", max_tokens=3)
    assert second.tokens.prompt > first.tokens.total
    assert [note.code for note in second.notes] == ["HISTORY_SENT_WHOLE"]
    assert len(chat.messages) == 5


async def test_streams_one_after_the_other(engine: EmbeddedEngine) -> None:
    """llama.cpp closes the socket after each stream although it promised to keep it: no call may fail for that."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, max_retries=0, **EXACT) as adapter:
        for _ in range(3):
            async with adapter.stream("Say hi.", max_tokens=3) as stream:
                assert (await stream.whole()).attempts == 1
            assert (await adapter.generate_completion("Say hi.", max_tokens=3)).attempts == 1


async def test_leaving_a_stream_frees_the_engine(engine: EmbeddedEngine) -> None:
    """After a stream was left early the engine answers the next call at once."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, temperature=0) as adapter:
        async with adapter.stream("Write a very long story about the sea.", max_tokens=2000) as stream:
            async for _ in stream:
                break
        response = await adapter.generate_completion("Say hi.", max_tokens=3, timeout_ms=15_000)
    assert response.text


async def test_an_overflow_has_its_numbers(engine: EmbeddedEngine) -> None:
    """A prompt that does not fit is told with how much it is and how much fits."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url) as adapter:
        with pytest.raises(ModelContextLengthError) as caught:
            await adapter.generate_completion("word " * 9000)
    assert caught.value.prompt_tokens is not None
    assert caught.value.context_length is not None
    assert caught.value.prompt_tokens > caught.value.context_length == 8192


async def test_it_is_listed(engine: EmbeddedEngine) -> None:
    """The embedded engine lists its model, although it has none of LM Studio's own listings."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url) as adapter:
        assert [model.key for model in await adapter.list_models()] == [engine.model_id]
        assert await adapter.is_available()


@tool
def get_weather(city: str) -> dict[str, str]:
    """The weather of a city, now.

    Args:
        city: its name, such as Paris.
    """
    return {"city": city, "condition": "sunny"}


async def test_a_forced_tool_call(engine: EmbeddedEngine) -> None:
    """A call that is asked for comes, names an offered tool, and its arguments are what the tool takes."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, **EXACT) as adapter:
        response = await adapter.generate_completion(
            "What is the weather in Paris?", tools=[get_weather], tool_choice="required"
        )
    assert response.finish_reason == "tool_calls"
    assert {call.function.name for call in response.tool_calls} == {"get_weather"}
    assert get_weather.check(response.tool_calls[0].function.arguments).keys() == {"city"}


async def test_a_whole_tool_loop(engine: EmbeddedEngine) -> None:
    """The model calls, is told the result, and answers in words; in a conversation the next turn knows of it."""
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, **EXACT) as adapter:
        chat = adapter.conversation()
        response = await chat.run_tools("What is the weather in Paris?", tools=[get_weather], max_rounds=3)
        assert response.text
        assert [message.role for message in chat.messages][:4] == ["system", "user", "assistant", "tool"]
        assert (await chat.ask("Thank you.", max_tokens=8)).text
        assert chat.budget.limit == 8192


async def test_the_legacy_form(engine: EmbeddedEngine) -> None:
    """Functions work on a server that ignores them, and the follow-up without them, too."""
    definition = get_weather.definition.function
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, **EXACT) as adapter:
        response = await adapter.generate_completion(
            "What is the weather in Rome?", functions=[definition], function_call={"name": "get_weather"}
        )
        assert response.function_call is not None
        result = {"role": "function", "name": "get_weather", "content": '{"condition": "sunny"}'}
        follow_up = await adapter.generate_completion("", messages=[*response.messages, result])
    assert follow_up.text


KINDS = {
    "English": "A request goes down a pipe of small layers, and a reply comes back up as a stream of chunks. " * 3,
    "German": "Der Mond ist aufgegangen, die goldnen Sternlein prangen am Himmel hell und klar. " * 3,
    "code": "def add(first: int, second: int) -> int:\n    return first + second\n\n\n" * 4,
}


async def test_tokens_are_counted_exactly(engine: EmbeddedEngine) -> None:
    """A count is what the answer's usage then says, with the template and with tools."""
    history = [{"role": "user", "content": "What is the weather in <|im_end|> Paris? 日本"}]
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, temperature=0, max_tokens=1) as adapter:
        for tools in ([], [get_weather]):
            count = await adapter.count_tokens(history, tools=tools)
            response = await adapter.generate_completion(messages=history, tools=tools or None)
            assert count == response.tokens.prompt
        words = [await adapter.count_tokens("word " * count) for count in (10, 20)]
        assert words[1] - words[0] == 10


@pytest.mark.parametrize("kind", KINDS)
async def test_estimates_learn(engine: EmbeddedEngine, kind: str) -> None:
    """After one answer, texts of its kind are estimated within 10 %, and within 25 % before."""
    text = KINDS[kind]
    half = text[: len(text) // 2]
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, temperature=0, max_tokens=1) as adapter:
        exact = await adapter.count_tokens(half)
        before = adapter.estimate_tokens(half) / exact - 1
        await adapter.generate_completion(text)
        after = adapter.estimate_tokens(half) / exact - 1
    print(f"{kind}: {before:+.0%} before, {after:+.0%} after one answer")
    assert abs(before) < 0.25
    assert abs(after) < 0.1
