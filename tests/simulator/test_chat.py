"""Chat completions, in both modes, as the real server words them."""

from __future__ import annotations

from typing import Any

import pytest

from neuroroute.simulator import Answer, SimulatedModel, Simulator

CALLS = [("get_weather", {"city": "Paris"}), ("get_time", {"zone": "CET", "format": "24h"})]


async def test_a_whole_answer_has_the_documented_shape(server: Simulator, client: Any) -> None:
    """A whole answer carries every field of the real one, empty tool calls and empty stats included."""
    server.answer(Answer("Hello there", id="chatcmpl-x", created=17))
    assert await client.whole(server) == (
        200,
        {
            "id": "chatcmpl-x",
            "object": "chat.completion",
            "created": 17,
            "model": "llama3",
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "Hello there",
                        "reasoning_content": "",
                        "tool_calls": [],
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 2,
                "completion_tokens": 2,
                "total_tokens": 4,
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            "stats": {},
            "system_fingerprint": "llama3",
        },
    )


async def test_a_stream_has_the_documented_events(server: Simulator, client: Any) -> None:
    """A stream is deltas, an empty delta with the finish reason, then ``[DONE]``."""
    server.answer(Answer("Hello there", id="chatcmpl-x", created=17))
    head = {
        "id": "chatcmpl-x",
        "object": "chat.completion.chunk",
        "created": 17,
        "model": "llama3",
        "system_fingerprint": "llama3",
    }

    def chunk(delta: Any, finish_reason: str | None = None) -> Any:
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}

    assert client.events(await client.stream(server)) == [
        chunk({"role": "assistant", "content": "Hello"}),
        chunk({"content": " there"}),
        chunk({}, "stop"),
        "[DONE]",
    ]


async def test_usage_comes_in_a_stream_only_when_asked_for(server: Simulator, client: Any) -> None:
    """With ``include_usage`` a chunk with empty choices and the usage stands before ``[DONE]``."""
    server.answer("Hello there", times=2)
    *_, last, done = client.events(await client.stream(server, stream_options={"include_usage": True}))
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 4
    without = client.events(await client.stream(server))
    assert not any("usage" in event for event in without[:-1])


