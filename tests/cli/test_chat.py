"""``neuroroute chat``, piped and on a terminal."""

from __future__ import annotations

import json
import stat
import subprocess
import sys

import pytest

from neuroroute.simulator import Answer, StreamFault

needs_terminal = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")


PROGRAM = [sys.executable, "-m", "neuroroute"]


def turns(lmstudio) -> list[list[str]]:
    """The texts of each request, system message left out."""
    return [
        [message["content"] for message in request.json["messages"] if message["role"] != "system"]
        for request in lmstudio.requests
        if request.path == "/v1/chat/completions"
    ]


# ── Piped ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_piped_lines_are_turns(run, lmstudio):
    """Each line is a turn that knows those before it; stdout holds the answers."""
    told = run("chat", piped="one\ntwo\n")
    assert told.stdout == "You said: one\nYou said: two\n"
    assert turns(lmstudio) == [["one"], ["one", "You said: one", "two"]]


def test_a_piped_block_is_one_turn(run, lmstudio):
    """Lines between three quotation marks are one turn."""
    run("chat", piped='"""\none\ntwo\n"""\n')
    assert turns(lmstudio) == [["one\ntwo"]]


def test_a_failed_turn_does_not_end_the_chat(run, lmstudio):
    """A failure leaves the history as it was, /retry asks again, and the exit code tells of it."""
    lmstudio.answer("1")
    lmstudio.answer(Answer("x y z", stream_fault=StreamFault("cut", after=2)))
    lmstudio.answer("2", times=2)
    told = run("chat", piped="one\ntwo\n/retry\nthree\n")
    assert turns(lmstudio)[1:] == [["one", "1", "two"], ["one", "1", "two"], ["one", "1", "two", "2", "three"]]
    assert "as it was" in told.stderr
    assert told.returncode == 1


def test_commands_work_piped(run_here, lmstudio, tmp_path):
    """Commands are no turns; they change the conversation as they say."""
    file = tmp_path / "talk.md"
    run_here(
        "chat", "--system", "A", piped=f"one\n/undo\n/system B\n/model qwen3-8b\ntwo\n/save {file}\n/exit\nthree\n"
    )
    assert turns(lmstudio) == [["one"], ["two"]]
    body = lmstudio.requests[-1].json
    assert (body["model"], body["messages"][0]["content"]) == ("qwen3-8b", "B")
    assert file.read_text("utf-8") == "## System\n\nB\n\n## You\n\ntwo\n\n## qwen3-8b\n\nYou said: two\n"


def test_wrong_commands_change_nothing(run_here, lmstudio, tmp_path):
    """A model that is not there, and a file that exists, are told of with what would be right; stdout stays empty."""
    there = tmp_path / "there.json"
    there.write_text("mine", "utf-8")
    told = run_here("chat", piped=f"/model qwen\n/model\n/save {there}\n/retry\n/undo\n/history\n/help\n")
    for said in ("Did you mean qwen3-8b?", "exists already", "Nothing was asked", "Nothing was", "/help", "embedding"):
        assert said in told.stderr
    assert told.stdout == ""
    assert there.read_text("utf-8") == "mine"
    assert turns(lmstudio) == []


def test_a_piped_line_that_is_no_command_is_a_turn(run_here, lmstudio):
    """Piped, only what is exactly a known command is one; any other line with a slash is said to the model."""
    lines = ["/etc/hosts is what?", "/modle", "/help me with this", "/Exit", "/reset now"]
    told = run_here("chat", piped="\n".join([*lines, "/exit", "never", ""]))
    assert turns(lmstudio)[-1][::2] == lines
    assert told.stdout == "".join(f"You said: {line}\n" for line in lines)


def test_piped_input_that_is_no_text_is_refused(environment, lmstudio):
    """Bytes that are not UTF-8 end a piped chat with 2; nothing made up is sent."""
    told = subprocess.run([*PROGRAM, "chat"], input=b"caf\xe9\n", env=environment, capture_output=True, check=False)
    assert (told.returncode, told.stdout) == (2, b"")
    assert b"your input is not UTF-8 text" in told.stderr
    assert turns(lmstudio) == []


# ── On a terminal ───────────────────────────────────────────────────────────────────────────────────────────────────


