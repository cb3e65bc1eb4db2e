from __future__ import annotations

import json
from typing import Any

import pytest

from conftest import chats
from neuroroute import LMStudioAdapter, ModelInvalidRequestError, tool
from neuroroute.simulator import Answer, Simulator

WEATHER = {
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME = {"name": "get_time", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": TIME}]


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("choice", "sent", "offered"),
    [
        (None, "auto", ["get_weather", "get_time"]),
        ("auto", "auto", ["get_weather", "get_time"]),
        ("required", "required", ["get_weather", "get_time"]),
        (named("get_time"), "required", ["get_time"]),
        ("none", None, []),
    ],
)
async def test_choices_are_said_in_lm_studio_s_words(
    adapter: LMStudioAdapter, lmstudio: Simulator, choice: Any, sent: str | None, offered: list[str]
) -> None:
    """Only texts go out: one named function is "required" with that tool alone, and noted; "none" sends no tools."""
    response = await adapter.generate_completion("?", tools=TOOLS, tool_choice=choice)
    body = chats(lmstudio)[0].json
    assert body.get("tool_choice") == sent
    assert [one["function"]["name"] for one in body.get("tools", [])] == offered
    assert [note.code for note in response.notes] == (["TOOL_CHOICE_REWRITTEN"] if isinstance(choice, dict) else [])


async def test_definitions_are_sent_as_they_are(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Dicts go out as they are, functions as what they say of themselves."""

    @tool
    def get_tide(port: str) -> str:
        """The tide."""
        return port

    await adapter.generate_completion("?", tools=[*TOOLS, get_tide])
    sent = chats(lmstudio)[0].json["tools"]
    assert sent[0] == TOOLS[0]
    assert sent[2]["function"]["description"] == "The tide."


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tools": TOOLS, "functions": [WEATHER]}, "functions and tools were both given"),
        ({"tools": TOOLS, "tool_choice": named("sing")}, "names 'sing', which is not offered; there are: get_weather"),
        ({"functions": [WEATHER], "function_call": {"name": "sing"}}, "function_call names 'sing'"),
        ({"tool_choice": "required"}, "tool_choice asks for a call, but tools were not given"),
        ({"function_call": {"name": "get_weather"}}, "function_call names a function, but functions were not given"),
    ],
)
async def test_what_cannot_be_offered_is_told_before_anything_is_sent(
    adapter: LMStudioAdapter, lmstudio: Simulator, options: dict[str, Any], says: str
) -> None:
    """Contradictions, and choices of what is not there, raise at the call."""
    with pytest.raises(ModelInvalidRequestError, match=says):
        await adapter.generate_completion("?", **options)
    assert chats(lmstudio) == []


async def test_nothing_to_choose_from_is_no_mistake(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Auto and none are right without tools; an empty list offers nothing."""
    await adapter.generate_completion("?", tools=[], tool_choice="auto", function_call="none")
    assert "tools" not in chats(lmstudio)[0].json


# The older form


async def test_functions_are_said_as_tools_and_back(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Functions go out as tools; the answer's call comes back as function_call, and history and reason follow."""
    lmstudio.answer(Answer("", tool_calls=[("get_weather", {"city": "Paris"})]))
    response = await adapter.generate_completion("?", functions=[WEATHER], function_call="auto")
    assert chats(lmstudio)[0].json["tools"] == [TOOLS[0]]
    assert "functions" not in chats(lmstudio)[0].json
    assert response.function_call is not None
    assert json.loads(response.function_call.arguments) == {"city": "Paris"}
    assert (response.tool_calls, response.finish_reason) == ((), "function_call")
    assert response.messages[-1].function_call == response.function_call  # type: ignore[union-attr]


@pytest.mark.parametrize("again", [True, False], ids=["with functions", "without"])
async def test_the_follow_up_works_with_and_without_functions(
    adapter: LMStudioAdapter, lmstudio: Simulator, again: bool
) -> None:
    """The result as a function message follows the call, also where the model made two and the caller answers one."""
    lmstudio.answer(Answer("", tool_calls=[("get_weather", {"city": "Paris"}), ("get_time", {})]))
    response = await adapter.generate_completion("?", functions=[WEATHER, TIME])
    assert [note.code for note in response.notes] == ["FUNCTION_CALLS_LEFT_OUT"]
    messages = [*response.messages, {"role": "function", "name": "get_weather", "content": "sunny"}]
    follow_up = await adapter.generate_completion("", messages=messages, functions=[WEATHER] if again else None)
    assert follow_up.notes == ()
    assistant, result = chats(lmstudio)[1].json["messages"][-2:]
    assert [call["function"]["name"] for call in assistant["tool_calls"]] == ["get_weather"]
    assert (result["role"], result["tool_call_id"]) == ("tool", assistant["tool_calls"][0]["id"])
    assert "function_call" not in assistant


async def test_a_named_function_is_the_only_one_offered(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """function_call={"name"} forces that function."""
    await adapter.generate_completion("?", functions=[WEATHER, TIME], function_call={"name": "get_time"})
    body = chats(lmstudio)[0].json
    assert (body["tool_choice"], [one["function"]["name"] for one in body["tools"]]) == ("required", ["get_time"])


@pytest.mark.parametrize("legacy", [True, False], ids=["functions", "tools"])
async def test_a_completed_call_is_one_chunk_of_text(
    adapter: LMStudioAdapter, lmstudio: Simulator, legacy: bool
) -> None:
    """In the specification's form of a stream a call is told as text before the last chunk, typed fragments beside."""
    lmstudio.answer(Answer("Let me look.", tool_calls=[("get_weather", {"city": "Paris"})]))
    offer: dict[str, Any] = {"functions": [WEATHER]} if legacy else {"tools": TOOLS}
    chunks = [chunk async for chunk in adapter.generate_completion_stream("?", **offer)]
    told, last = chunks[-2:]
    assert any(chunk.tool_calls for chunk in chunks[:-2])
    assert last.done
    if legacy:
        call = json.loads(told.chunk.replace("[Function Call]:", ""))
        assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Paris"})
        assert told.function_call == last.function_call
        assert last.finish_reason == "function_call"
    else:
        (call,) = json.loads(told.chunk.replace("[Tool Call]:", ""))
        assert (call["type"], call["function"]["name"]) == ("function", "get_weather")
        assert last.finish_reason == "tool_calls"


# What the model left in its text

LEFT = {
    "LM Studio's": '[TOOL_REQUEST]{"name": "get_weather", "arguments": {"city": "Paris"}}[END_TOOL_REQUEST]',
    "Qwen's": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    "XML": "<tool_call><function=get_weather><parameter=city>Paris</parameter></function></tool_call>",
}


@pytest.mark.parametrize("text", LEFT.values(), ids=LEFT)
@pytest.mark.parametrize("size", [1, 7, None])
async def test_calls_in_the_text_become_calls(
    adapter: LMStudioAdapter, lmstudio: Simulator, text: str, size: int | None
) -> None:
    """A call that was left in the content is taken out and noted, whole and streamed alike, however it was cut."""
    lmstudio.answer(Answer(f"I will look.\n{text}", chunk_size=size, id="c", created=1), times=2)
    whole = await adapter.generate_completion("?", tools=TOOLS)
    async with adapter.stream("?", tools=TOOLS) as stream:
        shown = "".join([chunk.chunk async for chunk in stream])
    for response in (whole, stream.response):
        (call,) = response.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
        assert response.text.strip() == "I will look."
        assert response.finish_reason == "tool_calls"
        assert [note.code for note in response.notes] == ["CALLS_SALVAGED"]
        assert response.raw["choices"][0]["message"]["content"] == f"I will look.\n{text}"
    assert shown == whole.text
    assert whole.messages == stream.response.messages


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (Answer(LEFT["Qwen's"].replace("get_weather", "rm_rf")), {"tools": TOOLS}),
        (Answer(LEFT["Qwen's"]), {}),
        (Answer(LEFT["Qwen's"]), {"tools": TOOLS, "tool_choice": "none"}),
        (Answer(LEFT["Qwen's"]), {"tools": TOOLS, "salvage": False}),
        (Answer("well", reasoning=LEFT["Qwen's"]), {"tools": TOOLS}),
        (Answer("well", reasoning=LEFT["Qwen's"], reasoning_form="think"), {"tools": TOOLS}),
        (Answer("a <b> [c] <tool_call"), {"tools": TOOLS}),
    ],
    ids=["not offered", "no tools", "none", "off", "reasoning", "think block", "no call"],
)
async def test_what_is_no_call_stays_text(
    adapter: LMStudioAdapter, lmstudio: Simulator, answer: Answer, options: dict[str, Any]
) -> None:
    """Only calls of offered tools are taken, never from reasoning; all else is given out as it came."""
    lmstudio.answer(answer, times=2)
    whole = await adapter.generate_completion("?", **options)
    async with adapter.stream("?", **options) as stream:
        await stream.whole()
    assert whole.text == stream.response.text == answer.text
    assert whole.tool_calls == stream.response.tool_calls == ()


async def test_slightly_broken_arguments_are_mended(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Arguments with one reading are put right, and a note says so; the server's own words stay in raw."""
    lmstudio.answer(Answer("", tool_calls=[("get_weather", '{"city": "Paris",}'), ("get_time", "{broken")]))
    response = await adapter.generate_completion("?", tools=TOOLS)
    assert [call.function.arguments for call in response.tool_calls] == ['{"city":"Paris"}', "{broken"]
    assert [note.code for note in response.notes] == ["ARGUMENTS_REPAIRED"]
    said = response.raw["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert said == '{"city": "Paris",}'
