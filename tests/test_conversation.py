from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from neuroroute import (
    AnyMessage,
    ConversationConflictError,
    LMStudioAdapter,
    LMStudioError,
    MemoryStore,
    ModelInvalidRequestError,
    SQLiteStore,
    StreamInterruptedError,
    SystemMessage,
    ToolRoundsError,
    UserMessage,
    tool,
)
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator, StreamFault


def said(lmstudio: Simulator, request: int = -1) -> list[str]:
    return [message["content"] for message in lmstudio.requests[request].json["messages"]]


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


async def test_it_remembers(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Each turn is sent with all that was said before, the system message first."""
    chat = adapter.conversation(system_message="Be kind.")
    assert (await chat.ask("one")).text == "You said: one"
    async with chat.stream("two") as stream:
        assert "".join([chunk.chunk async for chunk in stream]) == "You said: two"
    assert stream.response.text == "You said: two"
    assert said(lmstudio) == ["Be kind.", "one", "You said: one", "two"]
    assert [message.text for message in chat.messages] == ["Be kind.", "one", "You said: one", "two", "You said: two"]


async def test_it_may_begin_somewhere(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Messages and options that it was made with hold for every turn; a turn's own options win."""
    before = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    chat = adapter.conversation(system_message=None, messages=before, temperature=0.1)
    await chat.ask(UserMessage(content="one"))
    await chat.ask("two", temperature=0.2)
    assert said(lmstudio) == ["hi", "ho", "one", "You said: one", "two"]
    assert [request.json["temperature"] for request in lmstudio.requests if request.path.endswith("completions")] == [
        0.1,
        0.2,
    ]


async def test_tools_become_part_of_it(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Calls and results are remembered as well as words."""
    lmstudio.answer(Answer("", tool_calls=[("add", {"a": 1, "b": 2})]))
    lmstudio.answer("3")
    chat = adapter.conversation()
    assert (await chat.run_tools("1 + 2?", tools=[add], max_rounds=1)).text == "3"
    lmstudio.answer(Answer("", tool_calls=[("add", {"a": 3, "b": 4})]))
    lmstudio.answer("7")
    async with chat.stream_tools("3 + 4?", tools=[add], max_rounds=1) as stream:
        assert "".join([chunk.chunk async for chunk in stream]) == "7"
    roles = [message.role for message in chat.messages]
    assert roles == ["system", *["user", "assistant", "tool", "assistant"] * 2]


@pytest.mark.parametrize("how", ["ask", "stream", "left", "cancelled", "tools"])
async def test_a_failed_turn_leaves_it_as_it_was(adapter: LMStudioAdapter, lmstudio: Simulator, how: str) -> None:
    """Failing, leaving and cancelling change nothing, and the next turn works."""
    chat = adapter.conversation()
    await chat.ask("one")
    before = chat.messages
    if how == "ask":
        lmstudio.fail(Fail(400, {"error": "'url' field must be a base64 encoded image."}))
        with pytest.raises(LMStudioError):
            await chat.ask("two")
    elif how == "stream":
        lmstudio.answer(Answer(chunks=["a", "b"], stream_fault=StreamFault("cut", after=1), delay_between=0.01))
        with pytest.raises(StreamInterruptedError):
            async for _ in chat.stream("two"):
                pass
    elif how == "left":
        lmstudio.answer(Answer(chunks=["x"] * 500, delay_between=0.01))
        async with chat.stream("two") as stream:
            await anext(stream)
        assert await asyncio.to_thread(lmstudio.requests[-1].ended.wait, 1)
    elif how == "cancelled":
        lmstudio.fail(Fail(silent="hang"))
        task = asyncio.create_task(chat.ask("two"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        lmstudio.answer(Answer("", tool_calls=[("add", {"a": 1, "b": 2})]), times=2)
        with pytest.raises(ToolRoundsError):
            await chat.run_tools("two", tools=[add], max_rounds=1)
    assert chat.messages == before
    await chat.ask("three")
    assert said(lmstudio)[1:] == ["one", "You said: one", "three"]


async def test_turns_are_taken_one_at_a_time(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Turns that are asked for at once follow each other in order, streams among them."""
    lmstudio.script(lambda request: Answer("re: " + request.json["messages"][-1]["content"], delay=0.01))
    chat = adapter.conversation(system_message=None)

    async def streamed(prompt: str) -> None:
        async with chat.stream(prompt) as stream:
            async for _ in stream:
                pass

    await asyncio.gather(chat.ask("a"), streamed("b"), chat.ask("c"))
    assert [message.text for message in chat.messages] == ["a", "re: a", "b", "re: b", "c", "re: c"]


async def test_branches_go_their_own_ways(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A branch knows what was said until then; neither sees what the other says after."""
    chat = adapter.conversation(system_message=None)
    await chat.ask("one")
    branch = chat.branch()
    await branch.ask("left")
    await chat.ask("right")
    assert branch.id != chat.id
    assert [message.text for message in branch.messages[2:]] == ["left", "You said: left"]
    assert [message.text for message in chat.messages[2:]] == ["right", "You said: right"]


# Trimming


async def test_the_oldest_turns_are_left_out_when_it_is_full(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What no longer fits is not sent, whole turns at a time and some ahead, with a note; nothing is forgotten here."""
    lmstudio.models = [SimulatedModel("llama3", loaded=True, context_length=300)]
    chat = adapter.conversation(system_message="Be kind.", trim="oldest", max_tokens=60)
    noted = 0
    for number in range(12):
        response = await chat.ask(f"{number} " + "word " * 10)
        noted += [note.code for note in response.notes] == ["HISTORY_TRIMMED"]
        assert said(lmstudio)[0] == "Be kind."
        assert said(lmstudio)[1].startswith(tuple("0123456789"))
        assert chat.budget.limit == 300
        assert chat.budget.left is not None
    assert 1 <= noted <= 4
    assert len(said(lmstudio)) < 20
    assert len(chat.messages) == 25


async def test_calls_stay_with_their_results(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A turn with tools is left out as a whole."""
    chat = adapter.conversation(trim="oldest", max_context_tokens=220, max_tokens=40)
    for number in range(8):
        lmstudio.answer(Answer("", tool_calls=[("add", {"a": number, "b": 2})]))
        lmstudio.answer("so much")
        await chat.run_tools(f"{number} + 2? " + "word " * 6, tools=[add], max_rounds=1)
        roles = [message["role"] for message in lmstudio.requests[-2].json["messages"]]
        assert roles[:2] == ["system", "user"]
        assert roles.count("tool") == roles.count("assistant") / 2


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_function_may_summarise(adapter: LMStudioAdapter, lmstudio: Simulator, awaited: bool) -> None:
    """A user's own function gives the history to go on with, sync or async."""

    def summarise(messages: list[AnyMessage], tokens: int) -> list[AnyMessage]:
        assert 0 < tokens < 200
        return [SystemMessage(content=f"Before: {len(messages)} messages.")]

    async def summarise_later(messages: list[AnyMessage], tokens: int) -> list[AnyMessage]:
        return summarise(messages, tokens)

    chat = adapter.conversation(
        trim=summarise_later if awaited else summarise, max_context_tokens=200, max_tokens=50, system_message=None
    )
    codes: list[str] = []
    for number in range(8):
        codes += [note.code for note in (await chat.ask(f"{number} " + "word " * 12)).notes]
    assert set(codes) == {"HISTORY_SUMMARISED"}
    assert chat.messages[0].text.startswith("Before: ")


async def test_without_trim_nothing_is_left_out(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Who does not ask for trimming gets the server's own error, and a budget that tells how full it is."""
    chat = adapter.conversation(max_context_tokens=50)
    for number in range(5):
        await chat.ask(f"{number} word word word word word")
    assert len(said(lmstudio)) == 10
    assert chat.budget.left == 0
    assert repr(chat.budget) == f"<ContextBudget {chat.budget.used} of 50 tokens used>"


async def test_a_server_that_tells_no_context_limits_nothing(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Where no listing tells the context, nothing is trimmed and nothing fails."""
    lmstudio.surfaces = ()
    chat = adapter.conversation(trim="oldest")
    await chat.ask("one")
    assert (chat.budget.limit, chat.budget.left) == (None, None)


# Stores


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "chats.db")
    async with made:
        yield made


async def test_it_is_kept_and_found_again(adapter: LMStudioAdapter, lmstudio: Simulator, store: Any) -> None:
    """After each turn it is saved; by its id it goes on where it ended, tools, title and all."""
    chat = adapter.conversation(store=store, id="mine")
    lmstudio.answer(Answer("", tool_calls=[("add", {"a": 1, "b": 2})]))
    await chat.run_tools("one plus two", tools=[add], max_rounds=1)
    async with adapter.conversation(store=store, id="mine") as again:
        assert again.messages == chat.messages
        await again.ask("and?")
    (kept,) = await store.list()
    assert (kept.id, kept.title, kept.model, kept.message_count) == ("mine", "one plus two", "llama3", 7)
    lazily = adapter.conversation(store=store, id="mine")
    await lazily.ask("once more")
    assert len(lazily.messages) == 9


async def test_a_failed_turn_saves_nothing(adapter: LMStudioAdapter, lmstudio: Simulator, store: Any) -> None:
    """What failed is not in the store either."""
    chat = adapter.conversation(store=store, id="mine")
    lmstudio.fail(Fail(400, {"error": "'url' field must be a base64 encoded image."}))
    with pytest.raises(LMStudioError):
        await chat.ask("one")
    assert await store.load("mine") is None


async def test_two_who_go_on_at_once(adapter: LMStudioAdapter, lmstudio: Simulator, store: Any) -> None:
    """The second to save is told, keeps its answer on the error and its history as it was; the store has the first."""
    await adapter.conversation(store=store, id="mine").ask("one")
    first, second = [await adapter.conversation(store=store, id="mine").load() for _ in range(2)]
    await first.ask("mine")
    with pytest.raises(ConversationConflictError) as caught:
        await second.ask("no, mine")
    assert caught.value.partial is not None
    assert caught.value.partial.text == "You said: no, mine"
    assert len(second.messages) == 3
    saved = await store.load("mine")
    assert saved.messages == first.messages


# Wrong input


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"trim": "newest"}, "trim is 'newest'"),
        ({"max_context_tokens": 0}, "max_context_tokens is 0"),
        ({"temperature": -1}, "temperature is -1"),
        ({"store": "chats.db"}, r"store must be a store such as SQLiteStore\('chats.db'\), not a str"),
        ({"id": ""}, "id is ''"),
        ({"id": 3}, "id is 3"),
        ({"system_message": 3}, "system_message is 3"),
        ({"messages": [{"role": "pirate", "content": "x"}]}, r"messages\[0\].role"),
    ],
)
def test_it_is_checked_where_it_is_made(made: dict[str, Any], says: str) -> None:
    """A wrong value fails at once, and is named."""
    with pytest.raises(ModelInvalidRequestError, match=says):
        LMStudioAdapter("m").conversation(**made)


async def test_wrong_turns_are_told_at_once(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What is wrong with a turn raises where it is asked for, in streams too; an empty prompt asks nothing."""
    chat = adapter.conversation()
    with pytest.raises(ModelInvalidRequestError, match="temperature"):
        chat.stream("x", temperature=-1)
    with pytest.raises(ModelInvalidRequestError, match="max_rounds"):
        chat.stream_tools("x", tools=[add], max_rounds=0)
    with pytest.raises(ModelInvalidRequestError, match="its own messages"):
        await chat.ask("x", messages=[])
    with pytest.raises(TypeError, match="unexpected option"):
        chat.stream("x", temprature=1)  # type: ignore[call-arg]
    with pytest.raises(ModelInvalidRequestError, match="prompt is empty"):
        await chat.ask("")
    with pytest.raises(RuntimeError, match="has not begun"):
        _ = chat.stream("x").response
    assert lmstudio.requests == []
    assert chat.messages == ()


# Going back


async def test_a_turn_can_be_taken_back(adapter: LMStudioAdapter, lmstudio: Simulator, store: Any) -> None:
    """undo() takes the last turn back, tools and all, and gives its question; the store follows with the next turn."""
    chat = adapter.conversation(store=store, id="mine")
    await chat.ask("one")
    lmstudio.answer(Answer("", tool_calls=[("add", {"a": 1, "b": 2})]))
    await chat.run_tools("two", tools=[add], max_rounds=1)
    question = chat.undo()
    assert question is not None
    assert question.text == "two"
    await chat.ask("three")
    assert [message.text for message in chat.messages][1:] == ["one", "You said: one", "three", "You said: three"]
    assert (await store.load("mine")).messages == chat.messages
    while chat.undo():
        pass
    assert [message.role for message in chat.messages] == ["system"]


async def test_it_can_begin_anew_with_another_system_message(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """reset() keeps how the model is to behave; system_message says it differently, and what was said stays."""
    chat = adapter.conversation(system_message="Be kind.")
    assert chat.system_message == "Be kind."
    await chat.ask("one")
    chat.system_message = "Be rude."
    await chat.ask("two")
    assert said(lmstudio) == ["Be rude.", "one", "You said: one", "two"]
    chat.reset()
    await chat.ask("three")
    assert said(lmstudio) == ["Be rude.", "three"]
    chat.system_message = None
    await chat.ask("four")
    assert said(lmstudio) == ["three", "You said: three", "four"]


async def test_a_turn_with_tools_may_end_in_a_type(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """run_tools takes a response_format here, too; the typed answer is the turn's last message."""
    lmstudio.answer(Answer("", tool_calls=[("add", {"a": 1, "b": 2})]))
    lmstudio.answer("It is three.")
    lmstudio.answer('{"sum": 3}')
    chat = adapter.conversation()
    response = await chat.run_tools("1 + 2?", tools=[add], max_rounds=1, response_format=dict[str, int])
    assert response.parsed == {"sum": 3}
    assert [message.role for message in chat.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert chat.messages[-1].text == '{"sum": 3}'
    with pytest.raises(ModelInvalidRequestError, match="stream_tools takes no response_format"):
        chat.stream_tools("?", tools=[add], max_rounds=1, response_format=dict)