@needs_terminal
def test_ctrl_c_stops_the_answer_and_not_the_program(on_terminal, lmstudio, tmp_path):
    """Ctrl-C stops the answer and the server alone; the history is as it was, /retry and /undo work, Ctrl-D exits."""
    lmstudio.answer("1")
    lmstudio.answer(Answer("slow " * 200, delay_between=0.05))
    chat = on_terminal("chat")
    at = chat.wait_for("> ")
    chat.press("one\r")
    at = chat.wait_for("> ", chat.wait_for("tokens in", at))
    chat.press("two\r")
    at = chat.wait_for("slow slow", at)
    chat.press("\x03")
    at = chat.wait_for("> ", chat.wait_for("Stopped.", at))
    assert lmstudio.requests[-1].ended.wait(1)
    assert lmstudio.requests[-1].closed_early

    lmstudio.answer("2", times=2)
    chat.press("/retry\r")
    at = chat.wait_for("> ", chat.wait_for("tokens in", at))
    chat.press("/undo\r")
    at = chat.wait_for("> ", chat.wait_for("Taken back: two", at))
    chat.press("three\r")
    at = chat.wait_for("> ", chat.wait_for("tokens in", at))
    assert turns(lmstudio)[1:] == [["one", "1", "two"], ["one", "1", "two"], ["one", "1", "three"]]

    chat.press("\x04")
    assert chat.ended() == 0
    history = tmp_path / "neuroroute" / "chat_history"
    if sys.platform == "linux":
        assert "+three" in history.read_text("utf-8")
        assert (stat.S_IMODE(history.stat().st_mode), stat.S_IMODE(history.parent.stat().st_mode)) == (0o600, 0o700)


@needs_terminal
def test_an_unknown_command_names_near_ones_and_is_not_sent(on_terminal, lmstudio):
    """On a terminal every line with a slash is a command; a misspelt one is answered with what may be meant."""
    chat = on_terminal("chat")
    chat.wait_for("chat with llama3, LM Studio at 127.0.0.1")
    chat.press("/modle\r")
    chat.wait_for("did you mean /model")
    assert turns(lmstudio) == []


@needs_terminal
def test_plain_draws_nothing(on_terminal, lmstudio):
    """With --plain, the answer stands on a terminal as it was written."""
    lmstudio.answer("**bold**\n\n1. `code`")
    ask = on_terminal("ask", "--plain", "Hi")
    assert ask.ended() == 0
    assert ask.screen().splitlines() == ["**bold**", "", "1. `code`"]


@needs_terminal
def test_nothing_of_an_answer_is_lost_on_the_terminal(on_terminal, lmstudio):
    """HTML, lines of a poem and the addresses of links stand on the screen, however they come."""
    lmstudio.answer(
        "Hm\n\n<think>\nhm\n</think>\n\nRoses are `a<b>` List<String>\nviolets [here](http://x.y/z)\n\n"
        "<div>\n  <b>x</b>\n</div>\n"
    )
    ask = on_terminal("ask", "Hi")
    assert ask.ended() == 0
    assert ask.screen().split("\n") == [
        *("Hm", "", "<think>", "hm", "</think>", ""),
        *("Roses are a<b> List<String>", "violets here (http://x.y/z)", ""),
        *("<div>", "  <b>x</b>", "</div>", ""),
    ]


@needs_terminal
def test_several_lines_can_be_typed(on_terminal, lmstudio):
    """Esc, Enter begins a new line; so does Enter between three quotation marks; Ctrl-C throws a line away."""
    chat = on_terminal("chat")
    at = chat.wait_for("> ")
    chat.press("wrong\x03")
    at = chat.wait_for("> ", chat.wait_for("leaves.", at))
    chat.press("one\x1b\rtwo\r")
    at = chat.wait_for("> ", chat.wait_for("tokens in", at))
    chat.press('"""three\rfour"""\r')
    chat.wait_for("tokens in", at)
    assert turns(lmstudio)[-1] == ["one\ntwo", "You said: one\ntwo", "three\nfour"]