@pytest.mark.parametrize("form", ["reasoning_content", "reasoning", "think"])
async def test_a_folded_stream_is_the_whole_answer(server: Simulator, client: Any, form: Any) -> None:
    """The same answer says the same in both modes: text, reasoning, calls with their ids, usage, finish reason."""
    server.answer(
        Answer("It is sunny.", reasoning="Let me see.", reasoning_form=form, tool_calls=CALLS, id="c", created=1),
        times=2,
    )
    _, whole = await client.whole(server)
    body = await client.stream(server, stream_options={"include_usage": True})
    *chunks, finish, usage, _ = client.events(body)
    deltas = client.deltas(body)
    calls: dict[int, Any] = {}
    for delta in deltas:
        for fragment in delta.get("tool_calls", ()):
            call = calls.setdefault(fragment["index"], {**fragment, "function": dict(fragment["function"])})
            if call["function"] is not fragment["function"] and "id" not in fragment:
                call["function"]["arguments"] += fragment["function"]["arguments"]
    message = whole["choices"][0]["message"]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"]
    for name in ("reasoning_content", "reasoning"):
        assert "".join(delta.get(name, "") for delta in deltas) == message.get(name, "")
    assert [{key: call[key] for key in ("id", "type", "function")} for call in calls.values()] == message["tool_calls"]
    assert finish["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "tool_calls"
    assert usage["usage"] == whole["usage"]
    assert {(event["id"], event["created"], event["model"]) for event in chunks} == {("c", 1, "llama3")}


async def test_reasoning_stands_where_its_form_says(server: Simulator, client: Any) -> None:
    """Reasoning comes in one of two fields, or as a think block in the content."""
    for form in ("reasoning_content", "reasoning", "think"):
        server.answer(Answer("yes", reasoning="hm", reasoning_form=form))  # type: ignore[arg-type]
    messages = [(await client.whole(server))[1]["choices"][0]["message"] for _ in range(3)]
    assert [message["reasoning_content"] for message in messages] == ["hm", "", ""]
    assert [message.get("reasoning") for message in messages] == [None, "hm", None]
    assert [message["content"] for message in messages] == ["yes", "yes", "<think>hm</think>yes"]


async def test_tool_calls_have_numbers_of_nine_digits(server: Simulator, client: Any) -> None:
    """Ids of calls are nine digits, differ from answer to answer, and arguments are a JSON text."""
    server.answer(Answer(tool_calls=CALLS), times=2)
    ids = []
    for _ in range(2):
        _, body = await client.whole(server)
        calls = body["choices"][0]["message"]["tool_calls"]
        ids += [call["id"] for call in calls]
        assert calls[0]["function"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    assert all(len(number) == 9 and number.isdigit() for number in ids)
    assert len(set(ids)) == 4


async def test_arguments_and_ids_are_sent_word_for_word(server: Simulator, client: Any) -> None:
    """Arguments given as text are not mended, and an id that is given, even empty, is used."""
    server.answer(Answer(tool_calls=[("broken", '{"city":', "")]))
    _, body = await client.whole(server)
    assert body["choices"][0]["message"]["tool_calls"] == [
        {"id": "", "type": "function", "function": {"name": "broken", "arguments": '{"city":'}}
    ]


async def test_deltas_are_cut_as_told(server: Simulator, client: Any) -> None:
    """A stream is cut by words, by a number of characters, or exactly as given."""
    server.answer("one two  three")
    server.answer(Answer("abcde", chunk_size=2))
    server.answer(Answer(chunks=["a", "", "b c"]))
    cuts = [[delta["content"] for delta in client.deltas(await client.stream(server))] for _ in range(3)]
    assert cuts == [["one", " two", " ", " three"], ["ab", "cd", "e"], ["a", "", "b c"]]


@pytest.mark.parametrize(
    ("where", "roles"), [("first", [True, False]), ("alone", [True, False, False]), ("every", [True, True])]
)
async def test_the_role_stands_where_it_is_told(server: Simulator, client: Any, where: Any, roles: list[bool]) -> None:
    """The role comes with the first delta, before it, or with every one."""
    server.answer(Answer("a b", role=where))
    assert ["role" in delta for delta in client.deltas(await client.stream(server))] == roles


async def test_the_default_answer_is_an_echo(server: Simulator, client: Any) -> None:
    """With nothing scripted the last user message comes back, also when its content is in parts."""
    _, body = await client.whole(server, messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}])
    assert body["choices"][0]["message"]["content"] == "You said: hi"
    _, body = await client.whole(server, messages=[{"role": "system", "content": "be brief"}])
    assert body["choices"][0]["message"]["content"] == "You said nothing."


async def test_what_is_scripted_wins(server: Simulator, client: Any) -> None:
    """Finish reason, usage, stats, model and headers are sent as given."""
    server.answer(
        Answer(
            "x", finish_reason="length", usage={"total_tokens": 0}, stats={"a": 1}, model="other", headers={"X-A": "b"}
        )
    )
    async with client.chat(server) as response:
        body = await response.json()
        assert response.headers["X-A"] == "b"
    assert (body["model"], body["usage"], body["stats"]) == ("other", {"total_tokens": 0}, {"a": 1})
    assert body["choices"][0]["finish_reason"] == "length"


async def test_the_answer_names_the_instance_that_gave_it(client: Any) -> None:
    """A duplicate instance answers under its own id, which is matched exactly."""
    async with Simulator(models=[SimulatedModel("Qwen3", loaded=True, instances=2)]) as server:
        assert (await client.whole(server, model="Qwen3:2"))[1]["model"] == "Qwen3:2"
        assert (await client.whole(server, model="qwen3"))[1]["model"] == "Qwen3"
