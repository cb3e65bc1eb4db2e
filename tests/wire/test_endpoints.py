from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from neuroroute import (
    ConfigurationError,
    LMStudioAdapter,
    LMStudioError,
    ModelEmptyResponseError,
    ModelUnavailableError,
    NetworkError,
    ServerCall,
    StreamInterruptedError,
    tool,
)
from neuroroute.simulator import Answer, Fail, McpCall, SimulatedModel, Simulator, StreamFault, WholeFault
from neuroroute.wire.endpoints import CHAT, ENDPOINTS, NATIVE

if TYPE_CHECKING:
    from neuroroute.options import Api

APIS = ("chat", "completions", "responses", "native")
OTHERS = APIS[1:]
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "native": "/api/v1/chat",
}


def asked(lmstudio: Simulator) -> list[str]:
    return [request.path for request in lmstudio.requests if request.method == "POST"]


def test_addresses() -> None:
    """OpenAI's routes stand below the base URL, whatever it is; native ones at the server's root."""
    assert CHAT.address("http://a/x/v1") == "http://a/x/v1/chat/completions"
    assert NATIVE.address("http://a/x/v1") == "http://a/x/api/v1/chat"
    assert NATIVE.address("http://a") == "http://a/api/v1/chat"
    assert tuple(ENDPOINTS) == APIS


