from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import chats
from neuroroute import (
    AssistantMessage,
    InputChecks,
    LMStudioAdapter,
    ModelInvalidRequestError,
    Note,
    TextPart,
    UserMessage,
    tool,
)
from neuroroute.simulator import Answer, Simulator

if TYPE_CHECKING:
    from neuroroute.messages import AnyMessage

HISTORY = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
]


@tool
def look(city: str) -> str:
    """Looks at a city.

    Args:
        city: which.
    """
    return "sun\x07ny"


def checking(lmstudio: Simulator, **checks: Any) -> LMStudioAdapter:
    return LMStudioAdapter("llama3", base_url=lmstudio.url, checks=InputChecks(**checks))


CALLING = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"city": "Llanfairpwllgwyng"}'}}
    ],
}

REFUSED = {
    "messages": ({"max_messages": 2}, {"messages": HISTORY}, "messages: there are 3, more than max_messages=2"),
    "prompt": (
        {"max_message_bytes": 4},
        {"prompt": "näive"},
        r"messages\[0\].content has 6 bytes, more than max_message_bytes=4",
    ),
    "one of many": ({"max_message_bytes": 3}, {"messages": HISTORY}, r"messages\[2\].content has 5 bytes"),
    "role": (
        {"allowed_roles": {"user"}},
        {"messages": HISTORY},
        r"messages\[1\].role is 'assistant'; allowed_roles are user",
    ),
    "system": (
        {"allowed_roles": ["user", "assistant"]},
        {"messages": [{"role": "system", "content": "Obey me."}, *HISTORY]},
        r"messages\[0\].role is 'system'; allowed_roles are assistant, user",
    ),
    "developer": (
        {"allowed_roles": ["user"]},
        {"messages": [{"role": "developer", "content": "Obey me."}], "prompt": "hi"},
        r"messages\[0\].role is 'system'",
    ),
    "control": (
        {"control_characters": "refuse"},
        {"prompt": "a\x1b[2J"},
        r"messages\[0\].content has the control character U\+001B at 1",
    ),
    "hidden": (
        {"control_characters": "refuse"},
        {"prompt": "hi \U000e0041"},
        r"messages\[0\].content has the control character U\+E0041 at 3",
    ),
    "no width": (
        {"control_characters": "refuse"},
        {"prompt": "pass\u200bword"},
        r"messages\[0\].content has the control character U\+200B at 4",
    ),
    "bits": (
        {"control_characters": "refuse"},
        {"prompt": "hi\u2063\u2062"},
        r"messages\[0\].content has the control character U\+2063 at 2",
    ),
    "an id": (
        {"control_characters": "refuse"},
        {"messages": [CALLING, {"role": "tool", "tool_call_id": "1\u202e", "content": "sun"}]},
        r"messages\[1\].tool_call_id has the control character U\+202E at 1",
    ),
    "past the budget by another name": (
        {"max_prompt_tokens": 100},
        {"prompt": "hi", "extra": {"suffix": "x"}},
        r"extra\['suffix'\] would go past the budgets",
    ),
    "long name": (
        {"max_message_bytes": 20},
        {"messages": [{"role": "user", "content": "hi", "name": "a" * 21}]},
        r"messages\[0\].name has 21 bytes, more than max_message_bytes=20",
    ),
    "arguments": (
        {"max_message_bytes": 20},
        {"messages": [CALLING, {"role": "tool", "tool_call_id": "1", "content": "sun"}]},
        r"messages\[0\]: the arguments of look has 29 bytes",
    ),
    "a request's system message": (
        {"max_message_bytes": 20},
        {"prompt": "hi", "system_message": "x" * 21},
        "system_message has 21 bytes, more than max_message_bytes=20",
    ),
    "control in a request's system message": (
        {"control_characters": "refuse"},
        {"prompt": "hi", "system_message": "\u202ehi"},
        r"system_message has the control character U\+202E at 0",
    ),
    "a role that would be rewritten": (
        {"allowed_roles": {"user", "assistant", "tool"}},
        {"messages": [{"role": "function", "name": "look", "content": "sun"}, {"role": "user", "content": "hi"}]},
        r"messages\[0\].role is 'function'",
    ),
    "messages that would be merged": (
        {"max_messages": 1},
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "merge_roles": True},
        "messages: there are 2, more than max_messages=1",
    ),
    "past the completion budget": (
        {"max_completion_tokens": 100},
        {"prompt": "hi", "extra": {"max_tokens": 9999}},
        r"extra\['max_tokens'\] would go past the budgets",
    ),
    "past the prompt budget": (
        {"max_prompt_tokens": 100},
        {"prompt": "hi", "extra": {"tools": []}},
        r"extra\['tools'\] would go past the budgets",
    ),
    "a long schema": (
        {"max_prompt_tokens": 100},
        {"prompt": "hi", "response_format": {"type": "object", "description": "x" * 800}},
        "more than max_prompt_tokens=100",
    ),
    "name": (
        {"control_characters": "refuse"},
        {"messages": [{"role": "user", "content": "hi", "name": "a\x00"}]},
        r"messages\[0\].name has the control character U\+0000 at 1",
    ),
    "long": (
        {"max_prompt_tokens": 50},
        {"prompt": "x" * 400},
        "messages: about 117 tokens, with what is sent beside them: more than max_prompt_tokens=50",
    ),
    "tools": ({"max_prompt_tokens": 18}, {"prompt": "hi", "tools": [look]}, "more than max_prompt_tokens=18"),
    "completion": (
        {"max_completion_tokens": 100},
        {"prompt": "hi", "max_tokens": 101},
        "max_tokens is 101; max_completion_tokens=100 allows no more",
    ),
    "no limit": ({"max_completion_tokens": 100}, {"prompt": "hi", "max_tokens": -1}, "max_tokens is -1"),
}


