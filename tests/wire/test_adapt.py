from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.messages import (
    AnyMessage,
    AssistantMessage,
    FunctionCall,
    FunctionMessage,
    MessageReader,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from neuroroute.responses import Note
from neuroroute.wire.adapt import adapted
from neuroroute.wire.encode import encode_turn

NO_RESULT = "No result: the call was not run."


def user(text: str = "hi") -> UserMessage:
    return UserMessage(content=text)


def call(call_id: str, name: str = "f", arguments: str = "{}") -> ToolCall:
    return ToolCall(id=call_id, function=FunctionCall(name=name, arguments=arguments))


def asks(*calls: ToolCall | str, text: str = "") -> AssistantMessage:
    return AssistantMessage(
        content=text, tool_calls=tuple(call(each) if isinstance(each, str) else each for each in calls)
    )


def legacy(name: str = "f", arguments: str = "{}") -> AssistantMessage:
    return AssistantMessage(function_call=FunctionCall(name=name, arguments=arguments))


def result(call_id: str, text: str = "42", name: str | None = None) -> ToolMessage:
    return ToolMessage(tool_call_id=call_id, content=text, name=name)


def function(name: str, text: str = "42") -> FunctionMessage:
    return FunctionMessage(name=name, content=text)


def said(notes: list[Note]) -> dict[str, str]:
    return {note.code: note.message.rpartition(": ")[2] for note in notes}


def shape(messages: list[AnyMessage]) -> list[tuple[Any, ...]]:
    """A history in short: the ids of calls, and of results with their text."""
    return [
        (message.tool_call_id, message.text)
        if isinstance(message, ToolMessage)
        else tuple(each.id for each in message.tool_calls)
        if isinstance(message, AssistantMessage)
        else (message.role, message.text)
        for message in messages
    ]


# What holds for any history

IDS = st.sampled_from(["", "a", "b", "000000001", "000000002"])
NAMES = st.sampled_from(["f", "g"])
ARGUMENTS = st.sampled_from(
    ["{}", '{"a": 1}', "", " ", "null", "{'a': 1}", "{oops", "[1]", '"x"', "1e999", '{"a": "é']
) | (st.text(alphabet='{}[]":,a1 ', max_size=8))
CALLS = st.builds(call, IDS, NAMES, ARGUMENTS)


@st.composite
def histories(draw: st.DrawFn) -> list[AnyMessage]:
    """Histories of all roles whose contents are all different: ``<0>``, ``<1>``, ..."""
    messages: list[AnyMessage] = []
    for role in draw(
        st.lists(st.sampled_from(["system", "user", "assistant", "tool", "tool", "function"]), max_size=14)
    ):
        text: Any = f"<{len(messages)}>"
        content = draw(st.sampled_from([text, (TextPart(text=text),)]))
        name = draw(st.sampled_from([None, None, "f"]))
        if role == "assistant":
            calls = tuple(draw(st.lists(CALLS, max_size=3)))
            older = draw(st.none() | st.builds(FunctionCall, name=NAMES, arguments=ARGUMENTS))
            messages.append(AssistantMessage(content=content, name=name, tool_calls=calls, function_call=older))
        elif role == "tool":
            messages.append(ToolMessage(content=content, name=name, tool_call_id=draw(IDS)))
        elif role == "function":
            messages.append(FunctionMessage(content=content, name=draw(NAMES)))
        else:
            messages.append((SystemMessage if role == "system" else UserMessage)(content=content, name=name))
    return messages


def check_right(messages: list[AnyMessage]) -> None:
    seen: set[str] = set()
    rest = list(messages)
    while rest:
        message = rest.pop(0)
        assert not isinstance(message, (ToolMessage, FunctionMessage))
        if isinstance(message, AssistantMessage):
            assert message.function_call is None
            ids = [each.id for each in message.tool_calls]
            assert all(ids)
            assert len({*ids} - seen) == len(ids)
            seen.update(ids)
            assert all(type(json.loads(each.function.arguments)) is dict for each in message.tool_calls)
            answers = [rest.pop(0) for _ in ids]
            assert sorted(m.tool_call_id for m in answers if isinstance(m, ToolMessage)) == sorted(ids)


@given(histories(), st.booleans())
def test_any_history_becomes_right(messages: list[AnyMessage], merge_roles: bool) -> None:
    """Every call has its own id, an object as arguments and one result right behind it; no result is elsewhere."""
    check_right(adapted(messages, merge_roles=merge_roles)[0])


@given(histories(), st.booleans())
def test_nothing_is_lost(messages: list[AnyMessage], merge_roles: bool) -> None:
    """What every message said is said once, and every call is made once, after adapting too."""
    changed, _ = adapted(messages, merge_roles=merge_roles)
    texts = "".join(message.text for message in changed)
    assert [texts.count(f"<{index}>") for index in range(len(messages))] == [1] * len(messages)

    def calls(history: list[AnyMessage]) -> int:
        assistants = [message for message in history if isinstance(message, AssistantMessage)]
        both = [m for m in assistants if m.function_call in [each.function for each in m.tool_calls]]
        return sum(len(m.tool_calls) + (m.function_call is not None) for m in assistants) - len(both)

    assert calls(changed) == calls(messages)


@given(histories(), st.booleans())
def test_what_is_right_comes_back_as_it_is(messages: list[AnyMessage], merge_roles: bool) -> None:
    """A history that was adapted is right: it comes back as the very same list, with nothing to note."""
    once, _ = adapted(messages, merge_roles=merge_roles)
    twice, notes = adapted(once, merge_roles=merge_roles)
    assert twice is once
    assert notes == []


@given(histories(), st.booleans())
def test_the_given_history_is_not_changed(messages: list[AnyMessage], merge_roles: bool) -> None:
    """The list and its messages stay as they were, and a message with nothing to change is sent as the same object."""
    before, encoded = list(messages), [msgspec.json.encode(message) for message in messages]
    changed, _ = adapted(messages, merge_roles=merge_roles)
    assert all(one is other for one, other in zip(messages, before, strict=True))
    assert [msgspec.json.encode(message) for message in messages] == encoded
    assert {id(message) for message in changed if message in before} <= {id(message) for message in messages}


@given(histories(), st.data())
def test_a_longer_history_begins_with_the_same_calls(messages: list[AnyMessage], data: st.DataObject) -> None:
    """What is said later never changes the ids and arguments of earlier calls."""

    def calls(history: list[AnyMessage]) -> list[tuple[ToolCall, ...]]:
        return [message.tool_calls for message in adapted(history)[0] if isinstance(message, AssistantMessage)]

    first = calls(messages[: data.draw(st.integers(0, len(messages)))])
    assert calls(messages)[: len(first)] == first


@given(histories())
def test_merged_roles_alternate(messages: list[AnyMessage]) -> None:
    """After merging there is one system message at most, the first, and no two neighbours of user or assistant."""
    roles = [message.role for message in adapted(messages, merge_roles=True)[0]]
    assert "system" not in roles[1:]
    assert not any(one == other != "tool" for one, other in pairwise(roles))


@given(histories(), st.booleans())
def test_notes_name_places_and_no_contents(messages: list[AnyMessage], merge_roles: bool) -> None:
    """Each kind of change is noted once, by places of the given history, without a word of what was said."""
    notes = adapted(messages, merge_roles=merge_roles)[1]
    assert len({note.code for note in notes}) == len(notes)
    for note in notes:
        assert "<" not in note.message
        places = note.message.rpartition(" in ")[2].partition(" and ")[0].split(", ")
        assert {*places} <= {f"messages[{index}]" for index in range(len(messages))}


# Histories that are right


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [user(), AssistantMessage(content="ho"), user()],
        [SystemMessage(content="x"), user(), SystemMessage(content="y"), user(), user()],
        [user(), asks("a", "b"), result("b"), result("a"), AssistantMessage(content="42"), asks("c"), result("c")],
    ],
    ids=["empty", "plain", "roles do not alternate", "results in another order"],
)
def test_a_right_history_is_left_alone(messages: list[AnyMessage]) -> None:
    """A history with nothing to put right is the same list."""
    assert adapted(messages)[0] is messages
    assert adapted(messages)[1] == []


