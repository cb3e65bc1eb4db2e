from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from neuroroute.messages import (
    AnyMessage,
    AssistantMessage,
    ImagePart,
    SystemMessage,
    TextPart,
    UserMessage,
    message_from,
)
from neuroroute.wire.roles import after, alternate, merged

IMAGE = ImagePart.of(b"\x89PNG\r\n\x1a\n" + base64.b64encode(b"0"))


def one(*messages: AnyMessage) -> AnyMessage:
    (turn,), changed = merged(list(enumerate(messages)))
    assert changed == list(range(len(messages)))
    assert turn[0] == 0
    return turn[1]


def test_texts_are_parted_by_a_blank_line() -> None:
    """Texts are joined with a blank line; an empty one leaves no trace."""
    assert one(*[AssistantMessage(content=text) for text in ["a", "", "b"]]) == AssistantMessage(content="a\n\nb")
    assert one(UserMessage(content=""), UserMessage(content="")) == UserMessage(content="")


def test_parts_are_put_together() -> None:
    """Parts stand one after the other, and texts that meet are one, with a blank line."""
    merged_message = one(
        UserMessage(content="a"),
        UserMessage(content=(TextPart(text="b"), IMAGE)),
        UserMessage(content=""),
        UserMessage(content="c"),
    )
    assert merged_message.content == (TextPart(text="a\n\nb"), IMAGE, TextPart(text="c"))


def test_names_that_differ_go_into_the_text() -> None:
    """A name that all have is kept; where names differ, each stands before what its speaker said."""
    ann, bob, nobody = (UserMessage(content="hi", name=name) for name in ("ann", "bob", None))
    assert one(ann, ann) == UserMessage(content="hi\n\nhi", name="ann")
    assert one(ann, bob, nobody) == UserMessage(content="ann: hi\n\nbob: hi\n\nhi")


def test_what_stands_alone_is_the_same_turn() -> None:
    """A message that is merged with none stays the same object."""
    messages = [SystemMessage(content="x"), UserMessage(content="a"), AssistantMessage(content="b")]
    turns, changed = merged(list(enumerate(messages)))
    assert [turn[1] for turn in turns] == messages
    assert all(turn[1] is message for turn, message in zip(turns, messages, strict=True))
    assert changed == []


@given(st.lists(st.sampled_from(["system", "user", "assistant"])))
def test_roles_alternate_where_nothing_is_merged(roles: list[str]) -> None:
    """The quick question whether there is anything to merge has the answer that merging gives."""
    messages = [message_from({"role": role, "content": "x"}) for role in roles]
    assert alternate(messages) == (merged(list(enumerate(messages)))[1] == [])


def test_a_text_before_content() -> None:
    """A text goes before a text, or is a part before the parts."""
    assert after("a: ", "b") == "a: b"
    assert after("a: ", (IMAGE,)) == (TextPart(text="a: "), IMAGE)
