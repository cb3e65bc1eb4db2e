"""``/v1/responses``: what it takes, keeps and refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from neuroroute.simulator import Answer, Simulator

PATH = "/v1/responses"


async def ask(client: Any, server: Simulator, given: object = "hi there", **fields: Any) -> tuple[int, Any]:
    answered: tuple[int, Any] = await client.post(server, PATH, {"model": "llama3", "input": given, **fields})
    return answered


def text(body: Any) -> str:
    return str(body["output"][-1]["content"][0]["text"])


async def test_input_may_be_items(server: Simulator, client: Any) -> None:
    """A text, messages with and without type, parts, calls, their results and reasoning make one history."""
    given = [
        {"role": "system", "content": "be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "what time"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "never counted"}]},
        {"type": "function_call", "call_id": "1", "name": "clock", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "half past ten"},
    ]
    _, body = await ask(client, server, given, instructions="one two three")
    assert text(body) == "You said: what time"
    assert body["usage"]["input_tokens"] == 3 + 2 + 2 + 3


async def test_it_remembers(server: Simulator, client: Any) -> None:
    """An answer's id continues what was said, from any point, without its instructions, which are for one answer."""
    _, first = await ask(client, server, "one two", instructions="be very brief")
    assert first["usage"]["input_tokens"] == 5
    for _ in range(2):
        _, second = await ask(client, server, "three", previous_response_id=first["id"])
        assert second["usage"]["input_tokens"] == 2 + 4 + 1
        assert second["previous_response_id"] == first["id"]
    _, third = await ask(client, server, "four", previous_response_id=second["id"], stream=False)
    assert third["usage"]["input_tokens"] == 7 + 3 + 1


async def test_what_cannot_be_continued(server: Simulator, client: Any) -> None:
    """An id that was never stored, was forgotten, or is the native chat's is a 400 of its own code."""
    _, unstored = await ask(client, server, store=False)
    _, forgotten = await ask(client, server)
    _, native = await client.post(server, "/api/v1/chat", {"model": "llama3", "input": "x"})
    server.forget(forgotten["id"])
    for named in (unstored["id"], forgotten["id"], native["response_id"], "resp_x"):
        assert await ask(client, server, previous_response_id=named) == (
            400,
            {
                "error": {
                    "message": f"Response with id '{named}' not found while attempting to build chat history chain",
                    "type": "invalid_request_error",
                    "param": "previous_response_id",
                    "code": "previous_response_not_found",
                }
            },
        )


async def test_forgetting(server: Simulator, client: Any) -> None:
    """What is forgotten must be there, in either of the two routes that remember."""
    with pytest.raises(ValueError, match=r"no response 'resp_7' is stored; there are none"):
        server.forget("resp_7")
    asked = {"model": "llama3", "input": "x"}
    _, native = await client.post(server, "/api/v1/chat", asked)
    server.forget(native["response_id"])
    status, _ = await client.post(server, "/api/v1/chat", {**asked, "previous_response_id": native["response_id"]})
    assert status == 400


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (None, "missing_required_parameter", '"input" is required'),
        (7, None, "'input' must be a string or a list of items"),
        ([], None, "'input' must be a string or a list of items"),
        ([{"type": "message", "content": "no role"}], "invalid_value", "Invalid item of type 'message' in 'input'"),
        ([{"type": "function_call_output", "output": "x"}], "invalid_value", "Invalid item of type"),
        ([{"type": "web_search_call"}], "invalid_value", "Invalid item of type 'web_search_call'"),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y.png"}]}],
            None,
            "'url' field must be a base64 encoded image.",
        ),
    ],
)
async def test_what_is_wrong_with_the_input(
    server: Simulator, client: Any, given: object, code: str | None, message: str
) -> None:
    """What is wrong with the input is a 400 in an object, and takes no answer from the queue."""
    server.answer("kept")
    status, body = await ask(client, server, given)
    assert (status, body["error"]["type"], body["error"]["code"]) == (400, "invalid_request_error", code)
    assert body["error"]["message"].startswith(message)
    assert text((await ask(client, server))[1]) == "kept"


async def test_failures_at_run_time(server: Simulator, client: Any) -> None:
    """What fails while it runs is a 500 in an object; what concerns the model has its own."""
    internal = {"type": "internal_error", "param": None, "code": "unknown"}
    status, body = await ask(client, server, "word " * 4096)
    assert (status, body["error"]) == (500, {"message": body["error"]["message"], **internal})
    assert body["error"]["message"].startswith("The number of tokens to keep")
    server.models[1].loaded = True
    status, body = await ask(client, server, model="x")
    assert (status, body["error"]["code"], body["error"]["param"]) == (400, "model_not_found", "model")
    server.answer(Answer("late", delay=60))
    asking = asyncio.create_task(ask(client, server))
    await client.until(lambda: server.running("llama3") == 1)
    server.crash("llama3")
    status, body = await asking
    assert (status, body["error"]["message"][:21]) == (500, "The model has crashed")
    assert {name: body["error"][name] for name in internal} == internal


async def test_reasoning_is_turned_off(server: Simulator, client: Any) -> None:
    """The effort ``none`` leaves reasoning out where the model lists ``off``."""
    server.answer(Answer("yes", reasoning="hm"), times=3)
    kinds = []
    for model, effort in (("qwen3-8b", "none"), ("qwen3-8b", "low"), ("llama3", "none")):
        _, body = await ask(client, server, model=model, reasoning={"effort": effort})
        kinds.append([item["type"] for item in body["output"]])
        assert body["reasoning"]["effort"] == effort
    assert kinds == [["message"], ["reasoning", "message"], ["reasoning", "message"]]


@pytest.mark.parametrize(("profile", "there"), [("0.3.16", False), ("0.3.30", True), ("0.4.0", True)])
async def test_it_came_with_a_version(client: Any, profile: str, there: bool) -> None:
    """Before 0.3.29 it is an unknown route."""
    async with Simulator(profile=profile) as server:
        status, body = await ask(client, server)
        assert (status, body.get("object") == "response", "Unexpected endpoint" in str(body)) == (200, there, not there)
