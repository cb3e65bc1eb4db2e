"""What holds for every store."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroroute import (
    AnyMessage,
    AssistantMessage,
    FunctionCall,
    FunctionMessage,
    ImagePart,
    ModelInvalidRequestError,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from neuroroute.errors import ConversationConflictError
from neuroroute.store import ConversationStore, ConversationSummary, MemoryStore, SavedConversation, SQLiteStore
from store.conftest import WallClock

MESSAGES: list[AnyMessage] = [
    SystemMessage(content="be brief"),
    UserMessage(content="hi \0 \N{GRINNING FACE}", name="ann"),
    UserMessage(content=(TextPart(text="look"), ImagePart.of(b"\x89PNG\r\n\x1a\n0000"))),
    AssistantMessage(tool_calls=(ToolCall(id="1", function=FunctionCall(name="f", arguments='{"a": 1}')),)),
    ToolMessage(tool_call_id="1", content="42"),
    AssistantMessage(function_call=FunctionCall(name="f")),
    FunctionMessage(name="f", content="42"),
    AssistantMessage(content="hello"),
]


async def test_what_is_saved_is_loaded(store: ConversationStore, wall: WallClock) -> None:
    """A conversation is loaded as it was saved, every kind of message in it."""
    version = await store.save("a", MESSAGES, model="llama3", title="Greeting", version=0)
    assert await store.load("a") == SavedConversation(
        id="a",
        messages=tuple(MESSAGES),
        model="llama3",
        title="Greeting",
        created=wall.now,
        updated=wall.now,
        version=version,
    )


async def test_there_is_none(store: ConversationStore) -> None:
    """An id that was never saved loads nothing, deletes nothing, and cannot be exported."""
    assert await store.load("a") is None
    assert await store.delete("a") is False
    assert await store.list() == []
    with pytest.raises(ModelInvalidRequestError, match="no conversation 'a'"):
        await store.export_json("a")


async def test_dicts_are_messages(store: ConversationStore) -> None:
    """Dicts of the same shape are taken, and come back as messages."""
    await store.save("a", [{"role": "developer", "content": "x"}], version=0)
    saved = await store.load("a")
    assert saved is not None
    assert saved.messages == (SystemMessage(content="x"),)


async def test_an_empty_history_is_one(store: ConversationStore) -> None:
    """A conversation may begin, or become, empty."""
    assert await store.save("a", [], version=await store.save("a", [], version=0)) == 2
    saved = await store.load("a")
    assert saved is not None
    assert saved.messages == ()


async def test_times_model_and_title(store: ConversationStore, wall: WallClock) -> None:
    """A later save moves the time of the update only, and leaves a model and a title that it does not name."""
    began = wall.now
    version = await store.save("a", MESSAGES, model="m", title="t", version=0)
    wall.now += 60
    version = await store.save("a", MESSAGES, version=version)
    saved = await store.load("a")
    assert saved is not None
    assert (saved.created, saved.updated, saved.model, saved.title) == (began, began + 60, "m", "t")
    await store.save("a", MESSAGES, model="n", title="u", version=version)
    saved = await store.load("a")
    assert saved is not None
    assert (saved.model, saved.title) == ("n", "u")


async def test_versions_count_up(store: ConversationStore) -> None:
    """The first save gives version 1, each further one the next."""
    assert [await store.save("a", MESSAGES, version=version) for version in range(4)] == [1, 2, 3, 4]


async def test_a_save_in_between_is_a_conflict(store: ConversationStore) -> None:
    """Who saves on top of an older version is told, and neither side loses anything."""
    first = await store.save("a", MESSAGES[:1], version=0)
    await store.save("a", MESSAGES[:2], title="mine", version=first)
    with pytest.raises(ConversationConflictError, match=r"'a' has version 2; .* version 1.* Load it again") as caught:
        await store.save("a", MESSAGES[:3], title="yours", version=first)
    assert caught.value.details == {"id": "a", "loaded": 1, "found": 2}
    saved = await store.load("a")
    assert saved is not None
    assert (saved.messages, saved.title, saved.version) == (tuple(MESSAGES[:2]), "mine", 2)


async def test_a_new_one_does_not_overwrite(store: ConversationStore) -> None:
    """Version 0 is for a conversation that is not there."""
    await store.save("a", MESSAGES, version=0)
    with pytest.raises(ConversationConflictError, match="is there already"):
        await store.save("a", [], version=0)


async def test_what_was_deleted_does_not_come_back(store: ConversationStore) -> None:
    """Saving on top of what was deleted is a conflict, also when another conversation of that id has begun since."""
    old = await store.save("a", MESSAGES, version=0)
    assert await store.delete("a")
    with pytest.raises(ConversationConflictError, match="was deleted"):
        await store.save("a", MESSAGES, version=old)
    new = await store.save("a", MESSAGES[:1], version=0)
    with pytest.raises(ConversationConflictError):
        await store.save("a", MESSAGES, version=old)
    assert new > old


async def test_the_list(store: ConversationStore, wall: WallClock) -> None:
    """The list gives what was saved last first, without messages, and no more than asked for."""
    for name in "abc":
        wall.now += 1
        await store.save(name, MESSAGES, model="m", title=name.upper(), version=0)
    wall.now += 1
    await store.save("a", MESSAGES[:3], version=1)
    assert [summary.id for summary in await store.list()] == ["a", "c", "b"]
    assert await store.list(limit=1) == [
        ConversationSummary(
            id="a", model="m", title="A", created=wall.now - 3, updated=wall.now, message_count=3, version=2
        )
    ]


async def test_deleting_takes_one(store: ConversationStore) -> None:
    """A deleted conversation is gone, the others are not."""
    for name in "ab":
        await store.save(name, MESSAGES, version=0)
    assert await store.delete("a")
    assert not await store.delete("a")
    assert await store.load("a") is None
    saved = await store.load("b")
    assert saved is not None
    assert saved.messages == tuple(MESSAGES)


async def test_expiry(store: ConversationStore, wall: WallClock) -> None:
    """What was saved last longer ago than the age is deleted, and counted."""
    for name in "abc":
        await store.save(name, MESSAGES, version=0)
        wall.now += 10
    assert await store.expire(20) == 1  # a is 30 s old, b just 20 s
    assert [summary.id for summary in await store.list()] == ["c", "b"]
    assert await store.expire(0) == 2
    assert await store.expire(0) == 0


async def test_export_is_of_the_documented_shape(store: ConversationStore) -> None:
    """An export is JSON with its format named and the messages as chat completions take them."""
    await store.save("a", MESSAGES[1:2], model="m", title="t", version=0)
    assert msgspec.json.decode(await store.export_json("a")) == {
        "format": "neuroroute.conversation",
        "version": 1,
        "id": "a",
        "model": "m",
        "title": "t",
        "created": 1_700_000_000.0,
        "updated": 1_700_000_000.0,
        "messages": [{"role": "user", "content": MESSAGES[1].content, "name": "ann"}],
    }


async def test_export_and_import(store: ConversationStore, wall: WallClock) -> None:
    """An export goes into another store with all that it holds, its times too, and under another id into the same."""
    await store.save("a", MESSAGES, model="m", title="t", version=0)
    wall.now += 60
    await store.save("a", MESSAGES, version=1)
    data = await store.export_json("a")
    async with MemoryStore() as other:
        assert await other.import_json(data) == "a"
        assert await other.export_json("a") == data
    with pytest.raises(ConversationConflictError, match="is there already"):
        await store.import_json(data)
    assert await store.import_json(data, id="b") == "b"
    assert await store.export_json("b") == data.replace(b'"id":"a"', b'"id":"b"')


async def test_a_file_written_by_hand(store: ConversationStore, wall: WallClock) -> None:
    """Format, version, messages and an id are enough; the times are then those of the import."""
    data = b'{"format":"neuroroute.conversation","version":1,"messages":[{"role":"user","content":"hi"}]}'
    assert await store.import_json(data, id="a") == "a"
    saved = await store.load("a")
    assert saved is not None
    assert (saved.messages, saved.created, saved.updated) == ((UserMessage(content="hi"),), wall.now, wall.now)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b'"\xff"', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", 'format must be "neuroroute.conversation"'),
        (b'{"messages":[]}', 'format must be "neuroroute.conversation"'),
        ({"version": 2}, "version must be 1.*newer NeuroRoute"),
        ({"version": "1"}, "version must be 1"),
        ({"messages": None}, r"array.*\$\.messages"),
        ({"messages": {}}, r"array.*\$\.messages"),
        ({"messages": [{"role": "user", "content": "s3cret"}, {"role": "robot"}]}, r"messages\[1\].role is 'robot'"),
        ({"messages": [{"role": "tool", "content": "s3cret"}]}, r"messages\[0\].*tool_call_id"),
        ({"id": 5}, r"str.*\$\.id"),
        ({"id": ""}, "the file has no id"),
        ({"title": None}, r"str.*\$\.title"),
        ({"created": -1}, r">= 0.*\$\.created"),
        ({"updated": "s3cret"}, r"float.*\$\.updated"),
    ],
)
async def test_a_wrong_file_is_refused(store: ConversationStore, data: Any, says: str) -> None:
    """An import says what is wrong, never what was said, and writes nothing."""
    if isinstance(data, dict):
        whole = {"format": "neuroroute.conversation", "version": 1, "id": "a", "messages": []}
        data = msgspec.json.encode(whole | data)
    with pytest.raises(ModelInvalidRequestError, match=says) as caught:
        await store.import_json(data)
    assert "s3cret" not in str(caught.value)
    assert await store.list() == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"id": ""}, "id must be"),
        ({"id": 5}, "id must be a text"),
        ({"id": "\ud800"}, "id holds a lone surrogate"),
        ({"messages": "s3cret"}, "messages must be a list"),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "user"}]}, r"messages\[1\]"),
        ({"messages": [UserMessage(content="s3cret \ud800")]}, r"messages\[0\] holds a lone surrogate"),
        ({"model": None}, "model must be a text"),
        ({"title": "\ud800"}, "title holds a lone surrogate"),
        ({"version": -1}, "version must be"),
        ({"version": True}, "version must be"),
        ({"version": None}, "version must be"),
        ({"version": 2**63}, "version must be"),
    ],
)
async def test_a_wrong_save_is_refused(store: ConversationStore, wrong: dict[str, Any], says: str) -> None:
    """A save says which argument is wrong, never what was said, and writes nothing."""
    right: dict[str, Any] = {"id": "a", "messages": [], "version": 0}
    with pytest.raises(ModelInvalidRequestError, match=says) as caught:
        await store.save(**(right | wrong))
    assert "s3cret" not in str(caught.value)
    assert await store.list() == []


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None, 2**63])
async def test_a_wrong_limit_is_refused(store: ConversationStore, limit: Any) -> None:
    """A limit is a whole number of at least 1."""
    with pytest.raises(ModelInvalidRequestError, match="limit must be"):
        await store.list(limit=limit)


@pytest.mark.parametrize("age", [-1, float("nan"), float("inf"), True, "1", None])
async def test_a_wrong_age_is_refused(store: ConversationStore, age: Any) -> None:
    """An age is a number of seconds of at least 0; a wrong one deletes nothing."""
    await store.save("a", [], version=0)
    with pytest.raises(ModelInvalidRequestError, match="older_than_seconds must be"):
        await store.expire(age)
    assert await store.load("a")


@pytest.mark.parametrize("verb", ["load", "delete", "export_json"])
@pytest.mark.parametrize("wrong", ["", 5, "\ud800"])
async def test_a_wrong_id_is_refused(store: ConversationStore, verb: str, wrong: Any) -> None:
    """What can be no id is told, not looked for."""
    with pytest.raises(ModelInvalidRequestError, match=r"^MODEL_INVALID_REQUEST: id "):
        await getattr(store, verb)(wrong)


async def test_a_closed_store_says_so(store: ConversationStore) -> None:
    """A store can be closed twice, and says that it is closed when it is used again."""
    await store.save("a", [], version=0)
    await store.aclose()
    await store.aclose()
    for use in (store.load("a"), store.save("a", [], version=1), store.list(), store.delete("a"), store.expire(1)):
        with pytest.raises(RuntimeError, match="the store is closed"):
            await use


async def test_one_of_many_wins(store: ConversationStore) -> None:
    """Of many that save on top of the same version at once, one succeeds and all others are told."""
    saves = [store.save("a", [UserMessage(content=str(n))], version=0) for n in range(10)]
    results = await asyncio.gather(*saves, return_exceptions=True)
    won = [n for n, result in enumerate(results) if result == 1]
    assert len(won) == 1
    assert sum(isinstance(result, ConversationConflictError) for result in results) == 9
    saved = await store.load("a")
    assert saved is not None
    assert saved.messages[0].content == str(won[0])


HISTORIES = st.lists(st.lists(st.sampled_from(MESSAGES), max_size=6), min_size=1, max_size=6)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=40, deadline=None)
@given(histories=HISTORIES)
def test_any_history_may_follow_any_other(kind: str, histories: list[list[AnyMessage]]) -> None:
    """Whatever was saved before, longer, shorter or changed, the last save is what is loaded."""

    async def saves(store: ConversationStore) -> None:
        version = 0
        for history in histories:
            version = await store.save("a", history, version=version)
            with suppress(ConversationConflictError):
                await store.save("a", MESSAGES, version=version - 1)
            saved = await store.load("a")
            assert saved is not None
            assert (saved.messages, saved.version) == (tuple(history), version)
            assert [summary.message_count for summary in await store.list()] == [len(history)]

    async def run(folder: str) -> None:
        async with MemoryStore() if kind == "memory" else SQLiteStore(Path(folder) / "a.db") as store:
            await saves(store)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(folder))
