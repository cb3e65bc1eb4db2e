"""Tools that the server runs in the native chat."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from neuroroute.simulator import Answer, McpCall, Simulator

PATH = "/api/v1/chat"
SEARCH = McpCall("model_search", {"limit": 1}, "one model", provider="hub", reasoning="I must look.")
TOOLS = [
    SEARCH,
    McpCall("browser_navigate", output="a page", provider="mcp/playwright"),
    McpCall("open_browser", output="Cannot find tool with name open_browser.", invalid="name"),
    McpCall("model_search", {"limit": "x"}, "limit must be a number", invalid="arguments"),
]


async def test_tools_of_the_server(server: Simulator, client: Any) -> None:
    """Tools that the server runs stand between reasoning and message, in the output and in the events."""
    answer = Answer("Found it.", reasoning="hm", mcp_calls=TOOLS, id="resp_x", stats={"input_tokens": 9})
    server.answer(answer, times=2)
    integrations = ["mcp/playwright", {"type": "ephemeral_mcp", "server_label": "hub", "server_url": "https://x/mcp"}]
    _, body = await client.post(server, PATH, {"model": "llama3", "input": "hi", "integrations": integrations})
    hub = {"type": "ephemeral_mcp", "server_label": "hub"}
    asked = {"tool": "model_search", "arguments": {"limit": 1}}
    page = {"tool": "browser_navigate", "arguments": {}}
    played = {"type": "plugin", "plugin_id": "mcp/playwright"}
    no_name = {
        "reason": "Cannot find tool with name open_browser.",
        "metadata": {"type": "invalid_name", "tool_name": "open_browser"},
    }
    no_number = {
        "reason": "limit must be a number",
        "metadata": {
            "type": "invalid_arguments",
            "tool_name": "model_search",
            "arguments": {"limit": "x"},
            "provider_info": {"type": "plugin", "plugin_id": "mcp/tools"},
        },
    }
    assert body["output"] == [
        {"type": "reasoning", "content": "hmI must look."},
        {"type": "tool_call", **asked, "output": "one model", "provider_info": hub},
        {"type": "tool_call", **page, "output": "a page", "provider_info": played},
        {"type": "invalid_tool_call", **no_name},
        {"type": "invalid_tool_call", **no_number},
        {"type": "message", "content": "Found it."},
    ]
    assert (body["response_id"], body["stats"]["input_tokens"]) == ("resp_x", 9)
    asked_again = {"model": "llama3", "input": "hi", "integrations": integrations, "stream": True}
    async with client.session.post(f"{server.origin}{PATH}", json=asked_again) as response:
        events = [json.loads(line[6:]) for line in (await response.text()).split("\n") if line.startswith("data: ")]
    names = [event["type"] for event in events]
    first = names.index("tool_call.start")
    assert names[first - 1] == "reasoning.end"
    assert events[first : first + 3] == [
        {"type": "tool_call.start", "tool": "model_search", "provider_info": hub},
        {"type": "tool_call.arguments", **asked, "provider_info": hub},
        {"type": "tool_call.success", **asked, "output": "one model", "provider_info": hub},
    ]
    assert [event for event in events if event["type"] == "tool_call.failure"] == [
        {"type": "tool_call.failure", **no_name},
        {"type": "tool_call.failure", **no_number},
    ]
    assert names.count("tool_call.start") == 3
    assert events[-1]["result"] == body


async def test_a_tool_takes_its_time(server: Simulator, client: Any) -> None:
    """A client can see a tool at work, and its result is not noted before it is there."""
    server.answer(Answer("never", mcp_calls=[replace(SEARCH, seconds=60)]))
    body = {"model": "llama3", "input": "x", "stream": True}
    async with client.session.post(f"{server.origin}{PATH}", json=body) as response:
        await response.content.readuntil(b"tool_call.arguments")
        server.crash("llama3")
        rest = await response.text()
    assert "tool_call.success" not in rest
    assert '"output":[{"type":"reasoning","content":"I must look."}]' in rest
