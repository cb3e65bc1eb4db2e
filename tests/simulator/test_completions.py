"""Text completions, in both modes, as the real server words them."""

from __future__ import annotations

from typing import Any

import pytest

from neuroroute.simulator import Answer, Simulator

PATH = "/v1/completions"


async def streamed(client: Any, server: Simulator, **fields: Any) -> list[Any]:
    body = {"model": "llama3", "prompt": "once upon", "stream": True, **fields}
    async with client.session.post(f"{server.origin}{PATH}", json=body) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        return list(client.events(await response.read()))


async def test_a_whole_answer(server: Simulator, client: Any) -> None:
    """A whole answer is a text with its finish reason, and words are counted."""
    server.answer(Answer("a time", id="cmpl-x", created=17, finish_reason="length", stats={"a": 1}))
    assert await client.post(server, PATH, {"model": "llama3", "prompt": "once upon"}) == (
        200,
        {
            "id": "cmpl-x",
            "object": "text_completion",
            "created": 17,
            "model": "llama3",
            "choices": [{"index": 0, "text": "a time", "logprobs": None, "finish_reason": "length"}],
            "usage": {
                "prompt_tokens": 2,
                "completion_tokens": 2,
                "total_tokens": 4,
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            "stats": {"a": 1},
        },
    )


async def test_a_stream(server: Simulator, client: Any) -> None:
    """A stream is texts, an empty one with the finish reason, the usage if asked for, and ``[DONE]``."""
    server.answer(Answer("a time", id="cmpl-x", created=17))
    head = {"id": "cmpl-x", "object": "text_completion", "created": 17, "model": "llama3"}

    def chunk(text: str, finish_reason: str | None = None) -> Any:
        return {**head, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}]}

    *chunks, usage, done = await streamed(client, server, stream_options={"include_usage": True})
    assert chunks == [chunk("a"), chunk(" time"), chunk("", "stop")]
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 4, "[DONE]")


async def test_nothing_is_parsed(server: Simulator, client: Any) -> None:
    """Reasoning is a think block in the text, and there are no calls."""
    server.answer(Answer("yes", reasoning="hm", tool_calls=[("f", {})], finish_reason="stop"))
    _, body = await client.post(server, PATH, {"model": "llama3", "prompt": "once upon"})
    assert body["choices"][0]["text"] == "<think>hm</think>yes"
    assert set(body["choices"][0]) == {"index", "text", "logprobs", "finish_reason"}


@pytest.mark.parametrize("prompt", [None, ["a"], [1, 2]])
async def test_only_a_text_is_a_prompt(server: Simulator, client: Any, prompt: object) -> None:
    """A prompt that is no text is a 400 and takes no answer from the queue."""
    server.answer("kept")
    assert (await client.post(server, PATH, {"model": "llama3", "prompt": prompt}))[0] == 400
    assert (await client.post(server, PATH, {"model": "llama3", "prompt": "x"}))[1]["choices"][0]["text"] == "kept"


async def test_a_prompt_that_does_not_fit(server: Simulator, client: Any) -> None:
    """A prompt as long as the context is refused in the words of the version."""
    status, body = await client.post(server, PATH, {"model": "llama3", "prompt": "word " * 4096})
    assert (status, body["error"][:28]) == (400, "The number of tokens to keep")