@pytest.mark.parametrize(("checks", "asked", "match"), REFUSED.values(), ids=REFUSED)
async def test_what_is_too_much_is_refused_at_the_call(
    lmstudio: Simulator, checks: dict[str, Any], asked: dict[str, Any], match: str
) -> None:
    """What a check does not let through raises where it was asked, in streams too, names the field, and is not sent."""
    async with checking(lmstudio, **checks) as adapter:
        with pytest.raises(ModelInvalidRequestError, match=match):
            await adapter.generate_completion(**asked)
        with pytest.raises(ModelInvalidRequestError, match=match):
            adapter.stream(**asked)
        with pytest.raises(ModelInvalidRequestError, match=match):
            adapter.generate_completion_stream(**asked)
    assert lmstudio.requests == []


@pytest.mark.parametrize(
    ("checks", "asked"),
    [
        ({"max_messages": 3, "max_message_bytes": 5, "allowed_roles": ["user", "assistant"]}, {"messages": HISTORY}),
        ({"max_prompt_tokens": 18}, {"prompt": "hi"}),
        ({"max_completion_tokens": 100}, {"prompt": "hi", "max_tokens": 100}),
        ({"control_characters": "refuse"}, {"prompt": "\ttab\r\nline 🏳️‍🌈 می‌خواهم"}),
        ({"control_characters": "keep"}, {"prompt": "a\x07"}),
        ({}, {"messages": HISTORY}),
    ],
)
async def test_what_is_within_is_sent(lmstudio: Simulator, checks: dict[str, Any], asked: dict[str, Any]) -> None:
    """What just fits goes through as it is; the adapter's own system message is neither counted nor a wrong role."""
    async with checking(lmstudio, **checks) as adapter:
        assert (await adapter.generate_completion(**asked)).notes == ()
    said = asked.get("messages") or [{"role": "user", "content": asked["prompt"]}]
    assert chats(lmstudio)[0].json["messages"][1:] == said


async def test_the_default_keeps_to_the_budget(lmstudio: Simulator) -> None:
    """Where max_tokens is not said, the budget is the default; below it, what is said is sent."""
    async with checking(lmstudio, max_completion_tokens=100) as adapter, checking(lmstudio) as other:
        await adapter.generate_completion("hi")
        await adapter.generate_completion("hi", max_tokens=5)
        await other.generate_completion("hi")
    assert [request.json["max_tokens"] for request in chats(lmstudio)] == [100, 5, 1024]


async def test_a_requests_system_message_is_stripped(lmstudio: Simulator) -> None:
    """With strip, a request's system message loses its control characters, with a note; the adapter's own does not."""
    async with checking(lmstudio, control_characters="strip") as adapter:
        response = await adapter.generate_completion("hi", system_message="Be\u202e kind.")
        assert response.notes == (
            Note("CONTROL_CHARACTERS_STRIPPED", "control characters were taken out of system_message"),
        )
        own = adapter.with_model("llama3", system_message="Be\u202e bold.")
        assert (await own.generate_completion("hi")).notes == ()
    sent = [chat.json["messages"][0]["content"] for chat in chats(lmstudio)]
    assert sent == ["Be kind.", "Be\u202e bold."]


async def test_control_characters_are_stripped(lmstudio: Simulator) -> None:
    """Stripped text is sent and is the history; a note names the messages, not what was said."""
    history = [UserMessage(content=[TextPart(text="o\x00ne")], name="A\x1bda"), AssistantMessage(content="two")]
    async with checking(lmstudio, control_characters="strip") as adapter:
        response = await adapter.generate_completion("th\u202eree", messages=history)
    sent = chats(lmstudio)[0].json["messages"]
    assert sent[1] == {"role": "user", "content": [{"type": "text", "text": "one"}], "name": "Ada"}
    assert sent[3]["content"] == response.messages[3].text == "three"
    assert response.notes == (
        Note("CONTROL_CHARACTERS_STRIPPED", "control characters were taken out of messages[0], messages[2]"),
    )
    assert history[0].text == "o\x00ne"


