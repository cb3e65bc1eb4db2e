from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from neuroroute import (
    LMStudioAdapter,
    LMStudioError,
    MemoryStore,
    ModelInvalidRequestError,
    ModelResponse,
    SyncLMStudioAdapter,
    tool,
)
from neuroroute.simulator import Answer, McpCall, SimulatedModel, Simulator, StreamFault

if TYPE_CHECKING:
    from neuroroute.options import Api

APIS = ("responses", "native")


def ids(lmstudio: Simulator) -> list[str | None]:
    """What each request went on from."""
    return [one.json.get("previous_response_id") for one in lmstudio.requests if one.method == "POST"]


def codes(response: ModelResponse) -> list[str]:
    return [note.code for note in response.notes]


@pytest.mark.parametrize("api", APIS)
async def test_each_turn_goes_on_from_the_last(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """Turns asked and streamed send the new question alone, with the id of the answer before; the history is whole."""
    chat = adapter.conversation(system_message="Be kind.", api=api)
    one = await chat.ask("one")
    async with chat.stream("two") as stream:
        async for _ in stream:
            pass
    three = await chat.ask("three")
    assert ids(lmstudio) == [None, one.response_id, stream.response.response_id]
    assert b"You said: one" not in lmstudio.requests[-1].body
    assert [message.text for message in chat.messages] == [
        "Be kind.", "one", "You said: one", "two", "You said: two", "three", "You said: three",
    ]  # fmt: skip
    assert (three.notes, three.messages) == ((), list(chat.messages))


@pytest.mark.parametrize("api", APIS)
async def test_branches_go_on_from_the_same_answer(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """A branch goes on from the answer where it parted, and neither from the other's."""
    chat = adapter.conversation(api=api)
    one = await chat.ask("one")
    other = chat.branch()
    here, there = await chat.ask("here"), await other.ask("there")
    await chat.ask("on")
    await other.ask("on")
    assert ids(lmstudio)[1:] == [one.response_id, one.response_id, here.response_id, there.response_id]


@pytest.mark.parametrize("api", APIS)
async def test_failed_turns_change_nothing(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """After a turn that failed, broke off or was left, the next goes on from the last good answer."""
    chat = adapter.conversation(api=api, max_retries=0)
    one = await chat.ask("one")
    lmstudio.fail("crash_null")
    with pytest.raises(LMStudioError):
        await chat.ask("fails")
    lmstudio.answer(Answer("a b", stream_fault=StreamFault("end", 1)))
    with pytest.raises(LMStudioError):
        async for _ in chat.stream("breaks"):
            pass
    async with chat.stream("left") as left:
        await anext(left)
    await chat.ask("two")
    assert ids(lmstudio) == [None] + [one.response_id] * 4
    assert len(chat.messages) == 5


@pytest.mark.parametrize("api", APIS)
async def test_what_is_changed_is_sent_whole(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """Another system message, a turn taken back, or a history set by hand is sent whole, and gone on from again."""
    chat = adapter.conversation(system_message="Be kind.", api=api)
    await chat.ask("one")
    chat.system_message = "Be brief."
    two = await chat.ask("two")
    await chat.ask("three")
    chat.undo()
    await chat.ask("four")
    chat.messages = chat.messages[:3]
    await chat.ask("five")
    assert ids(lmstudio) == [None, None, two.response_id, None, None]
    assert "HISTORY_SENT_WHOLE" in codes(two)
    chat.reset()
    assert codes(await chat.ask("six")) == []


async def test_what_was_forgotten_is_told_again(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """When the id expired the turn succeeds all the same, from the history."""
    chat = adapter.conversation(api="native")
    one = await chat.ask("My name is Ann.")
    assert one.response_id is not None
    lmstudio.forget(one.response_id)
    two = await chat.ask("And who am I?")
    assert codes(two) == ["HISTORY_SENT_WHOLE", "HISTORY_AS_TRANSCRIPT"]
    assert '{"role":"user","content":"My name is Ann."}' in lmstudio.requests[-1].json["input"]
    assert codes(await chat.ask("three")) == []
    assert ids(lmstudio)[-1] == two.response_id


@pytest.mark.parametrize("api", APIS)
async def test_loaded_from_a_store_it_is_rebuilt(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """A store keeps the messages, not the id: the first turn sends all, the next go on from it."""
    store = MemoryStore()
    first = adapter.conversation(store=store, id="a", api=api)
    await first.ask("one")
    async with adapter.conversation(store=store, id="a", api=api) as chat:
        two = await chat.ask("two")
        await chat.ask("three")
    assert ids(lmstudio) == [None, None, two.response_id]
    assert len(chat.messages) == 7


async def test_trimmed_it_is_sent_whole_once(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Where the oldest turns are left out the rest is sent whole, and gone on from until it is trimmed again."""
    lmstudio.models[:] = [SimulatedModel("llama3", loaded=True, context_length=4096)]
    chat = adapter.conversation(system_message=None, api="responses", trim="oldest", max_context_tokens=200)
    trimmed: list[bool] = []
    for number in range(8):
        response = await chat.ask(f"{number} " + "word " * 12, max_tokens=20)
        trimmed.append("HISTORY_TRIMMED" in codes(response))
        assert ("HISTORY_SENT_WHOLE" in codes(response)) == trimmed[-1]
    assert [one is None for one in ids(lmstudio)] == [True, *trimmed[1:]]
    assert any(trimmed)
    assert not all(trimmed[1:])
    assert len(chat.messages) == 16


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


async def test_tools_over_responses(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Each round of a turn with tools goes on from the one before, and the next turn from the last."""
    chat = adapter.conversation(api="responses")
    one = await chat.ask("one")
    lmstudio.answer(Answer(tool_calls=[("add", {"a": 1, "b": 2})], id="resp_calls"))
    lmstudio.answer("three")
    two = await chat.run_tools("1 + 2?", tools=[add], max_rounds=2)
    await chat.ask("on")
    assert ids(lmstudio) == [None, one.response_id, "resp_calls", two.response_id]
    assert [message.role for message in chat.messages[3:7]] == ["user", "assistant", "tool", "assistant"]


async def test_what_the_server_found_stays_in_the_history(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Calls that the server ran are part of the conversation, so that a rebuilt history still has the results."""
    chat = adapter.conversation(api="native", integrations=["mcp/tools"])
    lmstudio.answer(Answer("It is 7.", mcp_calls=[McpCall("look", {}, "seven")]))
    await chat.ask("look")
    assert [message.text for message in chat.messages[1:]] == ["look", "", "seven", "It is 7."]
    await chat.ask("on")
    assert lmstudio.requests[-1].json["input"] == "on"
    response = await chat.ask("again", api="chat", integrations=None)
    assert "seven" in [message.get("content") for message in lmstudio.requests[-1].json["messages"]]
    assert response.api == "chat"


async def test_turns_of_two_routes(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A turn on a route that remembers nothing is no answer to go on from: the next is sent whole."""
    chat = adapter.conversation(api="responses")
    await chat.ask("one")
    await chat.ask("two", api="chat")
    three = await chat.ask("three")
    assert (ids(lmstudio), three.notes) == ([None, None, None], ())
    assert len(lmstudio.requests[-1].json["input"]) == 6


def test_a_blocking_conversation_goes_on_too(lmstudio: Simulator) -> None:
    """What holds for the asynchronous form holds for the blocking one."""
    with SyncLMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        chat = adapter.conversation(api="native")
        one = chat.ask("one")
        chat.ask("two")
    assert ids(lmstudio) == [None, one.response_id]


async def test_previous_is_its_own(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A conversation knows what it goes on from; an answer of somebody else is refused, as messages are."""
    chat = adapter.conversation(api="native")
    one = await chat.ask("one")
    given: Any = {"previous": one}
    with pytest.raises(ModelInvalidRequestError, match="its own messages"):
        await chat.ask("two", **given)


@pytest.mark.parametrize("api", APIS)
async def test_many_turns_at_once_are_taken_in_order(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """Turns that are asked for at the same time each go on from the one before."""
    chat = adapter.conversation(api=api)
    said = await asyncio.gather(*(chat.ask(str(number)) for number in range(4)))
    assert ids(lmstudio) == [None, *(one.response_id for one in said[:-1])]