# The older form


def test_the_older_form_becomes_tools() -> None:
    """A function_call and its function's result are a tool call and its result, the name kept, without a note."""
    messages = [user(), legacy(arguments='{"x": 1}'), function("f"), legacy("g"), function("g", "43")]
    changed, notes = adapted(messages)
    assert changed == [
        user(),
        asks(call("000000001", arguments='{"x": 1}')),
        result("000000001", name="f"),
        asks(call("000000002", "g")),
        result("000000002", "43", name="g"),
    ]
    assert notes == []


def test_a_made_id_is_one_that_no_call_has() -> None:
    """An id that is made is not one of an earlier call."""
    changed, _ = adapted([asks("000000002"), result("000000002"), legacy(), function("f")])
    assert shape(changed)[2:] == [("000000003",), ("000000003", "42")]


def test_a_call_in_both_forms_is_one_call() -> None:
    """A function_call that tool_calls have, too, is dropped; one that they do not have is added to them."""
    both = AssistantMessage(tool_calls=(call("a"),), function_call=FunctionCall(name="f"))
    assert adapted([both, result("a")]) == ([asks("a"), result("a")], [])
    other = AssistantMessage(tool_calls=(call("a"),), function_call=FunctionCall(name="g"))
    changed, notes = adapted([other, function("g"), result("a", "43")])
    assert changed == [
        asks("a", call("000000002", "g")),
        result("000000002", name="g"),
        result("a", "43"),
    ]
    assert notes == []