@needs_terminal
def test_an_answer_taller_than_the_screen_stands_there_once(on_terminal, lmstudio):
    """Markdown is drawn while it comes, and in the end every line of it stands there once, in order."""
    code = "".join(f"line{number} = {number}\n" for number in range(60))
    lmstudio.answer(Answer(f"# Title\n\n```python\n{code}```\n\n- **item**\n\nEnd\n", delay_between=0.01))
    ask = on_terminal("ask", "Hi")
    ask.wait_for("line0 = 0")
    assert not lmstudio.requests[-1].ended.is_set(), "it was drawn only at its end"
    assert ask.ended() == 0
    lines = [line.strip() for line in ask.screen().splitlines() if line.strip()]
    assert lines == ["Title", *(f"line{number} = {number}" for number in range(60)), "• item", "End"]


@needs_terminal
def test_reasoning_is_drawn_dim(on_terminal, lmstudio):
    """On a terminal, reasoning comes before the answer, dim; commands to the terminal are not obeyed."""
    lmstudio.answer(Answer("Yes \x1b]0;title\x07", reasoning="Let me\nthink."))
    ask = on_terminal("ask", "Hi")
    assert ask.ended() == 0
    assert ask.screen().split() == ["Let", "me", "think.", "Yes", "]0;title"]
    assert "\x1b[2;3mLet me" in ask.written
    assert "\x1b]0" not in ask.written


@needs_terminal
@pytest.mark.parametrize("arguments", [("ask", "Hi"), ("chat",)], ids=["ask", "chat"])
def test_a_program_that_is_told_to_end_leaves_the_terminal_as_it_was(on_terminal, lmstudio, arguments):
    """SIGTERM in the middle of an answer ends it with 143; what is typed is seen again, and the server stops."""
    lmstudio.answer(Answer("slow " * 200, delay_between=0.05))
    started = on_terminal(*arguments)
    if arguments == ("chat",):
        started.wait_for("> ")
        started.press("Hi\r")
    started.wait_for("slow slow")
    started.terminate()
    assert started.ended() == 143
    assert started.echoes
    assert lmstudio.requests[-1].ended.wait(1)


# ── Kept, resumed, with tools ───────────────────────────────────────────────────────────────────────────────────────

TOOLS = '''
from neuroroute import tool

@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b
'''


def test_what_is_piped_is_not_kept(run, tmp_path):
    """A script leaves nothing behind, unless it asks to go on with something."""
    run("chat", piped="one\n")
    assert run("chat", "--list").stdout == ""
    told = run("chat", "--resume", piped="one\n")
    assert told.returncode == 2
    assert "none was kept yet" in told.stderr


@needs_terminal
def test_a_chat_is_kept_and_goes_on(on_terminal, run, lmstudio, tmp_path):
    """A chat of a person is kept in a file that only they can read, is listed, and goes on with all that was said."""
    chat = on_terminal("chat")
    chat.wait_for("> ")
    chat.press("Hello parrot\r")
    chat.wait_for("> ", chat.wait_for("tokens in"))
    chat.press("\x04")
    chat.wait_for("neuroroute chat --resume")
    assert chat.ended() == 0
    file = tmp_path / "neuroroute" / "chats.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    listed = run("chat", "--list").stdout
    talk_id, _, turns_, model, title = listed.rstrip("\n").split("\t")
    assert (turns_, model, title) == ("3", "llama3", "Hello parrot")
    assert json.loads(run("chat", "--list", "--json").stdout)[0]["id"] == talk_id

    told = run("chat", "--resume", piped="And you?\n")
    assert told.stdout == "You said: And you?\n"
    assert turns(lmstudio)[-1] == ["Hello parrot", "You said: Hello parrot", "And you?"]
    again = on_terminal("chat", "--resume", talk_id[:4])
    again.wait_for(f"Going on with {talk_id}")
    again.press("/history\r")
    again.wait_for("And you?", again.wait_for("> "))


