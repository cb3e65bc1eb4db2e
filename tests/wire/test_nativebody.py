from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from neuroroute import AnyMessage, AssistantMessage, ImagePart, SystemMessage, TextPart, ToolMessage, UserMessage
from neuroroute.messages import MessageReader
from neuroroute.options import DEFAULTS
from neuroroute.wire.nativebody import native_input, needs_transcript
from neuroroute.wire.requesting import chat_request

PNG = ImagePart.of(b"\x89PNG\r\n\x1a\nabc")
CALL = {"id": "1", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOLD: list[AnyMessage] = [
    UserMessage(content="What is 1 + 1?"),
    AssistantMessage(tool_calls=[CALL]),  # type: ignore[arg-type]
    ToolMessage(tool_call_id="1", content="2"),
    AssistantMessage(content='It is "2".'),
]


def body(prompt: str = "hi", **options: Any) -> Any:
    made = chat_request(
        "m", prompt, {**DEFAULTS, "api": "native", **options}, MessageReader(), streaming=False, max_bytes=1 << 20
    )
    return json.loads(made.body)


def test_options_have_the_names_of_this_route() -> None:
    """Each option goes out under the native name, and no key that it does not know."""
    sent = body(top_k=40, min_p=0.05, repeat_penalty=1.1, reasoning="on", context_length=8000, store=False,
                integrations=["mcp/x"], extra={"new": 1})  # fmt: skip
    assert sent == {
        "model": "m", "input": "hi", "system_prompt": "You are a helpful assistant.", "temperature": 0.7, "top_p": 1,
        "top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "reasoning": "on", "context_length": 8000, "store": False,
        "integrations": ["mcp/x"], "max_output_tokens": 1024, "stream": False, "new": 1,
    }  # fmt: skip
    assert "max_output_tokens" not in body(max_tokens=-1)
    assert "system_prompt" not in body(system_message=None)


def test_words_of_the_user_are_sent_as_they_are() -> None:
    """Messages of the user are one text, a blank line between them, a name before its text; system goes elsewhere."""
    said = [SystemMessage(content="s"), UserMessage(content="one"), UserMessage(content="two", name="Ann")]
    assert native_input(said) == "one\n\nAnn: two"
    assert not needs_transcript(said)


def test_images_are_parts() -> None:
    """With an image all are parts, the text of type "text" with its content, the image as a data URL."""
    assert native_input([UserMessage(content=("what is it?", PNG))]) == [  # type: ignore[arg-type]
        {"type": "text", "content": "what is it?"},
        {"type": "image", "data_url": PNG.image_url.url},
    ]


def test_a_history_is_a_transcript_of_json() -> None:
    """Every message before the last question is a line of JSON with all its fields, and what is asked comes after."""
    told = native_input([*TOLD, UserMessage(content="And plus 1?")])
    assert isinstance(told, str)
    head, *lines, end, empty, question = told.split("\n")
    assert [json.loads(line) for line in lines] == [
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", **CALL}]},
        {"role": "tool", "content": "2", "tool_call_id": "1"},
        {"role": "assistant", "content": 'It is "2".'},
    ]
    assert (question, empty) == ("And plus 1?", "")
    assert "conversation so far" in head
    assert "answer what the user says next" in end


def test_a_history_that_ends_with_others_is_gone_on_with() -> None:
    """Where the user says nothing after it, the model is asked to go on."""
    told = native_input(TOLD)
    assert isinstance(told, str)
    assert told.endswith("Go on with it.")


def test_images_of_a_history_are_named_by_number() -> None:
    """No base64 stands in the transcript: each image follows it, and is named where it was."""
    before = [UserMessage(content=(TextPart(text="see"), PNG)), AssistantMessage(content="ok")]
    text, image, question = native_input([*before, UserMessage(content="and?")])
    assert isinstance(text, dict)
    assert '{"type":"text","text":"[image 1]"}' in text["content"]
    assert image == {"type": "image", "data_url": PNG.image_url.url}
    assert question == {"type": "text", "content": "and?"}


ANY = st.lists(
    st.one_of(
        st.text(min_size=1).map(lambda text: UserMessage(content=text)),
        st.text().map(lambda text: AssistantMessage(content=text)),
    ),
    min_size=1,
    max_size=5,
)


@given(ANY.map(lambda said: [*said, AssistantMessage(content="a")]), st.text(min_size=1))
def test_no_text_passes_for_another_message(said: list[AnyMessage], question: str) -> None:
    """Whatever the texts hold, the lines of the transcript are the messages, each read back as it was."""
    told = native_input([*said, UserMessage(content=question)])
    assert isinstance(told, str)
    lines = told.split("\n")[1 : len(said) + 1]
    assert [json.loads(line) for line in lines] == [{"role": one.role, "content": one.content} for one in said]
    assert told.endswith("\n\n" + question)
