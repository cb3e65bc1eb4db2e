"""The program as a whole: its door, ask and models, each run as a process of its own."""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from neuroroute.cli.program import program
from neuroroute.engine import ModelFile, Progress, model_file, server
from neuroroute.simulator import Answer, Fail, StreamFault

PROGRAM = [sys.executable, "-m", "neuroroute"]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


# ── The door ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_help_tells_the_exit_codes():
    """The program's --help ends with the table of exit codes; that of a command says so."""
    assert "130  interrupted with Ctrl-C" in CliRunner().invoke(program, ["--help"]).output
    for name in ("ask", "chat", "models", "demo", "engine", "simulate"):
        told = CliRunner().invoke(program, [name, "--help"])
        assert told.exit_code == 0
        assert "130" not in told.output
        assert "`neuroroute --help` lists the exit codes." in told.output


def test_help_tells_the_time_limit():
    """--timeout names its default and what it limits without streaming."""
    told = " ".join(CliRunner().invoke(program, ["ask", "--help"]).output.split())
    assert "with --no-stream, for all of it. Default: LMSTUDIO_TIMEOUT, else 60." in told


def test_version():
    """--version names the program and its version."""
    told = CliRunner().invoke(program, ["--version"], prog_name="neuroroute")
    assert told.output.startswith("neuroroute 0.")


def test_wrong_usage_exits_with_2():
    """What click refuses exits with 2."""
    assert CliRunner().invoke(program, ["ask", "--nonsense"]).exit_code == 2


def test_help_loads_nothing_heavy():
    """--help imports neither rich nor prompt-toolkit nor aiohttp, so that it is quick."""
    code = (
        "import atexit, sys; atexit.register(lambda: print({'rich', 'prompt_toolkit', 'aiohttp'} & set(sys.modules)));"
        "sys.argv = ['neuroroute', '--help']; from neuroroute.__main__ import main; main()"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.endswith("set()\n")


def test_without_the_extra_one_line_says_how_to_get_it():
    """Without the extra, the program says in one line what to install, and exits with 2."""
    code = "import sys; sys.modules['rich'] = None; from neuroroute.__main__ import main; main()"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert 'pip install "neuroroute[cli,embedded]"' in told.stderr


# ── ask ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def sent(lmstudio, at: int = -1) -> list[dict]:
    return [request for request in lmstudio.requests if request.path == "/v1/chat/completions"][at].json


def test_ask_prints_the_answer_and_nothing_else(run, lmstudio):
    """Piped, stdout is the answer, word for word, and a line feed."""
    lmstudio.answer("**Hello** there")
    told = run("ask", "Hi")
    assert (told.stdout, told.stderr, told.returncode) == ("**Hello** there\n", "", 0)
    assert sent(lmstudio)["stream"] is True


def test_ask_joins_the_argument_and_what_is_piped(run, lmstudio):
    """The argument comes first, then an empty line, then the piped text; a byte order mark is no part of it."""
    run("ask", "Review", "this:", piped="\ufeffone\ntwo\n")
    assert sent(lmstudio)["messages"][-1]["content"] == "Review this:\n\none\ntwo"
    run("ask", "-", piped="three")
    assert sent(lmstudio)["messages"][-1]["content"] == "three"


def test_ask_sends_its_options(run_here, lmstudio):
    """Each option reaches the server as what it says."""
    run_here("ask", "Hi", "--system", "Be brief.", "--temperature", "0", "--max-tokens", "7", "--model", "qwen3-8b")
    body = sent(lmstudio)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 7, "qwen3-8b")


def test_ask_sends_images(run_here, lmstudio, tmp_path):
    """--image sends the file with the question."""
    (tmp_path / "a.png").write_bytes(PNG)
    lmstudio.models[0].vision = True
    told = run_here("ask", "What is this?", "--image", str(tmp_path / "a.png"), "--no-stream")
    assert told.exit_code == 0
    kinds = [part["type"] for part in sent(lmstudio)["messages"][-1]["content"]]
    assert kinds == ["text", "image_url"]
    assert not sent(lmstudio).get("stream")