@needs_terminal
def test_what_was_taken_back_does_not_come_back(on_terminal, run, lmstudio):
    """/undo and /system are kept at once, so that --resume goes on from what was left."""
    chat = on_terminal("chat")
    at = chat.wait_for("> ")
    for text, told in (("one", "tokens in"), ("two", "tokens in"), ("/undo", "Taken back"), ("/system B", "is set")):
        chat.press(f"{text}\r")
        at = chat.wait_for("> ", chat.wait_for(told, at))
    chat.press("\x04")
    chat.wait_for("neuroroute chat --resume", at)
    assert chat.ended() == 0
    run("chat", "--resume", piped="three\n")
    assert turns(lmstudio)[-1] == ["one", "You said: one", "three"]
    assert lmstudio.requests[-1].json["messages"][0] == {"role": "system", "content": "B"}


@needs_terminal
@pytest.mark.parametrize(("taking", "told"), [("/undo", "Taken back"), ("/reset", "Forgotten")])
def test_a_chat_of_which_nothing_is_left(on_terminal, run, lmstudio, taking, told):
    """Where all was taken back, nothing is offered to go on with, and --resume knows nothing of it."""
    chat = on_terminal("chat")
    at = chat.wait_for("> ")
    chat.press("one\r")
    at = chat.wait_for("> ", chat.wait_for("tokens in", at))
    chat.press(f"{taking}\r")
    chat.wait_for("> ", chat.wait_for(told, at))
    chat.press("\x04")
    assert chat.ended() == 0
    assert "goes on with it" not in chat.written
    run("chat", "--resume", piped="two\n")
    assert turns(lmstudio)[-1] == ["two"]


@needs_terminal
def test_a_chat_that_is_not_to_be_kept(on_terminal, run, lmstudio):
    """--no-keep leaves nothing behind."""
    chat = on_terminal("chat", "--no-keep")
    chat.wait_for("> ")
    chat.press("Hello\r")
    chat.wait_for("> ", chat.wait_for("tokens in"))
    chat.press("\x04")
    assert chat.ended() == 0
    assert run("chat", "--list").stdout == ""


def test_tools_of_a_file_are_run(run, lmstudio, tmp_path):
    """The functions of a file are offered and run, each call is told on stderr, and stdout holds the answer."""
    file = tmp_path / "tools.py"
    file.write_text(TOOLS, encoding="utf-8")
    lmstudio.answer(Answer("", tool_calls=[("add", {"a": 1, "b": 2})]))
    lmstudio.answer("It is 3.")
    told = run("chat", "--tools", str(file), piped="1 + 2?\n")
    assert (told.stdout, told.returncode) == ("It is 3.\n", 0)
    assert "→ add(" in told.stderr
    assert lmstudio.requests[-1].json["messages"][-1]["content"] == "3"
    broken = run("chat", "--tools", str(tmp_path / "none.py"), piped="1\n")
    assert (broken.returncode, "there is no file" in broken.stderr) == (2, True)


def test_the_history_tells_calls_and_whose_a_result_is(run, lmstudio, tmp_path):
    """/history shows what was called as it was shown when it ran, and the result under the tool's name."""
    file = tmp_path / "tools.py"
    file.write_text(TOOLS, encoding="utf-8")
    lmstudio.answer(Answer("", tool_calls=[("add", {"a": 1, "b": 2})]))
    lmstudio.answer("It is 3.")
    told = run("chat", "--tools", str(file), piped="1 + 2?\n/history\n").stderr
    shown = told[told.index("## You") :]
    assert shown.count("→ add(") == 1
    assert shown.index("## llama3\n\n    → add(") < shown.index("## add\n\n3\n") < shown.index("It is 3.")


@needs_terminal
def test_calls_are_drawn_between_the_answers(on_terminal, lmstudio, tmp_path):
    """On a terminal a call stands on a line of its own, and what was said before and after it stands there once."""
    file = tmp_path / "tools.py"
    file.write_text(TOOLS, encoding="utf-8")
    lmstudio.answer(Answer("Let me see.", tool_calls=[("add", {"a": 1, "b": 2})]))
    lmstudio.answer("It is **3**.")
    chat = on_terminal("chat", "--tools", str(file))
    chat.wait_for("> ", chat.wait_for("Tools: add."))
    chat.press("1 + 2?\r")
    chat.wait_for("> ", chat.wait_for("tokens in"))
    lines = [line.strip() for line in chat.screen().splitlines() if line.strip()]
    at = lines.index("Let me see.")
    assert lines[at + 1].startswith("→ add(")
    assert lines[at + 2] == "It is 3."
