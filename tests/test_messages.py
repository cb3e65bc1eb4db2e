from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
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
from neuroroute.messages import MessageReader, message_from

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
JPEG = b"\xff\xd8\xff\xe0" + b"0" * 8

ALL = [
    SystemMessage(content="be brief"),
    UserMessage(content="hi", name="ann"),
    UserMessage(content=(TextPart(text="look"), ImagePart.of(PNG))),
    AssistantMessage(content="hello"),
    AssistantMessage(tool_calls=(ToolCall(id="1", function=FunctionCall(name="f", arguments="{}")),)),
    AssistantMessage(function_call=FunctionCall(name="f")),
    FunctionMessage(name="f", content="42"),
    ToolMessage(tool_call_id="1", content="42"),
]


@pytest.mark.parametrize("message", ALL, ids=lambda message: message.role)
def test_messages_go_to_json_and_back(message: AnyMessage) -> None:
    """A message survives JSON, and a dict of the same shape is the same message."""
    data = msgspec.json.encode(message)
    assert msgspec.json.decode(data, type=AnyMessage) == message
    assert message_from(msgspec.json.decode(data)) == message


def test_the_shape_on_the_wire() -> None:
    """A message is written as /v1/chat/completions takes it: what is not there is left out, content always is."""
    assert msgspec.json.encode(ALL[1]) == b'{"role":"user","content":"hi","name":"ann"}'
    assert msgspec.json.decode(msgspec.json.encode(ALL[4])) == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


def test_messages_are_read_by_attributes_and_hashable() -> None:
    """Messages know their role, are frozen, and may stand in sets."""
    assert [message.role for message in ALL[:2]] == ["system", "user"]
    assert len({*ALL, *ALL}) == len(ALL)
    with pytest.raises(AttributeError):
        ALL[0].content = "x"  # type: ignore[misc]


def test_text_leaves_images_out() -> None:
    """The text of a message of parts is its text parts."""
    assert ALL[2].text == "look"


def test_developer_is_taken_as_system() -> None:
    """The newer name of the system role is understood."""
    assert message_from({"role": "developer", "content": "x"}) == SystemMessage(content="x")


def test_an_assistant_with_nothing_but_calls() -> None:
    """Other SDKs write None as the content of a message that only calls."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = message_from({"role": "assistant", "content": None, "tool_calls": [call]})
    assert (message.content, message.tool_calls[0].function.name) == ("", "f")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"role": "robot", "content": "x"}, r"messages\[3\].role is 'robot'; it must be one of system, user"),
        ({"content": "x"}, r"messages\[3\].role is None"),
        ({"role": "user"}, "content must be a text or a list of parts, not None"),
        ({"role": "user", "content": 5}, "not a value of type int"),
        ({"role": "user", "content": []}, "not an empty list"),
        ({"role": "user", "content": [{"type": "video"}]}, "Invalid value 'video'"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}, "data URL"),
        ({"role": "user", "content": "x", "name": 7}, "name"),
        ({"role": "function", "content": "x"}, "needs the name of its function"),
        ({"role": "tool", "content": "x"}, "`tool_call_id`"),
        ({"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}, "`function`"),
        ({"role": "tool", "content": "x", "tool_call_id": 5}, "tool_call_id"),
        ({"role": "user", "content": "x", "nmae": "ann"}, r"unknown key 'nmae'; did you mean 'name'\?"),
        ({"role": "assistant", "nmae": "ann"}, r"unknown key 'nmae'"),
        ({"role": "user", "content": "x", "reasoning": "y"}, "unknown key 'reasoning'"),
        ({"role": "user", "content": "x", 5: "y"}, "unknown key 5"),
        ("hi", r"messages\[3\] must be a message or a dict"),
    ],
)
def test_a_wrong_message_is_named(value: Any, says: str) -> None:
    """A wrong message is told by its place and its field."""
    with pytest.raises(ModelInvalidRequestError, match=says) as caught:
        MessageReader().read([*ALL[:3], value])
    assert "messages[3]" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: UserMessage(content=5), "content must be a text or a list of parts"),  # type: ignore[arg-type]
        (lambda: UserMessage(content="x", name=5), "name must be a text"),  # type: ignore[arg-type]
        (lambda: ToolMessage(tool_call_id=5), "tool_call_id must be a text"),  # type: ignore[arg-type]
        (lambda: FunctionCall(name=5), "name of a call must be a text"),  # type: ignore[arg-type]
        (lambda: FunctionCall(name="f", arguments={}), "arguments of a call"),  # type: ignore[arg-type]
        (lambda: ToolCall(id=None, function=FunctionCall(name="f")), "id of a call"),  # type: ignore[arg-type]
        (lambda: ToolCall(id="1", type=5, function=FunctionCall(name="f")), "type of a call"),  # type: ignore[arg-type]
        (lambda: ToolCall(id="1", function={}), "function of a call: .*`name`"),  # type: ignore[arg-type]
        (lambda: AssistantMessage(tool_calls=[5]), "an assistant message's calls"),  # type: ignore[arg-type]
    ],
)
def test_messages_made_by_hand_are_checked(make: Any, says: str) -> None:
    """A field that could not be sent is refused where the message is made."""
    with pytest.raises(ModelInvalidRequestError, match=says):
        make()


def test_what_other_sdks_put_into_answers_is_left_out() -> None:
    """An assistant's message as LM Studio or openai gives it is taken; what is no part of the history is dropped."""
    answer = {"role": "assistant", "content": "hi", "refusal": None, "annotations": [], "audio": None, "parsed": None,
              "reasoning": "hm", "reasoning_content": "hm", "function_call": None, "tool_calls": None}  # fmt: skip
    assert message_from(answer) == AssistantMessage(content="hi")


