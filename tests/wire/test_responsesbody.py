from __future__ import annotations

import json
from typing import Any

import pytest

from neuroroute import AnyMessage, AssistantMessage, ImagePart, ToolMessage, UserMessage
from neuroroute.messages import MessageReader
from neuroroute.options import DEFAULTS, checked
from neuroroute.wire.requesting import chat_request

PNG = ImagePart.of(b"\x89PNG\r\n\x1a\nabc")
CALL: Any = {"id": "1", "function": {"name": "add", "arguments": '{"a": 1}'}}
ADD = {
    "name": "add",
    "description": "Adds.",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}


def body(prompt: str = "hi", **options: Any) -> Any:
    given = {**DEFAULTS, **checked({"api": "responses", **options}, "test")}
    made = chat_request("m", prompt, given, MessageReader(), streaming=True, max_bytes=1 << 20)
    return json.loads(made.body)


def said(role: str, text: str, kind: str = "input_text") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def test_roles_calls_and_results_are_items() -> None:
    """Each message is an item of its role, an assistant's calls and their results are items of their own."""
    messages: list[AnyMessage] = [
        UserMessage(content="1 + 1?", name="Ann"),
        AssistantMessage(content="Let me see.", tool_calls=(CALL,)),
        ToolMessage(tool_call_id="1", content="2"),
        AssistantMessage(content="2"),
        UserMessage(content=("and this?", PNG)),  # type: ignore[arg-type]
    ]
    assert body("", messages=messages)["input"] == [
        said("system", "You are a helpful assistant."),
        said("user", "Ann: 1 + 1?"),
        said("assistant", "Let me see.", "output_text"),
        {"type": "function_call", "call_id": "1", "name": "add", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "1", "output": "2"},
        said("assistant", "2", "output_text"),
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "and this?"},
                {"type": "input_image", "image_url": PNG.image_url.url, "detail": "auto"},
            ],
        },
    ]


def test_options_have_the_names_of_this_route() -> None:
    """The length, reasoning and tools go out in the form of /v1/responses; nothing else of an option does."""
    tools = [{"type": "function", "function": ADD}]
    sent = body(reasoning="off", tools=tools, tool_choice="required", extra={"truncation": "auto"})
    assert sent.pop("input")
    assert sent == {
        "model": "m", "max_output_tokens": 1024, "temperature": 0.7, "top_p": 1, "reasoning": {"effort": "none"},
        "tools": [{"type": "function", **ADD}], "tool_choice": "required", "stream": True, "truncation": "auto",
    }  # fmt: skip
    assert "max_output_tokens" not in body(max_tokens=-1)


@pytest.mark.parametrize("form", ["tools", "functions"])
def test_both_forms_of_tools_are_tools(form: str) -> None:
    """The older form of tools is said in the newer one here, too."""
    given: Any = {form: [ADD] if form == "functions" else [{"type": "function", "function": ADD}]}
    assert body(**given)["tools"] == [{"type": "function", **ADD}]