# Ids


def test_ids_that_come_again_are_numbered_anew() -> None:
    """The first call keeps a repeated id; later ones and their results get one of their own."""
    messages = [user(), asks("call_0"), result("call_0", "1"), asks("call_0"), result("call_0", "2"), user()]
    changed, notes = adapted(messages)
    assert shape(changed)[1:5] == [("call_0",), ("call_0", "1"), ("000000002",), ("000000002", "2")]
    assert said(notes) == {"TOOL_IDS_RENUMBERED": "1 in messages[3]"}
    assert changed[1] is messages[1]


def test_results_follow_in_order() -> None:
    """Of several calls with one id, or none, the first result belongs to the first."""
    messages = [asks("", "x", "x", ""), result("x", "1"), result("", "2"), result("x", "3"), result("", "4")]
    changed, notes = adapted(messages)
    assert shape(changed) == [
        ("000000001", "x", "000000003", "000000004"),
        ("x", "1"),
        ("000000001", "2"),
        ("000000003", "3"),
        ("000000004", "4"),
    ]
    assert said(notes) == {"TOOL_IDS_RENUMBERED": "5 in messages[0], messages[2], messages[4]"}


def test_a_result_without_an_id_takes_what_is_left() -> None:
    """A result with an id, then one with a name, has its call before one that has neither is given to any."""
    messages = [asks(call("a"), call("b", "g"), call("c")), result("", "?"), result("", "g", "g"), result("a", "a")]
    changed, notes = adapted(messages)
    assert shape(changed)[1:] == [("c", "?"), ("b", "g"), ("a", "a")]
    assert said(notes) == {"TOOL_IDS_RENUMBERED": "2 in messages[1], messages[2]"}


def test_a_result_belongs_to_calls_of_its_own_section() -> None:
    """A call that was never answered, before the user spoke again, takes no result of a later call."""
    changed, notes = adapted([asks("x"), user(), asks("x"), result("x"), result("x", "late")])
    assert shape(changed) == [("x",), ("x", "late"), ("user", "hi"), ("000000002",), ("000000002", "42")]
    assert said(notes) == {"TOOL_IDS_RENUMBERED": "1 in messages[2]", "RESULT_MOVED": "1 in messages[4]"}


# Calls and results without each other


def test_a_result_without_its_call() -> None:
    """A result whose call is not there, or comes later, is told as something that the user says."""
    messages = [
        function("f", "1"),
        result("z", "2"),
        ToolMessage(tool_call_id="a", content=(TextPart(text="3"),), name="g"),
        asks("a"),
        result("a"),
        result("a", "again"),
    ]
    changed, notes = adapted(messages)
    assert changed[:3] == [
        user("Result of the function f: 1"),
        user("Result of a tool call: 2"),
        UserMessage(content=(TextPart(text="Result of the function g: "), TextPart(text="3"))),
    ]
    assert changed[3:] == [*messages[3:5], user("Result of a tool call: again")]
    assert said(notes) == {"RESULT_WITHOUT_CALL": "4 in messages[0], messages[1], messages[2], messages[5]"}


def test_a_call_without_its_result() -> None:
    """A call that nothing answers gets a result that says so, behind the others."""
    messages = [asks("a", "b"), result("b"), user(), asks("c")]
    changed, notes = adapted(messages)
    assert changed == [*messages[:2], result("a", NO_RESULT), *messages[2:], result("c", NO_RESULT)]
    assert said(notes) == {"CALL_WITHOUT_RESULT": "2 in messages[0], messages[3]"}


