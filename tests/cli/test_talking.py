"""What a chat remembers, what is typed there, and how an answer is cut into blocks; all without a terminal."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from neuroroute import AssistantMessage, FunctionMessage, ToolMessage, UserMessage
from neuroroute.cli.blocks import printable, settled
from neuroroute.cli.remarks import summary, warnings
from neuroroute.cli.slash import command, exact_command, is_open, unknown, unquoted
from neuroroute.cli.transcript import as_json, as_markdown
from neuroroute.responses import ModelResponse, Note, Stats, TokenUsage


def test_a_saved_conversation_is_what_the_server_takes():
    """JSON holds the messages in the wire's shape; Markdown is for reading."""
    messages = [UserMessage(content="Hi"), AssistantMessage(content="Hello")]
    assert json.loads(as_json(messages, "m")) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    }
    assert as_markdown(messages, "m") == "## You\n\nHi\n\n## m\n\nHello\n"


def test_a_conversation_for_reading_tells_calls_and_whose_a_result_is():
    """Calls stand below what was said with them, as code; a result stands under the name of its tool."""
    call = {"id": "1", "function": {"name": "add", "arguments": '{"a": "*b*"}'}}
    messages = [
        AssistantMessage(content="Hm", tool_calls=[call]),
        ToolMessage(content="3", tool_call_id="1"),
        AssistantMessage(function_call={"name": "sub", "arguments": "{}"}),
        FunctionMessage(content="4", name="sub"),
        ToolMessage(content="5", tool_call_id="2"),
    ]
    told = (
        '## m\n\nHm\n\n    → add({"a": "*b*"})\n\n## add\n\n3\n\n## m\n\n    → sub({})\n\n## sub\n\n4\n\n## tool\n\n5\n'
    )
    assert as_markdown(messages, "m") == told


def test_commands_begin_with_a_slash():
    """A slash at the very beginning makes a command; a space before it makes a text."""
    assert command("/save  talk.md ") == ("/save", "talk.md")
    assert command(" /etc/hosts") is None


def test_a_piped_command_is_exact():
    """Piped, a command is known, as it is written, and has nothing after it that it does not take."""
    assert exact_command("/save a b") == ("/save", "a b")
    assert exact_command("/help") == ("/help", "")
    for line in ("/etc/hosts", "/Help", "/help me", "/exit now", "/", " /help"):
        assert exact_command(line) is None


def test_an_unknown_command_names_near_ones():
    """A misspelt command is answered with the nearest ones."""
    assert "/retry" in unknown("/rety")
    assert "/help" in unknown("/zzz")


def test_three_quotation_marks_hold_lines_together():
    """A text between three quotation marks is one text, and the marks are no part of it."""
    assert is_open('"""one')
    assert is_open('"""')
    assert not is_open('"""one\ntwo"""')
    assert not is_open('say """')
    assert unquoted('"""\none\ntwo\n"""') == "one\ntwo"
    assert unquoted('"quoted"') == '"quoted"'


MARKDOWN = """# Title

Text with
two lines.

```python
a = 1

b = 2
```

1. one

2. two

| a | b |
|---|---|
| 1 | 2 |

End."""


def test_blocks_come_once_and_whole():
    """Fed piece by piece, in whatever pieces, the blocks are the same, and together they are the text."""
    whole, rest = settled(MARKDOWN)
    assert [block.split("\n", 1)[0] for block in whole] == ["# Title", "Text with", "```python", "1. one"]
    for size in (1, 2, 3, 7):
        blocks, tail = [], ""
        for at in range(0, len(MARKDOWN), size):
            more, tail = settled(tail + MARKDOWN[at : at + size])
            blocks += more
        assert [*blocks, tail] == [*whole, rest]


@given(st.text(alphabet="a-1.|`#>* \n\t\u2028", max_size=60))
def test_no_character_of_an_answer_is_lost(text: str):
    """Whatever the text is, blocks and rest hold all of it that can be seen."""
    blocks, tail = settled(text)
    assert "".join([*blocks, tail]).lstrip() == text.lstrip()


@given(st.text())
def test_an_answer_cannot_command_the_terminal(text: str):
    """Nothing printed holds a control character but line feed and tab."""
    shown = printable(text + "\x1b]0;title\x07\x9b31m")
    assert all(character in "\n\t" or not (ord(character) < 32 or 127 <= ord(character) < 160) for character in shown)


def response(**facts) -> ModelResponse:
    usual = {"text": "x", "tokens": TokenUsage(prompt=5, completion=10, total=15), "model": "m", "messages": []}
    return ModelResponse(processing_time=2.0, **(usual | facts))


def test_the_summary_tells_tokens_and_speed():
    """The server's own speed is told where it measured one, else tokens over time."""
    assert summary(response()) == "5 tokens in, 10 out · 5.0 tokens/s · 2.0 s"
    assert "· 31 tokens/s ·" in summary(response(stats=Stats(tokens_per_second=30.9)))
    assert summary(response(tokens=TokenUsage(estimated=True))) == "about 0 tokens in, 0 out · 2.0 s"


def test_what_is_not_as_asked_is_told():
    """Notes and a cut answer are told in words."""
    assert warnings(response()) == []
    assert warnings(response(notes=(Note("X", "it is so"),))) == ["Note: it is so."]
    assert "--max-tokens" in warnings(response(finish_reason="length"))[0]
    assert warnings(response(text="", reasoning="hm")) == ["The model thought, but said nothing."]