def test_an_image_alone_can_be_asked(run_here, lmstudio, tmp_path):
    """--image without words sends the image, and no empty text beside it."""
    (tmp_path / "a.png").write_bytes(PNG)
    lmstudio.models[0].vision = True
    assert run_here("ask", "--image", str(tmp_path / "a.png")).exit_code == 0
    assert [part["type"] for part in sent(lmstudio)["messages"][-1]["content"]] == ["image_url"]


def test_ask_json_is_one_object(run_here, lmstudio):
    """--json prints one object with the answer and what it took."""
    lmstudio.answer(Answer("Hi", reasoning="Hm."))
    told = json.loads(run_here("ask", "Hello", "--json").stdout)
    assert (told["text"], told["reasoning"], told["model"], told["finish_reason"]) == ("Hi", "Hm.", "llama3", "stop")
    assert told["tokens"]["total"] > 0
    assert told["processing_time"] > 0
    assert told["notes"] == []


def test_ask_json_tells_a_failure_as_an_object(run_here, lmstudio):
    """--json prints a failure as an object with `error`, and what had come as `text`; stderr stays empty."""
    lmstudio.answer(Answer("one two three", stream_fault=StreamFault("cut", after=2)))
    told = run_here("ask", "Hi", "--json")
    found = json.loads(told.stdout)
    assert (found["error"]["code"], found["text"]) == ("STREAM_INTERRUPTED", "one two")
    assert found["error"]["hint"]
    assert (told.exit_code, told.stderr) == (1, "")


def test_a_broken_answer_keeps_what_came(run, lmstudio):
    """What was printed stays; the error goes to stderr, with what to do next."""
    lmstudio.answer(Answer("one two three", stream_fault=StreamFault("cut", after=2)))
    told = run("ask", "Hi")
    assert told.stdout == "one two\n"
    assert told.stderr.startswith("STREAM_INTERRUPTED: ")
    assert told.stderr.endswith("Ask again.\n")
    assert told.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ask", "Hi", "--temperature=-1"], 2, "temperature is -1.0"),
        (["ask"], 2, "nothing to ask"),
        (["ask", "Hi", "--url", "ftp://x"], 2, "must be http or https"),
        (["ask", "Hi", "--image", "nowhere.png"], 2, "cannot be read"),
        (["ask", "Hi", "--engine", "embedded", "--url", "x"], 2, "Leave one out."),
        (["models", "--url", "127.0.0.1:9"], 3, "lms server start"),
        (["engine", "--", "no-such-program"], 2, "no-such-program"),
    ],
)
def test_failures_exit_with_their_code(run_here, arguments, code, said):
    """Every failure is one message without a traceback, and the exit code of its kind."""
    told = run_here(*arguments)
    assert told.exit_code == code
    assert said in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == ""


def test_a_refusal_of_the_server_exits_with_1(run_here, lmstudio):
    """A model that fails to load exits with 1 and the server's own words."""
    lmstudio.fail(Fail(400, {"error": "Failed to load model: insufficient system resources"}))
    told = run_here("ask", "Hi")
    assert told.exit_code == 1
    assert "insufficient system resources" in told.stderr


def test_an_answer_cut_at_its_limit_is_told(run_here, lmstudio):
    """An answer that ends at max_tokens is told on stderr; stdout stays the answer."""
    lmstudio.answer(Answer("one", finish_reason="length"))
    told = run_here("ask", "Hi")
    assert (told.stdout, told.exit_code) == ("one\n", 0)
    assert "--max-tokens" in told.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT between processes")