def test_a_function_of_a_call_may_be_a_dict() -> None:
    """What is a dict in JSON may be one in Python."""
    call = ToolCall(id="1", function={"name": "f", "arguments": "{}"})  # type: ignore[arg-type]
    assert call == ToolCall(id="1", function=FunctionCall(name="f"))


class Markup(str):
    """A text whose methods do otherwise, as markupsafe's."""

    def __str__(self) -> str:
        return "escaped"


def test_texts_of_a_subclass_are_taken_as_what_they_are() -> None:
    """Each text of a message may be of a subclass of str, and is kept and written as a plain one."""
    value = Markup("x")
    made: list[AnyMessage] = [
        UserMessage(content=value, name=value),
        UserMessage(content=(TextPart(text=value),)),
        ToolMessage(content=value, tool_call_id=value),
        AssistantMessage(tool_calls=(ToolCall(id=value, function=FunctionCall(name=value, arguments=value)),)),
        message_from({"role": Markup("user"), "content": value}),
    ]
    assert b"escaped" not in (data := msgspec.json.encode(made))
    assert msgspec.json.decode(data, type=list[AnyMessage]) == made
    assert type(made[0].content) is str


def test_errors_do_not_repeat_what_was_said() -> None:
    """An error about a message names what is wrong, never the secret in it."""
    for value in (
        {"role": "user", "content": {"text": "s3cret"}},
        "s3cret",
        {"role": "user", "content": ["a", b"s3cret"]},
    ):
        with pytest.raises(ModelInvalidRequestError) as caught:
            MessageReader().read([value])
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("values", ["hi", {"role": "user"}, 5, b"x"])
def test_a_history_is_a_list(values: Any) -> None:
    """One message, or a text, in place of a list is refused."""
    with pytest.raises(ModelInvalidRequestError, match="list of messages"):
        MessageReader().read(values)


@pytest.mark.parametrize(("data", "kind"), [(PNG, "png"), (JPEG, "jpeg")])
def test_images(tmp_path: Path, data: bytes, kind: str) -> None:
    """A file, its bytes and a data URL all become the same base64 data URL."""
    path = tmp_path / "picture"
    path.write_bytes(data)
    parts = [ImagePart.of(path), ImagePart.of(str(path)), ImagePart.of(data)]
    assert all(part.image_url.url.startswith(f"data:image/{kind};base64,") for part in parts)
    assert ImagePart.of(parts[0].image_url.url) == parts[0] == parts[1] == parts[2]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"GIF89a", "neither PNG nor JPEG"),
        ("no/such/file.png", "cannot be read"),
        ("data:image/webp;base64,AAAA", "PNG or JPEG"),
        ("data:text/plain,hi", "PNG or JPEG"),
    ],
)
def test_an_unreadable_image_is_refused(source: str | bytes, says: str) -> None:
    """LM Studio takes PNG and JPEG only; anything else is said before it is sent."""
    with pytest.raises(ModelInvalidRequestError, match=says):
        ImagePart.of(source)


def test_plain_turns_are_remembered() -> None:
    """A dict that comes again gives the very message made of it before; a changed one does not."""
    reader = MessageReader()
    turn = {"role": "user", "content": "hi"}
    first = reader.read([turn])[0]
    assert reader.read([dict(turn)])[0] is first
    assert reader.read([{"role": "assistant", "content": "hi"}])[0] == AssistantMessage(content="hi")
    turn["content"] = "ho"
    assert reader.read([turn])[0].content == "ho"


def test_what_is_remembered_is_bounded() -> None:
    """Turns are not kept for ever: past the limit the reader begins anew, and still reads right."""
    reader = MessageReader(max_chars=1000)
    first = reader.read([{"role": "user", "content": "first"}])[0]
    reader.read([{"role": "user", "content": f"{i} " * 50} for i in range(20)])
    again = reader.read([{"role": "user", "content": "first"}])[0]
    assert again == first
    assert again is not first


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "developer"]), st.text(max_size=5)), max_size=20)
)
def test_remembering_changes_nothing(turns: list[tuple[str, str]]) -> None:
    """A reader with a memory reads what one without reads."""
    values = [{"role": role, "content": content} for role, content in turns]
    reader = MessageReader(max_chars=600)
    reader.read(values)
    assert reader.read(values) == [message_from(value) for value in values]
