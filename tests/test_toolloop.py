from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from conftest import chats
from neuroroute import (
    LMStudioAdapter,
    ModelInvalidRequestError,
    ModelUnavailableError,
    SyncLMStudioAdapter,
    Toolbox,
    ToolCall,
    ToolMessage,
    ToolRoundsError,
    tool,
)
from neuroroute.simulator import Answer, Fail, Simulator

Calls = list[tuple[str, Any]]
ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    ran.append(f"add {a} {b}")
    return a + b


@tool
async def slow(seconds: float) -> str:
    """Takes its time."""
    await asyncio.sleep(seconds)
    ran.append(f"slow {seconds}")
    return f"after {seconds}"


@tool
def broken() -> None:
    """Does not work."""
    raise KeyError("the drawer")


@tool(timeout_ms=10)
async def stuck() -> None:
    """Never ends."""
    await asyncio.sleep(60)


TOOLS = [add, slow, broken, stuck]


def calling(*calls: tuple[str, Any]) -> Answer:
    return Answer("", tool_calls=list(calls))


def results(lmstudio: Simulator, request: int = -1) -> list[str]:
    """What the model was told in the last round."""
    messages = chats(lmstudio)[request].json["messages"]
    last = max(at for at, message in enumerate(messages) if message["role"] == "assistant")
    return [message["content"] for message in messages[last + 1 :]]


async def test_ask_run_ask_again(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Calls are run, their results sent under their ids, and the answer in words comes back with the whole history."""
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    lmstudio.answer(calling(("add", {"a": 3, "b": 4}), ("add", {"a": 5, "b": 6})))
    lmstudio.answer("21")
    response = await adapter.run_tools("What is it?", tools=TOOLS, max_rounds=3)
    assert (response.text, ran) == ("21", ["add 1 2", "add 3 4", "add 5 6"])
    roles = [message.role for message in response.messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool", "tool", "assistant"]
    calls = [call.id for message in response.messages for call in getattr(message, "tool_calls", ())]
    told = [message.tool_call_id for message in response.messages if isinstance(message, ToolMessage)]
    assert calls == told
    assert len(set(calls)) == 3
    assert [definition["function"]["name"] for definition in chats(lmstudio)[2].json["tools"]] == [
        "add",
        "slow",
        "broken",
        "stuck",
    ]


async def test_calls_of_one_answer_run_side_by_side(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A slow call does not hold up a quick one; results keep the order of the calls."""
    lmstudio.answer(calling(("slow", {"seconds": 0.05}), ("slow", {"seconds": 0.01})))
    await adapter.run_tools("?", tools=TOOLS, max_rounds=1)
    assert ran == ["slow 0.01", "slow 0.05"]
    assert results(lmstudio) == ["after 0.05", "after 0.01"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("subtract", {}), "Error: there is no tool 'subtract'; the tools are: add, slow, broken, stuck."),
        (
            ("add", {"a": "1", "b": 2}),
            'the arguments of add are wrong, so it did not run: "a" must be an integer',
        ),
        (("add", {"a": 1}), '"b" is missing'),
        (("add", {"a": 1, "b": 2, "c": 3}), '"c" is unknown'),
        (("add", {}), '"a" is missing'),
        (("broken", {}), "Error: broken raised KeyError: 'the drawer'."),
        (("stuck", {}), "Error: stuck took longer than its limit of 0.01 s."),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model(
    adapter: LMStudioAdapter, lmstudio: Simulator, call: tuple[str, Any], told: str
) -> None:
    """The model learns in the tool's message what was wrong and may correct itself; nothing ran on bad arguments."""
    lmstudio.answer(calling(call))
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    lmstudio.answer("3")
    response = await adapter.run_tools("?", tools=TOOLS, max_rounds=2)
    (said,) = results(lmstudio, 1)
    assert told in said
    assert said.startswith("Error: ")
    assert (response.text, ran) == ("3", ["add 1 2"])


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (True, "3"),
        (None, "3"),
        (False, "Error: the call was refused."),
        ("too dear", "Error: the call was refused: too dear."),
    ],
)
@pytest.mark.parametrize("awaited", [False, True])
async def test_each_call_may_be_refused(
    adapter: LMStudioAdapter, lmstudio: Simulator, verdict: Any, told: str, awaited: bool
) -> None:
    """on_tool_call is shown each call that is right, before it runs; a refusal is told with its reason."""
    seen: list[ToolCall] = []

    def decide(call: ToolCall) -> Any:
        seen.append(call)
        return verdict

    async def decide_later(call: ToolCall) -> Any:
        return decide(call)

    lmstudio.answer(calling(("add", {"a": 1, "b": 2}), ("add", {"a": "no"})))
    await adapter.run_tools("?", tools=TOOLS, max_rounds=1, on_tool_call=decide_later if awaited else decide)
    assert [json.loads(call.function.arguments) for call in seen] == [{"a": 1, "b": 2}]
    assert results(lmstudio)[0] == told
    assert ran == (["add 1 2"] if told == "3" else [])