async def test_rounds_of_tools_are_checked(lmstudio: Simulator) -> None:
    """Results of tools are checked as all messages are; the system message comes through in every round."""
    roles = {"user", "assistant", "tool"}
    async with checking(lmstudio, allowed_roles=roles, control_characters="strip", max_messages=3) as adapter:
        lmstudio.answer(Answer(tool_calls=[("look", {"city": "Paris"})]))
        response = await adapter.run_tools("hi", tools=[look], max_rounds=1)
    assert chats(lmstudio)[1].json["messages"][-1]["content"] == "sunny"
    assert [note.code for note in response.notes] == ["CONTROL_CHARACTERS_STRIPPED"]


async def test_conversations_are_checked(lmstudio: Simulator) -> None:
    """A turn that is refused leaves a conversation as it was, and its own system message is let through."""
    async with checking(lmstudio, allowed_roles={"user", "assistant"}, max_message_bytes=20) as adapter:
        chat = adapter.conversation(system_message="You are a pirate.")
        await chat.ask("hi")
        with pytest.raises(ModelInvalidRequestError, match="max_message_bytes"):
            await chat.ask("x" * 21)
        await chat.ask("and?")
    assert len(chat.messages) == 5


async def test_what_is_checked_can_be_counted(lmstudio: Simulator) -> None:
    """What is too long to be sent can be counted, which is how one finds out."""
    async with checking(lmstudio, max_prompt_tokens=5, max_messages=1) as adapter:
        assert await adapter.count_tokens(HISTORY) > 5


async def test_siblings_are_checked(lmstudio: Simulator) -> None:
    """What holds for an adapter holds for its siblings."""
    async with checking(lmstudio, max_message_bytes=3) as adapter:
        with pytest.raises(ModelInvalidRequestError, match="max_message_bytes"):
            adapter.with_model("qwen3-8b").stream("long")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("max_messages", "max_message_bytes") for value in (0, -1, 1.5, "1", True)),
        *((name, 0) for name in ("max_prompt_tokens", "max_completion_tokens")),
        *(("allowed_roles", value) for value in ("user", 5, [], ["sage"], [None])),
        *(("control_characters", value) for value in ("drop", None, True)),
    ],
)
def test_wrong_checks_are_named(name: str, value: Any) -> None:
    """A check that is none is refused where it is made."""
    with pytest.raises(ModelInvalidRequestError, match=rf"InputChecks\.{name} is"):
        InputChecks(**{name: value})


def test_checks_are_input_checks() -> None:
    """An adapter takes nothing else for them."""
    with pytest.raises(ModelInvalidRequestError, match="checks must be of type InputChecks, not dict"):
        LMStudioAdapter("llama3", checks={})  # type: ignore[arg-type]


@given(st.lists(st.text(), max_size=4))
def test_stripped_text_is_let_through(texts: list[str]) -> None:
    """What was stripped has nothing left to refuse or to strip, and lost nothing but such characters."""
    messages: list[AnyMessage] = [UserMessage(content=text) for text in texts]
    notes: list[Note] = []
    stripped = InputChecks(control_characters="strip").let_through(messages, None, notes)
    assert InputChecks(control_characters="refuse").let_through(stripped, None, []) == stripped
    assert bool(notes) == (stripped != messages)
    for text, message in zip(texts, stripped, strict=True):
        lost = {*text} - {*message.text}
        assert message.text == "".join([character for character in text if character not in lost])
        assert {unicodedata.category(character) for character in lost} <= {"Cc", "Cf", "Mn", "Lo", "Cn"}
        assert {character for character in message.text if unicodedata.category(character) == "Cc"} <= {*"\t\n\r"}


def test_what_is_stripped_is_what_unicode_ignores() -> None:
    """All that a reader cannot see is taken out; what languages and emoji need, and tab and line ends, stay."""
    invisible = [chr(point) for point in (0x00, 0x7F, 0xAD, 0x34F, 0x200B, 0x2028 + 2, 0x2060, 0x2064, 0x206F, 0x3164)]
    invisible += [chr(point) for point in (0xFE00, 0xFEFF, 0xFFA0, 0xFFF9, 0x1D173, 0xE0001, 0xE0041, 0xE0100, 0xE01EF)]
    needed = "\t\n\r na\u00efve \u06cc\u200c\u0647 \u2764\ufe0f \U0001f469\u200d\U0001f680 \u05d0\u200f! \u200e\u061c"
    notes: list[Note] = []
    messages: list[AnyMessage] = [UserMessage(content=needed + "".join(invisible))]
    (message,) = InputChecks(control_characters="strip").let_through(messages, None, notes)
    assert message.content == needed
    assert len(notes) == 1
