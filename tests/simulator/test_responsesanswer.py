"""An answer of ``/v1/responses``, whole and streamed."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from neuroroute.simulator import Answer, Simulator, StreamFault, Unknowns

PATH = "/v1/responses"
ALL = Answer(
    "It is sunny.", reasoning="Let me see.", tool_calls=[("get_weather", {"city": "Paris"})], id="resp_x", created=17
)


async def told(client: Any, server: Simulator, **fields: Any) -> list[Any]:
    """The events of a stream: each one's name is the type in its data, and they are numbered without a gap."""
    body = {"model": "llama3", "input": "hi there", "stream": True, **fields}
    async with client.session.post(f"{server.origin}{PATH}", json=body) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        sent = await response.read()
    events: list[Any] = client.events(sent)
    numbered = [event for event in events if isinstance(event, dict) and "type" in event]
    assert [event["sequence_number"] for event in numbered] == list(range(len(numbered)))
    names = [line.removeprefix(b"event: ").decode() for line in sent.splitlines() if line.startswith(b"event: ")]
    assert names[: len(numbered)] == [event["type"] for event in numbered]
    return events


def types(events: list[Any]) -> list[str]:
    return [event if event == "[DONE]" else event["type"].removeprefix("response.") for event in events]


async def test_a_whole_answer(server: Simulator, client: Any) -> None:
    """Reasoning, message and calls are items of the output; what was asked comes back, and words are counted."""
    server.answer(ALL)
    tools = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]
    asked = {"model": "llama3", "input": "hi there", "tools": tools, "temperature": 0.5, "instructions": "be brief"}
    status, body = await client.post(server, PATH, asked)
    call = body["output"][2]
    assert (status, len(call["call_id"])) == (200, 9)
    assert body == {
        "id": "resp_x",
        "object": "response",
        "created_at": 17,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "llama3",
        "output": [
            {
                "id": "rs_x",
                "type": "reasoning",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "Let me see."}],
                "status": "completed",
            },
            {
                "id": "msg_x",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "It is sunny.", "annotations": [], "logprobs": []}],
            },
            {
                "id": "fc_x_0",
                "type": "function_call",
                "status": "completed",
                "call_id": call["call_id"],
                "name": "get_weather",
                "arguments": '{"city":"Paris"}',
            },
        ],
        "reasoning": {"effort": None, "summary": None},
        "usage": {
            "input_tokens": 4,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 11,
        },
        "instructions": "be brief",
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": True,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": tools,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }


async def test_a_stream_tells_the_same(server: Simulator, client: Any) -> None:
    """A stream opens and closes each item and each part of it, and ends with what a whole answer would be."""
    server.answer(ALL, times=2)
    events = await told(client, server)
    part = ["content_part.added", "{}.delta", "{}.delta", "{}.delta", "{}.done", "content_part.done"]
    added, done = "output_item.added", "output_item.done"
    assert types(events) == [
        *("created", "in_progress"),
        *(added, *(name.format("reasoning_text") for name in part), done),
        *(added, *(name.format("output_text") for name in part), done),
        *(added, *["function_call_arguments.delta"] * 2, "function_call_arguments.done", done),
        "completed",
    ]
    _, whole = await client.post(server, PATH, {"model": "llama3", "input": "hi there"})
    assert events[-1]["response"] == whole
    assert events[0]["response"] == {**whole, "status": "in_progress", "output": [], "usage": None}
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert items == whole["output"]
    for index, (name, said) in enumerate(
        [("reasoning_text", "Let me see."), ("output_text", "It is sunny."), ("function_call_arguments", None)]
    ):
        deltas = [event for event in events if event["type"] == f"response.{name}.delta"]
        assert {(event["output_index"], event["item_id"]) for event in deltas} == {(index, items[index]["id"])}
        assert "".join(event["delta"] for event in deltas) == (said or '{"city":"Paris"}')
    begun = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert [item["status"] for item in begun] == ["in_progress"] * 3
    assert [item.get("content", item.get("arguments")) for item in begun] == [[], [], ""]


async def test_an_answer_that_is_cut_short(server: Simulator, client: Any) -> None:
    """Where the model ran out of tokens the response is incomplete."""
    server.answer(Answer("one", finish_reason="length", usage={"total_tokens": 9}), times=2)
    last = (await told(client, server))[-1]
    _, whole = await client.post(server, PATH, {"model": "llama3", "input": "hi"})
    assert (last["type"], last["response"]["usage"]) == ("response.incomplete", {"total_tokens": 9})
    for body in (last["response"], whole):
        assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


