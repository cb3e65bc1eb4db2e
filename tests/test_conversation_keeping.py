"""What a conversation keeps, and where it takes what it is not told from."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from neuroroute import (
    AnyMessage,
    AssistantMessage,
    ConfigurationError,
    ConversationConflictError,
    LMStudioAdapter,
    LMStudioError,
    MemoryStore,
    ModelBusyError,
    ModelInvalidRequestError,
    SystemMessage,
    UserMessage,
)
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator


class SlowStore(MemoryStore):
    """Takes its time to save."""

    def __init__(self) -> None:
        super().__init__()
        self.saving = asyncio.Event()
        self.go_on = asyncio.Event()
        self.loads = 0

    async def load(self, id: str) -> Any:  # noqa: A002
        self.loads += 1
        await asyncio.sleep(0)
        return await super().load(id)

    async def save(self, *args: Any, **kwargs: Any) -> int:
        self.saving.set()
        await self.go_on.wait()
        return await super().save(*args, **kwargs)


def texts(messages: Any) -> list[str]:
    return [message.text for message in messages]


async def test_one_question_object_may_be_asked_twice(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A UserMessage that is used again is another turn, and no answer is lost."""
    chat = adapter.conversation(system_message=None)
    question = UserMessage(content="again")
    await chat.ask(question)
    await chat.ask(question)
    assert texts(chat.messages) == ["again", "You said: again"] * 2