async def test_a_verdict_that_is_none_ends_the_loop(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What on_tool_call raises, or a verdict of another type, is the caller's mistake, and other tools are stopped."""
    lmstudio.answer(calling(("slow", {"seconds": 0.05}), ("add", {"a": 1, "b": 2})))
    verdicts: list[Any] = [True, 1]
    with pytest.raises(TypeError, match="must return True, None, False or a reason, not int"):
        await adapter.run_tools("?", tools=TOOLS, max_rounds=1, on_tool_call=lambda _: verdicts.pop(0))
    await asyncio.sleep(0.08)
    assert ran == []


async def test_rounds_are_bounded(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """After max_rounds rounds of tools the model must answer; the error has the history to go on from."""
    for number in range(3):
        lmstudio.answer(calling(("add", {"a": number, "b": 0})))
    with pytest.raises(ToolRoundsError, match="max_rounds=2") as caught:
        await adapter.run_tools("?", tools=TOOLS, max_rounds=2)
    assert (len(chats(lmstudio)), ran) == (3, ["add 0 0", "add 1 0"])
    assert caught.value.partial is not None
    assert [message.role for message in caught.value.partial.messages[-3:]] == ["assistant", "tool", "assistant"]
    lmstudio.answer("enough")
    response = await adapter.generate_completion("Then answer.", messages=caught.value.partial.messages)
    assert response.text == "enough"
    assert [note.code for note in response.notes] == ["CALL_WITHOUT_RESULT"]


async def test_the_same_call_three_times_ends_it(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A model that goes round in circles is stopped before the third run, however it writes the arguments."""
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    lmstudio.answer(calling(("add", {"b": 2, "a": 1})))
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    with pytest.raises(ToolRoundsError, match="'add' 3 times with the same arguments"):
        await adapter.run_tools("?", tools=TOOLS, max_rounds=9)
    assert ran == ["add 1 2", "add 1 2"]


async def test_requests_are_retried_and_calls_never(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A failure between rounds is retried as any other, and the tool does not run again for it."""
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    lmstudio.fail(Fail(503, b""), times=2)
    lmstudio.answer("3")
    response = await adapter.run_tools("?", tools=TOOLS, max_rounds=1)
    assert (response.text, response.attempts, ran) == ("3", 3, ["add 1 2"])
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    lmstudio.fail(Fail(503, b""), times=9)
    with pytest.raises(ModelUnavailableError):
        await adapter.run_tools("?", tools=TOOLS, max_rounds=1, max_retries=1)


async def test_a_forced_call_is_forced_once(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A tool_choice other than auto holds for the first request, else the model could never answer."""
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    choice = {"type": "function", "function": {"name": "add"}}
    await adapter.run_tools("?", tools=TOOLS, max_rounds=2, tool_choice=choice)
    first, second = (request.json for request in chats(lmstudio))
    assert (first["tool_choice"], len(first["tools"])) == ("required", 1)
    assert (second["tool_choice"], len(second["tools"])) == ("auto", 4)


async def test_results_are_bounded(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A result over max_result_bytes is cut, and the model is told."""
    lmstudio.answer(calling(("book", {})))

    def book() -> str:
        return "x" * 500

    await adapter.run_tools("?", tools=[book], max_rounds=1, max_result_bytes=100)
    (told,) = results(lmstudio)
    assert len(told.encode()) <= 100
    assert told != "x" * len(told)


async def test_it_streams(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The streaming form gives the chunks of every answer; the last alone is done, and its response is the whole."""
    lmstudio.answer(Answer("Let me see. ", tool_calls=[("add", {"a": 1, "b": 2})]))
    lmstudio.answer("It is three.")
    async with adapter.stream_tools("?", tools=TOOLS, max_rounds=2) as stream:
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.chunk for chunk in chunks) == "Let me see. It is three."
    assert [chunk.done for chunk in chunks].count(True) == 1
    assert chunks[-1].done
    assert any(chunk.tool_calls for chunk in chunks)
    assert (stream.response.text, ran) == ("It is three.", ["add 1 2"])
    assert len(stream.response.messages) == 5


async def test_leaving_a_stream_runs_nothing_more(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Leaving closes the socket, and no tool is run."""
    lmstudio.answer(Answer(chunks=["x"] * 500, delay_between=0.01, tool_calls=[("add", {"a": 1, "b": 2})]))
    async with adapter.stream_tools("?", tools=TOOLS, max_rounds=2) as stream:
        await anext(stream)
    assert await asyncio.to_thread(chats(lmstudio)[0].ended.wait, 1)
    assert (chats(lmstudio)[0].closed_early, ran) == (True, [])


async def test_a_failed_round_has_the_history(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """In a stream, too, too many rounds end with the history so far."""
    for number in range(3):
        lmstudio.answer(calling(("add", {"a": number, "b": 0})))
    with pytest.raises(ToolRoundsError) as caught:
        async for _ in adapter.stream_tools("?", tools=TOOLS, max_rounds=1):
            pass
    assert caught.value.partial is not None
    assert len(caught.value.partial.messages) == 5


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"max_rounds": 0}, "max_rounds is 0"),
        ({"max_rounds": True}, "max_rounds is True"),
        ({"on_tool_call": 5}, "on_tool_call must be a function"),
        ({"on_tool_call": lambda call, more: None}, "on_tool_call must be a function that takes a ToolCall"),
        ({"tool_timeout_ms": 0}, "timeout_ms must be a number"),
        ({"max_result_bytes": 0}, "max_result_bytes must be"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
            r"tools\[0\] \(f\) has no function",
        ),
        ({"functions": []}, "functions and tools"),
        ({"temperature": -1}, "temperature"),
    ],
)
async def test_wrong_input_is_told_at_once(
    adapter: LMStudioAdapter, lmstudio: Simulator, wrong: dict[str, Any], says: str
) -> None:
    """What is wrong raises where it was written, in streams too, and nothing is sent."""
    given: dict[str, Any] = {"tools": TOOLS, "max_rounds": 1, **wrong}
    if "functions" in wrong:
        given["functions"] = [{"name": "f", "parameters": {}}]
    with pytest.raises(ModelInvalidRequestError, match=says):
        await adapter.run_tools("?", **given)
    with pytest.raises(ModelInvalidRequestError, match=says):
        adapter.stream_tools("?", **given)
    assert chats(lmstudio) == []


def test_it_works_without_asyncio(lmstudio: Simulator) -> None:
    """The blocking adapter runs tools, whole and streamed."""
    lmstudio.script(
        lambda request: "3" if request.json["messages"][-1]["role"] == "tool" else calling(("add", {"a": 1, "b": 2}))
    )
    with SyncLMStudioAdapter("llama3", base_url=lmstudio.url) as sync:
        assert sync.run_tools("?", tools=TOOLS, max_rounds=1).text == "3"
        with sync.stream_tools("?", tools=TOOLS, max_rounds=1) as stream:
            assert "".join(chunk.chunk for chunk in stream) == "3"
        assert stream.response.text == "3"


async def test_a_typed_answer_comes_after_the_calls(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """With a response_format the tools are asked with first, without it; then once for the type, without tools."""
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    lmstudio.answer("It is three.")
    lmstudio.answer('{"sum": 3}')
    response = await adapter.run_tools("?", tools=TOOLS, max_rounds=1, response_format=dict[str, int])
    assert (response.parsed, ran) == ({"sum": 3}, ["add 1 2"])
    asked = [request.json for request in chats(lmstudio)]
    assert [("tools" in one, "response_format" in one) for one in asked] == [(True, False)] * 2 + [(False, True)]
    assert [message.role for message in response.messages[2:]] == ["assistant", "tool", "assistant"]
    with pytest.raises(ModelInvalidRequestError, match="stream_tools takes no response_format"):
        adapter.stream_tools("?", tools=TOOLS, max_rounds=1, response_format=dict)


async def test_a_format_beside_tools(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """In one request a note warns that hardly a call will come, and a forced call is refused."""
    lmstudio.answer('{"sum": 3}')
    response = await adapter.generate_completion("?", tools=TOOLS, response_format=dict)
    assert [note.code for note in response.notes] == ["TOOLS_BESIDE_FORMAT"]
    with pytest.raises(ModelInvalidRequestError, match="no answer can be both"):
        await adapter.generate_completion("?", tools=TOOLS, response_format=dict, tool_choice="required")
    assert len(chats(lmstudio)) == 1


async def test_a_hook_may_block(lmstudio: Simulator) -> None:
    """A hook that is not async may ask the model itself, blocking; an async one of the blocking adapter is told."""
    lmstudio.script(
        lambda request: "fine" if "tools" not in request.json else
        "3" if request.json["messages"][-1]["role"] == "tool" else calling(("add", {"a": 1, "b": 2}))
    )  # fmt: skip
    with SyncLMStudioAdapter("llama3", base_url=lmstudio.url) as sync:
        judged: list[str] = []

        def judge(call: ToolCall) -> None:
            judged.append(sync.generate_completion("May it?").text)

        async def judge_badly(call: ToolCall) -> None:
            sync.generate_completion("May it?")

        run = partial(asyncio.to_thread, sync.run_tools, "?", tools=TOOLS, max_rounds=1)
        assert (await run(on_tool_call=judge)).text == "3"
        assert judged == ["fine"]
        with pytest.raises(RuntimeError, match="inside its own event loop"):
            await run(on_tool_call=judge_badly)


async def test_notes_of_all_rounds_are_told(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What was noted of an earlier round is on the last response, once."""
    lmstudio.answer('<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>')
    lmstudio.answer("3")
    response = await adapter.run_tools("?", tools=TOOLS, max_rounds=1)
    assert [note.code for note in response.notes] == ["CALLS_SALVAGED"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_later_failure_has_what_was_done(adapter: LMStudioAdapter, lmstudio: Simulator, streamed: bool) -> None:
    """When the request after a round fails, the error has the calls and their results: nobody need run them again."""
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    lmstudio.fail(Fail(400, {"error": "no"}))
    with pytest.raises(ModelInvalidRequestError) as caught:
        if streamed:
            async for _ in adapter.stream_tools("?", tools=TOOLS, max_rounds=1):
                pass
        else:
            await adapter.run_tools("?", tools=TOOLS, max_rounds=1)
    assert caught.value.partial is not None
    assert [message.text for message in caught.value.partial.messages][-1] == "3"


async def test_what_the_model_is_told_is_bounded(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Refusals and errors are cut as results are."""
    lmstudio.answer(calling(("add", {"a": 1, "b": 2})))
    await adapter.run_tools("?", tools=TOOLS, max_rounds=1, max_result_bytes=100, on_tool_call=lambda _: "no" * 500)
    (told,) = results(lmstudio)
    assert len(told) <= 100


async def test_a_toolbox_keeps_its_own_limits(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What the loop is not told is the toolbox's."""

    def book() -> str:
        return "x" * 500

    lmstudio.answer(calling(("book", {})))
    await adapter.run_tools("?", tools=Toolbox([book], max_result_bytes=90), max_rounds=1)
    (told,) = results(lmstudio)
    assert len(told) <= 90
