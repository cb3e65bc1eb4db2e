"""What the server has against a request."""

from __future__ import annotations

from typing import Any

import pytest

from neuroroute.simulator import SimulatedModel, Simulator

PNG = "data:image/png;base64,AAAA"


def picture(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"response_format": {"type": "json_object"}}, "'response_format.type' must be 'json_schema' or 'text'"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
        ),
        ({"messages": [{"role": "tool", "tool_call_id": "", "content": "x"}]}, "Invalid 'messages' in payload."),
        ({"messages": []}, "Invalid 'messages' in payload."),
        ({"messages": None}, "Invalid 'messages' in payload."),
        ({"messages": ["hi"]}, "Invalid 'messages' in payload."),
        ({"messages": picture("http://example.org/cat.png")}, "'url' field must be a base64 encoded image."),
        ({"messages": picture("data:image/webp;base64,AAAA")}, "'url' field must be a base64 encoded image."),
        ({"messages": picture(PNG)}, "Vision add-on is not loaded, but images were provided"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_it_refuses_what_the_real_one_refuses(
    server: Simulator, client: Any, fields: Any, message: str, stream: bool
) -> None:
    """A refusal is a 400 with a string for an error, streamed or not, and takes no scripted answer."""
    server.answer("still here")
    status, body = await client.whole(server, stream=stream, **fields)
    assert status == 400
    assert body["error"].startswith(message)
    assert (await client.whole(server))[1]["choices"][0]["message"]["content"] == "still here"


@pytest.mark.parametrize("url", [PNG, "data:image/jpeg;base64,AAAA"])
async def test_a_model_that_sees_takes_pictures(client: Any, url: str) -> None:
    """PNG and JPEG data URLs work with a vision model."""
    async with Simulator(models=[SimulatedModel("v", loaded=True, vision=True)]) as server:
        assert (await client.whole(server, messages=picture(url)))[0] == 200


async def test_what_it_does_not_know_it_ignores(server: Simulator, client: Any) -> None:
    """Unknown fields and the legacy functions change nothing."""
    fields = {"functions": [{"name": "f"}], "function_call": {"name": "f"}, "nonsense": 1}
    status, body = await client.whole(server, **fields)
    assert (status, body["choices"][0]["message"]["content"]) == (200, "You said: hi there")
    assert "function_call" not in body["choices"][0]["message"]