@pytest.mark.parametrize("api", APIS)
async def test_one_type_comes_back_from_all(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """Each route answers whole and streamed with the same text, tokens, model, host, history and kind of chunks."""
    whole = await adapter.generate_completion("hi there", api=api)
    async with adapter.stream("hi there", api=api) as stream:
        chunks = [chunk async for chunk in stream]
    assert asked(lmstudio) == [PATHS[api]] * 2
    assert "".join(chunk.chunk for chunk in chunks) == "You said: hi there"
    assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    for response in (whole, stream.response):
        assert (response.text, response.finish_reason, response.model) == ("You said: hi there", "stop", "llama3")
        assert (response.api, response.host) == (api, f"127.0.0.1:{lmstudio.port}")
        assert [message.text for message in response.messages[-2:]] == ["hi there", response.text]
        assert (response.tokens.prompt > 0, response.tokens.completion, response.tokens.estimated) == (True, 4, False)
        assert (response.response_id is not None) == (api in ("responses", "native"))
        assert response.notes == ()
        assert response.raw


@pytest.mark.parametrize("api", ["responses", "native"])
@pytest.mark.parametrize("form", ["reasoning_content", "think"])
async def test_reasoning_is_apart_on_every_route(
    adapter: LMStudioAdapter, lmstudio: Simulator, api: Api, form: Any
) -> None:
    """What the model thinks is never part of the text, whole or streamed."""
    lmstudio.answer(Answer("42", reasoning="hard to say", reasoning_form=form), times=2)
    whole = await adapter.generate_completion("hi", api=api)
    streamed = await adapter.stream("hi", api=api).whole()
    assert (whole.text, whole.reasoning) == (streamed.text, streamed.reasoning) == ("42", "hard to say")


async def test_a_prompt_is_completed_as_it_is(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A text completion sends the prompt alone, with the options' own names, and keeps a think block in its text."""
    lmstudio.answer(Answer("<think>so</think> it goes", tool_calls=[("f", {})]))
    response = await adapter.generate_completion("Once", api="completions", stop=["."], seed=7, extra={"echo": False})
    assert lmstudio.requests[-1].json == {
        "model": "llama3", "prompt": "Once", "max_tokens": 1024, "temperature": 0.7, "top_p": 1, "stop": ["."],
        "frequency_penalty": 0, "presence_penalty": 0, "seed": 7, "stream": False, "echo": False,
    }  # fmt: skip
    assert (response.text, response.reasoning, response.tool_calls) == ("<think>so</think> it goes", "", ())
    assert cast("Any", response.raw)["object"] == "text_completion"


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@pytest.mark.parametrize("streaming", [False, True])
async def test_tools_run_over_responses(adapter: LMStudioAdapter, lmstudio: Simulator, streaming: bool) -> None:
    """The loop of tools works on /v1/responses: each round sends its results alone, and goes on from the calls."""
    lmstudio.answer(Answer(tool_calls=[("add", {"a": 1, "b": 2})]))
    lmstudio.answer("three")
    if streaming:
        async with adapter.stream_tools("1 + 2?", tools=[add], max_rounds=2, api="responses") as stream:
            assert [chunk.chunk async for chunk in stream][-2:] == ["three", ""]
        response = stream.response
    else:
        response = await adapter.run_tools("1 + 2?", tools=[add], max_rounds=2, api="responses")
    (result,) = lmstudio.requests[-1].json["input"]
    assert (result["type"], result["output"]) == ("function_call_output", "3")
    assert lmstudio.requests[-1].json["previous_response_id"] is not None
    assert (response.text, [message.role for message in response.messages][2:]) == (
        "three", ["assistant", "tool", "assistant"],
    )  # fmt: skip


@pytest.mark.parametrize("streaming", [False, True])
async def test_tools_that_the_server_ran(adapter: LMStudioAdapter, lmstudio: Simulator, streaming: bool) -> None:
    """Calls by integrations are told with their results, are no calls to run, and stay in the history."""
    search = McpCall("search", {"q": "x"}, "found it", provider="hub")
    wrong = McpCall("fly", output="no such tool", invalid="name")
    lmstudio.answer(Answer("Here.", reasoning="hm", mcp_calls=[wrong, search]))
    integrations = ["mcp/tools", {"type": "ephemeral_mcp", "server_label": "hub", "server_url": "http://hub"}]
    stream = adapter.stream("look", api="native", integrations=integrations)
    response = await (
        stream.whole() if streaming else adapter.generate_completion("look", api="native", integrations=integrations)
    )
    assert lmstudio.requests[-1].json["integrations"] == integrations
    assert (response.text, response.reasoning.startswith("hm"), response.tool_calls) == ("Here.", True, ())
    assert response.finish_reason == "stop"
    assert response.server_calls == (
        ServerCall(name="fly", error="no such tool"),
        ServerCall(name="search", arguments='{"q":"x"}', output="found it", provider="hub"),
    )
    _, _, called, failed, found, said = response.messages
    assert [call["function"]["name"] for call in msgspec.to_builtins(called)["tool_calls"]] == ["fly", "search"]
    assert (failed.text, found.text, said.text) == ("Error: no such tool", "found it", "Here.")


@pytest.mark.parametrize("api", APIS)
async def test_each_route_is_retried(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """A failure before the first chunk is tried again, whatever the route; the answer tells how often."""
    lmstudio.fail("crash_null")
    lmstudio.answer("hello")
    assert (await adapter.generate_completion("hi", api=api)).attempts == 2
    lmstudio.answer(Answer("x", stream_fault=StreamFault("error", 0, "Model unloaded.")))
    lmstudio.answer("hello")
    response = await adapter.stream("hi", api=api).whole()
    assert (response.text, response.attempts) == ("hello", 2)


@pytest.mark.parametrize("api", APIS)
async def test_a_stream_that_only_starts_may_be_retried(
    adapter: LMStudioAdapter, lmstudio: Simulator, api: Api
) -> None:
    """One that ends before its first chunk is NETWORK_ERROR, retried; one that ends after it carries what came."""
    lmstudio.answer(Answer("x", stream_fault=StreamFault("start")))
    with pytest.raises(NetworkError, match="before its first chunk") as caught:
        await adapter.stream("hi", api=api, max_retries=0).whole()
    assert caught.value.retryable
    lmstudio.answer(Answer("one two", stream_fault=StreamFault("end", 1)))
    with pytest.raises(StreamInterruptedError) as broken:
        await adapter.stream("hi", api=api).whole()
    assert broken.value.partial is not None
    assert (broken.value.partial.text, broken.value.partial.response_id) == ("one", None)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", ["cut", "end"])
async def test_a_whole_answer_that_is_cut(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api, kind: Any) -> None:
    """Fewer bytes than promised, or JSON that ends in the middle, is one of our errors on every route."""
    lmstudio.answer(Answer("hello", whole_fault=WholeFault(kind, 20)))
    with pytest.raises(LMStudioError) as caught:
        await adapter.generate_completion("hi", api=api, max_retries=0)
    assert caught.value.code in ("NETWORK_ERROR", "MALFORMED_RESPONSE")


@pytest.mark.parametrize("api", OTHERS)
async def test_an_answer_without_anything_is_told(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """Nothing at all is MODEL_EMPTY_RESPONSE on every route."""
    lmstudio.answer(Answer(""), times=2)
    with pytest.raises(ModelEmptyResponseError):
        await adapter.generate_completion("hi", api=api, max_retries=0)
    with pytest.raises(ModelEmptyResponseError):
        await adapter.stream("hi", api=api, max_retries=0).whole()


async def test_an_old_server_has_no_native_chat(lmstudio: Simulator) -> None:
    """A server without the route answers 200 with an error in it (#618), which is told as a wrong address."""
    lmstudio.surfaces = ("v0", "greeting")
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        with pytest.raises(ConfigurationError, match=r"Unexpected endpoint.*needs LM Studio 0\.4\.0 or later"):
            await adapter.generate_completion("hi", api="native")


@pytest.mark.parametrize("api", OTHERS)
async def test_auto_names_the_model_on_every_route(lmstudio: Simulator, api: Api) -> None:
    """The model that was chosen is the one in the body, whichever route makes it."""
    async with LMStudioAdapter("auto", base_url=lmstudio.url) as adapter:
        assert (await adapter.generate_completion("hi", api=api)).model == "llama3"
    assert lmstudio.requests[-1].json["model"] == "llama3"


@pytest.mark.parametrize("api", ["responses", "native"])
async def test_a_history_that_is_too_long_is_trimmed_on_every_route(lmstudio: Simulator, api: Api) -> None:
    """on_overflow="trim" sends the shorter history in the form of the route."""
    lmstudio.models[:] = [SimulatedModel("llama3", loaded=True, context_length=60)]
    history = [{"role": role, "content": f"{at} " * 12} for at in range(3) for role in ("user", "assistant")]
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        response = await adapter.generate_completion("hi", messages=history, api=api, on_overflow="trim", max_tokens=8)
    assert "HISTORY_TRIMMED" in [note.code for note in response.notes]
    assert len(response.messages) < 8


async def test_a_failure_that_has_words_for_a_status(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A 500 in the native envelope is classified by its words, else as the server's failure."""
    lmstudio.fail(Fail(500, {"error": {"type": "internal_error", "code": "unknown", "message": "Channel Error"}}))
    with pytest.raises(ModelUnavailableError) as caught:
        await adapter.generate_completion("hi", api="native", max_retries=0)
    assert caught.value.reason == "engine"