async def test_what_it_begins_with_is_saved(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What a conversation is made with is stored after its first turn; what the store has comes first."""
    store = MemoryStore()
    seed = [UserMessage(content="hi"), AssistantMessage(content="ho")]
    await adapter.conversation(system_message=None, messages=seed, store=store, id="mine").ask("one")
    kept = await store.load("mine")
    assert kept is not None
    assert texts(kept.messages) == ["hi", "ho", "one", "You said: one"]
    again = adapter.conversation(system_message=None, messages=seed, store=store, id="mine")
    await again.ask("two")
    assert texts(again.messages) == ["hi", "ho", "one", "You said: one", "two", "You said: two"]


async def test_it_is_loaded_once(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Turns and loads at once read the store once."""
    store = SlowStore()
    store.go_on.set()
    chat = adapter.conversation(store=store, id="mine")
    await asyncio.gather(chat.load(), chat.ask("one"), chat.load(), chat.ask("two"))
    assert store.loads == 1
    assert len(chat.messages) == 5


async def test_a_save_is_ended_although_the_turn_is_cancelled(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What reached the store is the history; the next turn goes on from it, without a conflict."""
    store = SlowStore()
    chat = adapter.conversation(store=store)
    turn = asyncio.create_task(chat.ask("one"))
    await store.saving.wait()
    turn.cancel()
    await asyncio.sleep(0)
    store.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await turn
    await chat.ask("two")
    kept = await store.load(chat.id)
    assert kept is not None
    assert texts(kept.messages)[1:] == ["one", "You said: one", "two", "You said: two"]


async def test_after_a_conflict_it_goes_on_from_the_store(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Who lost a race reads what the winner saved with the next turn."""
    store = MemoryStore()
    mine, yours = [await adapter.conversation(store=store, id="ours").load() for _ in range(2)]
    await yours.ask("yours")
    with pytest.raises(ConversationConflictError):
        await mine.ask("mine")
    await mine.ask("mine again")
    assert texts(mine.messages)[1:] == ["yours", "You said: yours", "mine again", "You said: mine again"]


async def test_a_branch_needs_a_history(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What was not loaded cannot be branched."""
    chat = adapter.conversation(store=MemoryStore(), id="mine")
    with pytest.raises(ModelInvalidRequestError, match="not loaded yet"):
        chat.branch()


async def test_a_summary_counts_only_if_its_turn_does(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """When the request after a summary fails, the history is what it was before."""

    def summarise(messages: list[AnyMessage], tokens: int) -> list[AnyMessage]:
        return [SystemMessage(content="Before: much.")]

    seed = [UserMessage(content="word " * 200), AssistantMessage(content="word " * 200)]
    chat = adapter.conversation(trim=summarise, max_context_tokens=200, max_tokens=50, messages=seed)
    lmstudio.fail(Fail(400, {"error": "no"}))
    with pytest.raises(LMStudioError):
        await chat.ask("one")
    assert chat.messages == tuple(seed)
    await chat.ask("one")
    assert texts(chat.messages) == ["Before: much.", "one", "You said: one"]


async def test_a_model_that_is_not_loaded_may_change_its_context(lmstudio: Simulator) -> None:
    """The context is asked for until a copy is loaded: it may be loaded with less than it could have."""
    lmstudio.models = [SimulatedModel("llama3", loaded=False, max_context_length=9000, context_length=500)]
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        chat = adapter.conversation()
        await chat.ask("one")
        assert chat.budget.limit == 9000
        await chat.ask("two")
        assert chat.budget.limit == 500


async def test_the_adapter_says_what_it_does_not(lmstudio: Simulator) -> None:
    """The system message and every option of the adapter hold in its conversations; None says nothing."""
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, system_message="Be brief.", max_tokens=77) as adapter:
        chat = adapter.conversation()
        assert chat.system_message == "Be brief."
        await chat.ask("one")
        await adapter.conversation(system_message=None).ask("two")
    asked = [request.json for request in lmstudio.requests if request.method == "POST"]
    assert (asked[0]["messages"][0]["content"], asked[0]["max_tokens"]) == ("Be brief.", 77)
    assert [message["role"] for message in asked[1]["messages"]] == ["user"]


async def test_a_summary_may_ask_the_model(lmstudio: Simulator) -> None:
    """A trim function that is not async runs in a thread, so that it may wait for an answer."""
    done: list[bool] = []

    def summarise(messages: list[AnyMessage], tokens: int) -> list[AnyMessage]:
        done.append(asyncio.run(ask_apart()) == "You said: Sum up.")
        return messages[-2:]

    async def ask_apart() -> str:
        async with LMStudioAdapter("llama3", base_url=lmstudio.url) as apart:
            return (await apart.generate_completion("Sum up.")).text

    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        seed = [UserMessage(content="word " * 200), AssistantMessage(content="word " * 200)]
        lmstudio.script(lambda request: Answer("You said: " + request.json["messages"][-1]["content"]))
        await adapter.conversation(trim=summarise, max_context_tokens=300, messages=seed).ask("one")
    assert done == [True]


async def test_what_is_taken_back_can_be_saved_at_once(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """save() stores what undo(), reset() and what was set changed; where nothing changed it saves nothing."""
    store = MemoryStore()
    chat = adapter.conversation(store=store, id="mine")
    await chat.ask("one")
    await chat.ask("two")
    chat.undo()
    chat.system_message = "Be rude."
    await chat.save()
    await chat.save()
    kept = await store.load("mine")
    assert kept is not None
    assert (texts(kept.messages), kept.version) == (["Be rude.", "one", "You said: one"], 3)
    again = adapter.conversation(store=store, id="mine")
    await again.save()
    assert again.messages == chat.messages
    await adapter.conversation().save()  # kept nowhere


async def test_how_to_behave_is_kept_with_what_it_begins_with(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A system message beside messages without one becomes the first of the history, as it was sent."""
    seed = [UserMessage(content="hi"), AssistantMessage(content="ho")]
    chat = adapter.conversation(system_message="Be kind.", messages=seed)
    await chat.ask("one")
    assert texts(chat.messages) == ["Be kind.", "hi", "ho", "one", "You said: one"]
    chat.system_message = None
    await chat.ask("two")
    assert lmstudio.requests[-1].json["messages"][0]["content"] == "hi"


async def test_two_event_loops_at_once(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A turn in another event loop than the one that is taken fails at once and says why; afterwards it works."""
    lmstudio.answer(Answer(chunks=["a", "b"], delay_between=0.01))
    chat = adapter.conversation()
    stream = chat.stream("one")
    await anext(stream)

    async def elsewhere() -> str:
        return (await chat.ask("two")).text

    with pytest.raises(ModelBusyError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, elsewhere())
    assert "".join([chunk.chunk async for chunk in stream]) == "b"
    assert await asyncio.to_thread(asyncio.run, elsewhere()) == "You said: two"


async def test_nothing_changes_under_a_turn(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """While a turn is taken the history cannot be changed, which the turn's end would undo without a word."""
    lmstudio.answer(Answer(chunks=["a", "b"], delay_between=0.01))
    chat = adapter.conversation()
    async with chat.stream("one") as stream:
        await anext(stream)
        for change in (chat.undo, chat.reset, lambda: setattr(chat, "messages", [])):
            with pytest.raises(ModelBusyError, match="a turn is being taken"):
                change()
        with pytest.raises(ModelBusyError):
            chat.system_message = "Be rude."
        async for _ in stream:
            pass
    assert chat.undo() is not None
    assert chat.system_message == "You are a helpful assistant."


async def test_a_branch_can_be_saved_at_once(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A branch is not in the store before it is saved, or its next turn ends."""
    store = MemoryStore()
    chat = adapter.conversation(store=store)
    await chat.ask("one")
    branch = chat.branch()
    assert await store.load(branch.id) is None
    await branch.save()
    kept = await store.load(branch.id)
    assert kept is not None
    assert kept.messages == chat.messages


async def test_a_cancellation_is_not_lost_in_a_store_that_fails(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Who cancels a turn while a store fails sees it cancelled; the next turn reads the store anew."""
    store = SlowStore()
    chat = adapter.conversation(store=store, id="mine")
    turn = asyncio.create_task(chat.ask("one"))
    await store.saving.wait()
    await MemoryStore.save(store, "mine", [UserMessage(content="other")], version=0)
    turn.cancel()
    await asyncio.sleep(0)
    store.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await turn
    await chat.ask("two")
    assert texts(chat.messages)[-3:] == ["other", "two", "You said: two"]


class BrokenStore(MemoryStore):
    """Fails as it is told."""

    fails: Exception | None = None

    async def save(self, *args: Any, **kwargs: Any) -> int:
        if self.fails is not None:
            raise self.fails
        return await super().save(*args, **kwargs)


async def test_a_failed_save_loses_neither_the_answer_nor_what_was_taken_back(
    adapter: LMStudioAdapter, lmstudio: Simulator
) -> None:
    """The answer is on the error, whatever a store raises, and the history is as it was, not as it is stored."""
    store = BrokenStore()
    chat = adapter.conversation(store=store, system_message=None)
    await chat.ask("one")
    await chat.ask("two")
    chat.undo()
    store.fails = OSError("disk full")
    with pytest.raises(ConfigurationError, match="the store failed: OSError") as caught:
        await chat.ask("three")
    assert caught.value.partial is not None
    assert caught.value.partial.text == "You said: three"
    store.fails = None
    await chat.ask("four")
    assert texts(chat.messages) == ["one", "You said: one", "four", "You said: four"]


async def test_what_cannot_be_read_is_not_saved_over(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A stored history that does not read fails every turn, and stays."""

    class StrangeStore(MemoryStore):
        async def load(self, id: str) -> Any:  # noqa: A002
            return SimpleNamespace(messages=[{"role": "pirate", "content": "precious"}], version=1)

        async def save(self, *args: Any, **kwargs: Any) -> int:
            raise AssertionError

    chat = adapter.conversation(store=StrangeStore(), id="mine")
    for _ in range(2):
        with pytest.raises(ModelInvalidRequestError, match="role"):
            await chat.ask("one")


async def test_before_it_is_loaded_it_cannot_be_changed(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What would be dropped by the load is refused, and says what to do."""
    chat = adapter.conversation(store=MemoryStore(), id="mine")
    for change in (chat.undo, chat.reset, lambda: setattr(chat, "system_message", "x")):
        with pytest.raises(ModelInvalidRequestError, match=r"Call load\(\) first"):
            change()


async def test_cancelled_twice_it_still_knows_what_was_saved(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """However often a turn is cancelled while it saves, the history is what the store has."""
    store = SlowStore()
    chat = adapter.conversation(store=store)
    turn = asyncio.create_task(chat.ask("one"))
    await store.saving.wait()
    for _ in range(3):
        turn.cancel()
        await asyncio.sleep(0)
    store.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await turn
    kept = await store.load(chat.id)
    assert kept is not None
    assert kept.messages == chat.messages


async def test_a_summary_does_not_replace_the_instruction(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A summary that is a system message comes after how the model is to behave."""
    seed = [
        SystemMessage(content="Be kind."),
        UserMessage(content="word " * 200),
        AssistantMessage(content="word " * 200),
    ]
    chat = adapter.conversation(
        trim=lambda *_: [SystemMessage(content="Before: much.")], max_context_tokens=200, max_tokens=50, messages=seed
    )
    await chat.ask("one")
    assert texts(chat.messages) == ["Be kind.", "Before: much.", "one", "You said: one"]
    chat.reset()
    assert texts(chat.messages) == ["Be kind."]


async def test_what_it_begins_with_can_be_saved(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """save() stores the messages that a new conversation was made with."""
    store = MemoryStore()
    await adapter.conversation(store=store, id="mine", messages=[UserMessage(content="hi")]).save()
    kept = await store.load("mine")
    assert kept is not None
    assert texts(kept.messages) == ["hi"]