def test_a_result_apart_from_its_call_is_moved() -> None:
    """A result that other messages part from its call is sent right behind the call's other results."""
    messages = [asks("a", "b"), result("b"), user(), result("a", "late")]
    changed, notes = adapted(messages)
    assert changed == [messages[0], messages[1], messages[3], messages[2]]
    assert said(notes) == {"RESULT_MOVED": "1 in messages[3]"}


def test_calls_told_one_by_one() -> None:
    """Calls in messages of their own, with all results behind the last, are each given theirs."""
    changed, _ = adapted([legacy(), legacy(), function("f", "1"), function("f", "2")])
    assert shape(changed) == [("000000001",), ("000000001", "1"), ("000000002",), ("000000002", "2")]


# Arguments


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ("", "{}"),
        (" \n", "{}"),
        ("null", "{}"),
        ("{'a': 1,}", {"a": 1}),
        ('{"a": [1', '{"arguments":"{\\"a\\": [1"}'),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ("[1, 2]", '{"arguments":[1, 2]}'),
        ("'x'", '{"arguments":"x"}'),
        ("1e999", '{"arguments":"1e999"}'),
        ('{"a": "\\ud800"}', '{"arguments":"{\\"a\\": \\"\\\\ud800\\"}"}'),
        ('{"a":' * 9999, json.dumps({"arguments": '{"a":' * 9999}, separators=(",", ":"))),
    ],
    ids=lambda value: str(value)[:12],
)
def test_arguments_become_an_object(arguments: str, sent: Any) -> None:
    """Arguments are repaired, or put whole into an object; empty ones mean {}, so that is not noted."""
    changed, notes = adapted([asks(call("a", arguments=arguments)), result("a")])
    assert isinstance(changed[0], AssistantMessage)
    got = changed[0].tool_calls[0].function.arguments
    assert got == sent or json.loads(got) == sent
    assert said(notes) == ({} if sent == "{}" else {"ARGUMENTS_REPAIRED": "1 in messages[0]"})


def test_half_a_character_is_left_to_the_encoder() -> None:
    """A lone surrogate is not hidden in a repair: encoding the request refuses it and says where it is."""
    messages: list[AnyMessage] = [asks(call("a", arguments='{"a": "\ud800"}')), result("a")]
    assert adapted(messages)[0] is messages


# Roles


def test_neighbours_are_merged_when_asked() -> None:
    """Neighbours of one role are one message, texts parted by a blank line, and system messages come first as one."""
    messages = [
        user("1"),
        SystemMessage(content="be brief"),
        user("2"),
        AssistantMessage(content="3"),
        asks("a", text="4"),
        result("a"),
        result("z"),
        user("5"),
        SystemMessage(content="be kind"),
    ]
    changed, notes = adapted(messages, merge_roles=True)
    assert changed == [
        SystemMessage(content="be brief\n\nbe kind"),
        user("1\n\n2"),
        asks("a", text="3\n\n4"),
        result("a"),
        user("Result of a tool call: 42\n\n5"),
    ]
    assert set(said(notes)) == {"RESULT_WITHOUT_CALL", "ROLES_MERGED"}
    assert said(notes)["ROLES_MERGED"].startswith("8 in messages[0], messages[1]")
    assert said(notes)["ROLES_MERGED"].endswith(" and 3 more")


def test_a_system_message_goes_first_when_roles_are_merged() -> None:
    """A lone system message is moved to the front, with a note."""
    changed, notes = adapted([user(), SystemMessage(content="x")], merge_roles=True)
    assert changed == [SystemMessage(content="x"), user()]
    assert said(notes) == {"ROLES_MERGED": "1 in messages[1]"}


def test_roles_that_alternate_are_left_alone() -> None:
    """With nothing to merge the same list comes back, asked or not."""
    messages = [SystemMessage(content="x"), user(), asks("a", "b"), result("a"), result("b"), user()]
    assert adapted(messages, merge_roles=True)[0] is messages


# What it costs


def test_an_adapted_turn_keeps_its_encoded_form() -> None:
    """A message with nothing to change is not encoded again, nor are its arguments read again."""
    messages = MessageReader().read([asks("a"), result("a"), user(), asks("b"), user()])
    turns = [encode_turn(message) for message in messages]
    changed, _ = adapted(messages)
    assert [message.__dict__.get("turn") for message in changed if message in messages] == turns