def test_ctrl_c_ends_ask_with_130(environment, lmstudio):
    """Ctrl-C ends it silently with 130; what was printed stays, and the server stops."""
    lmstudio.answer(Answer("one " * 100, delay_between=0.05))
    asked = subprocess.Popen(
        [sys.executable, "-m", "neuroroute", "ask", "Hi"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    first = os.read(asked.stdout.fileno(), 100)
    asked.send_signal(signal.SIGINT)
    rest, errors = asked.communicate(timeout=5)
    assert asked.returncode == 130
    assert (first + rest).startswith(b"one")
    assert errors == b""
    assert lmstudio.requests[-1].ended.wait(1)
    assert lmstudio.requests[-1].closed_early


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells of it in another way")
def test_a_reader_that_leaves_is_no_error(environment, lmstudio):
    """A broken pipe is silent, and exits with 141."""
    lmstudio.answer(Answer("one " * 100, delay_between=0.01))
    asked = subprocess.Popen(
        [sys.executable, "-m", "neuroroute", "ask", "Hi"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    os.read(asked.stdout.fileno(), 10)
    asked.stdout.close()
    assert asked.wait(5) == 141
    assert asked.stderr.read() == b""
    asked.stderr.close()


def test_a_poor_code_page_ends_nothing(run, lmstudio):
    """A character that stdout cannot say is replaced, and the rest is said."""
    lmstudio.answer("naïve 日本 end")
    told = run("ask", "Hi", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (told.stdout, told.returncode) == ("na?ve ?? end\n", 0)


def test_the_first_loaded_model_is_asked(run_here, lmstudio):
    """Without --model, the loaded LLM is asked; if none is, the first that loads on request."""
    lmstudio.models[0].loaded = False
    lmstudio.models[1].loaded = True
    run_here("ask", "Hi")
    assert sent(lmstudio)["model"] == "qwen3-8b"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT between processes")
@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGINT, 130, "INTERRUPTED"), (signal.SIGTERM, 143, "TERMINATED")]
)
def test_json_is_told_of_what_came_before_a_signal(environment, lmstudio, number, code, name):
    """Stopped, --json still prints one object: what had come, from whom, and that it was stopped."""
    lmstudio.answer(Answer("one " * 100, delay_between=0.05))
    asked = subprocess.Popen(
        [*PROGRAM, "ask", "Hi", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment
    )
    while not any(request.path == "/v1/chat/completions" for request in lmstudio.requests):
        time.sleep(0.01)
    time.sleep(0.3)  # some of it comes
    asked.send_signal(number)
    told = json.loads(asked.communicate(timeout=5)[0])
    assert asked.returncode == code
    assert (told["error"]["code"], told["model"]) == (name, "llama3")
    assert told["text"].startswith("one one")
    assert told["host"] == f"127.0.0.1:{lmstudio.port}"


def test_json_names_the_host_of_a_failed_listing(run_here):
    """Where nothing listens, --json names the host, and has the keys that every failure has."""
    told = json.loads(run_here("ask", "Hi", "--json", "--url", "127.0.0.1:9").stdout)
    assert (told["host"], told["error"]["host"], told["text"], told["model"]) == (
        "127.0.0.1:9",
        "127.0.0.1:9",
        "",
        None,
    )
    assert "(127.0.0.1:9)" in run_here("models", "--url", "127.0.0.1:9").stderr


def test_a_call_of_a_tool_is_told(run_here, lmstudio):
    """An answer that is a call of a tool is no empty success: stderr and --json tell of it."""
    lmstudio.answer(Answer("", tool_calls=[("get_weather", {"city": "Paris"})]), times=2)
    assert run_here("ask", "Hi").stderr == 'The model asked for get_weather({"city":"Paris"}), which is not run here.\n'
    (call,) = json.loads(run_here("ask", "Hi", "--json").stdout)["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}


@pytest.mark.parametrize(
    ("piped", "said"),
    [(b"caf\xe9", b"your input is not UTF-8 text"), (b"\x7fELF\0\xff", b"Is this a text file?")],
)
def test_piped_input_that_is_no_text_is_refused(environment, lmstudio, piped, said):
    """What is piped in and no UTF-8 text exits with 2, and nothing is sent."""
    told = subprocess.run([*PROGRAM, "ask", "Hi"], input=piped, env=environment, capture_output=True, check=False)
    assert (told.returncode, told.stdout) == (2, b"")
    assert said in told.stderr
    assert lmstudio.requests == []


@pytest.mark.skipif(sys.platform == "win32", reason="arguments are text on Windows")
@pytest.mark.parametrize("arguments", [["ask", b"caf\xe9"], ["chat", "--system", b"caf\xe9"]])
def test_an_argument_that_is_no_text_is_refused(environment, lmstudio, arguments):
    """An argument that is no UTF-8 text exits with 2, in the same words."""
    told = subprocess.run([*PROGRAM, *arguments], input=b"", env=environment, capture_output=True, check=False)
    assert (told.returncode, told.stdout) == (2, b"")
    assert b"your input is not UTF-8 text" in told.stderr


@pytest.mark.parametrize("how", [["--no-stream"], []])
def test_the_time_limit_is_told_as_it_was_given(run_here, lmstudio, how):
    """A limit in seconds is told in seconds, by the name of its option."""
    lmstudio.answer(Answer("late", delay=5))
    told = run_here("ask", "Hi", "--model", "llama3", "--timeout", "0.05", *how)
    assert told.exit_code == 3
    assert "within 0.05 s (--timeout)" in told.stderr


def test_settings_are_checked_before_the_engine_starts(run, tmp_path):
    """A setting that is wrong is told of at once, before an engine is looked for or loaded."""
    nothing = str(tmp_path / "no.gguf")  # the engine would complain of it
    told = run("ask", "Hi", "--engine", "embedded", LMSTUDIO_TIMEOUT="soon", NEUROROUTE_MODEL_FILE=nothing)
    assert told.returncode == 2
    assert told.stderr.startswith("CONFIGURATION: LMSTUDIO_TIMEOUT is 'soon'")


def test_a_file_that_is_no_model_is_refused_in_one_line(run, tmp_path):
    """`engine --model-file` looks at the file before llama.cpp does."""
    file = tmp_path / "notes.py"
    file.write_text("print('notes')\n")
    told = run("engine", "--model-file", str(file))
    assert told.returncode == 2
    assert told.stderr.splitlines() == [
        f"CONFIGURATION: --model-file names {file}, which is no GGUF file.",
        "llama.cpp runs GGUF models only.",
    ]


# ── Output that goes nowhere ────────────────────────────────────────────────────────────────────────────────────────

needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="there is no sh")


def shell(environment, line: str) -> subprocess.CompletedProcess[str]:
    line = line.replace("neuroroute", shlex.join(PROGRAM))
    return subprocess.run(
        ["sh", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only some systems have a device that is always full")
@pytest.mark.parametrize("command", ["ask Hi", "ask Hi --json", "models", "--help", "chat --plain"])
def test_output_that_cannot_be_written_is_one_line(environment, lmstudio, command):
    """A full disk is told of in one line, and exits with 1."""
    told = shell(environment, f"echo Hi | neuroroute {command} >/dev/full")
    assert (told.stderr, told.returncode) == ("The output cannot be written: No space left on device.\n", 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only some systems have a device that is always full")
def test_stderr_that_cannot_be_written_hides_no_failure(environment, lmstudio):
    """Where not even the error can be written, the exit code still tells of it."""
    assert shell(environment, "neuroroute ask Hi --image nowhere.png 2>/dev/full").returncode != 0
    assert shell(environment, "neuroroute ask Hi 2>/dev/full").returncode == 0


@needs_shell
def test_streams_that_are_closed_are_no_error(environment, lmstudio):
    """Without stdin, stdout or stderr it works all the same."""
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        told = shell(environment, f"neuroroute ask Hi {closed}")
        assert (told.stderr, told.returncode) == ("", 0)
        assert told.stdout == ("" if ">&-" in closed.split() else "You said: Hi\n")
    assert shell(environment, "neuroroute ask --temperature=-1 Hi 2>&-").returncode == 2


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_piped_models_are_lines(run_here):
    """Piped, each model is a line of eight columns, parted by tabs; with one host the last is empty."""
    told = [line.split("\t") for line in run_here("models").stdout.splitlines()]
    assert told[0] == ["llama3", "llm", "8B", "Q4_K_M", "4.9 GB", "yes", "4096", ""]
    assert ["text-embedding-nomic-embed-text-v1.5", "embedding"] in [line[:2] for line in told]
    assert {len(line) for line in told} == {8}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_models_is_a_table_on_a_terminal(on_terminal):
    """For a person there is a table with a header."""
    listing = on_terminal("models")
    assert listing.ended() == 0
    lines = [line.split() for line in listing.screen().splitlines() if line.strip()]
    assert lines[0] == ["model", "kind", "loaded", "context"]  # what finds room beside the keys
    assert lines[2][:2] == ["llama3", "llm"]


def test_models_json_is_a_list(run_here):
    """--json gives every model as the library knows it."""
    told = json.loads(run_here("models", "--json").stdout)
    assert [(model["key"], model["loaded"]) for model in told[:2]] == [("llama3", True), ("qwen3-8b", False)]


# ── On the real model ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.engine
def test_ask_and_demo_on_the_real_model(run, engine):
    """A real model answers ask, and the demo's second answer knows what its first turn said."""
    assert "4" in run("ask", "How much is 2 + 2?", "--temperature", "0", LMSTUDIO_URL=engine.url).stdout
    shown = run("demo", LMSTUDIO_URL=engine.url)
    assert shown.returncode == 0, shown.stderr
    remembered = shown.stdout.split("> What is my robot called?")[1].split(">")[0]
    assert "Marvin" in remembered
    assert "neuroroute chat" in shown.stdout


@pytest.mark.engine
@pytest.mark.parametrize(
    ("source", "whence"), [("cache", ""), ("lmstudio", ", from LM Studio's file {}"), ("named", ", from your file {}")]
)
def test_one_line_says_what_answers(run_here, monkeypatch, source, whence):
    """Where the embedded engine answers, asked for or not, one line on stderr names its model, and whose that is."""
    found = model_file()
    monkeypatch.setattr(server, "model_file", lambda *_: ModelFile(found.path, source))
    told = run_here("ask", "Hi", "--engine", "embedded", "--max-tokens=5")
    model = "qwen2.5-coder-0.5b-instruct" if source == "cache" else found.path.stem
    told_of_engine = [line for line in told.stderr.splitlines() if "llama.cpp" in line]
    assert told_of_engine == [f"Answering with the embedded {model} (llama.cpp){whence.format(found.path)}."]


def test_a_wrong_model_ends_the_download_at_once(run_here, monkeypatch):
    """A model that the embedded engine does not have is refused before its own is fetched, in one message."""
    fetched = []

    def downloading(_, on_progress):
        for step in range(5):
            on_progress(Progress("download", step, 5))
            fetched.append(step)
            time.sleep(0.05)  # the event loop's turn; it is in another thread
        raise AssertionError("all was downloaded")

    monkeypatch.setattr(server, "model_file", downloading)
    told = run_here("ask", "Hi", "--engine", "embedded", "--model", "foo")
    assert told.exit_code == 2
    assert len(fetched) < 5
    assert "Leave --model foo out" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.engine
def test_a_command_runs_around_its_engine(run):
    """`engine -- COMMAND` gives the command an engine's address, and exits with the command's exit code."""
    code = "import os, urllib.request as u; print(u.urlopen(os.environ['LMSTUDIO_URL'] + '/models').status); exit(7)"
    told = run("engine", "--", sys.executable, "-c", code)
    assert (told.stdout, told.returncode) == ("200\n", 7), told.stderr