async def test_where_reasoning_and_nothing_go(server: Simulator, client: Any) -> None:
    """A think block that was not parsed is text; an answer of nothing is an empty message, or only its calls."""
    server.answer(Answer("yes", reasoning="hm", reasoning_form="think"))
    server.answer("")
    server.answer(Answer(tool_calls=[("f", "")]))
    outputs = [(await client.post(server, PATH, {"model": "llama3", "input": "x"}))[1]["output"] for _ in range(3)]
    assert [[item["type"] for item in output] for output in outputs] == [["message"], ["message"], ["function_call"]]
    assert [output[0]["content"][0]["text"] for output in outputs[:2]] == ["<think>hm</think>yes", ""]


@pytest.mark.parametrize(
    ("kind", "ends"),
    [
        ("end", []),
        ("no_done", ["output_text.done", "content_part.done", "output_item.done"]),
        ("no_finish", ["completed"]),
        ("error", ["error"]),
    ],
)
async def test_a_stream_goes_wrong(server: Simulator, client: Any, kind: Any, ends: list[str]) -> None:
    """Faults of a stream come after so many deltas, or take one half of its end."""
    server.answer(Answer("one two", stream_fault=StreamFault(kind, None if kind == "no_done" else 2)))
    body = {"model": "llama3", "input": "hi", "stream": True}
    async with client.session.post(f"{server.origin}{PATH}", json=body) as response:
        events = client.events(await response.read())
    told_last = types(events)
    assert told_last[len(told_last) - len(ends) :] == ends
    assert told_last[: len(told_last) - len(ends)][-2:] == ["output_text.delta"] * 2


@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_a_stream_is_cut(server: Simulator, client: Any, kind: Any) -> None:
    """A stream is cut in the middle of its body, and what was said is not stored."""
    server.answer(Answer("one two", id="resp_x", stream_fault=StreamFault(kind, after=1)))
    with pytest.raises((aiohttp.ClientPayloadError, ConnectionError, aiohttp.ClientOSError)):
        await told(client, server)
    with pytest.raises(ValueError, match="resp_x"):
        server.forget("resp_x")


async def test_done_may_follow(client: Any) -> None:
    """Where the server is said to, it ends a stream with ``[DONE]``."""
    async with Simulator(unknowns=Unknowns(responses_done=True)) as server:
        assert types(await told(client, server))[-2:] == ["completed", "[DONE]"]
        server.answer(Answer("one two", stream_fault=StreamFault("no_done")))
        assert types(await told(client, server))[-1] == "completed"


async def test_reasoning_may_come_at_once(client: Any) -> None:
    """Where the server is said to, reasoning has no deltas."""
    async with Simulator(unknowns=Unknowns(responses_reasoning_deltas=False)) as server:
        server.answer(ALL)
        events = await told(client, server)
        assert "reasoning_text.delta" not in types(events)
        done = next(event for event in events if event["type"] == "response.reasoning_text.done")
        assert done["text"] == "Let me see."


@pytest.mark.parametrize("after_error", [False, True])
@pytest.mark.parametrize("form", ["error", "failed", "chat"])
async def test_a_crash_in_a_stream(client: Any, form: Any, after_error: bool) -> None:
    """A crash ends a stream in one of three ways, numbered after what was sent."""
    unknowns = Unknowns(responses_error=form, done_after_error=after_error)
    async with Simulator(unknowns=unknowns) as server:
        server.answer(Answer("one two three", delay_between=60))
        asking = asyncio.create_task(told(client, server))
        await client.until(lambda: server.running("llama3") == 1)
        await asyncio.sleep(0.02)
        server.crash("llama3")
        events = await asking
    assert (events[-1] == "[DONE]") is after_error
    last = events[-2] if after_error else events[-1]
    words = "The model has crashed without additional information. (Exit code: null)"
    match form:
        case "chat":
            assert last == {"error": {"message": words}, "message": words}
        case "error":
            assert (last["type"], last["message"], last["sequence_number"]) == ("error", words, 5)
        case "failed":
            assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
            assert last["response"]["error"] == {"code": "server_error", "message": words}
