"""The program as a whole: its door, ask and models, each run as a process of its own."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from neuroroute.cli.program import program
from neuroroute.simulator import Answer, Fail, StreamFault

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


# ── The door ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_help_tells_the_exit_codes():
    """The program's --help ends with the table of exit codes; that of a command says so."""
    assert "130  interrupted with Ctrl-C" in CliRunner().invoke(program, ["--help"]).output
    for name in ("ask", "chat", "models", "demo", "engine"):
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


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_piped_models_are_lines(run_here):
    """Piped, each model is a line of seven columns, parted by tabs."""
    told = [line.split("\t") for line in run_here("models").stdout.splitlines()]
    assert told[0] == ["llama3", "llm", "8B", "Q4_K_M", "4.9 GB", "yes", "4096"]
    assert ["text-embedding-nomic-embed-text-v1.5", "embedding"] in [line[:2] for line in told]
    assert {len(line) for line in told} == {7}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_models_is_a_table_on_a_terminal(on_terminal):
    """For a person there is a table with a header."""
    listing = on_terminal("models")
    assert listing.ended() == 0
    lines = [line.split() for line in listing.screen().splitlines() if line.strip()]
    assert lines[0] == ["model", "kind", "parameters", "quantization", "size", "loaded", "context"]
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
def test_a_command_runs_around_its_engine(run):
    """`engine -- COMMAND` gives the command an engine's address, and exits with the command's exit code."""
    code = "import os, urllib.request as u; print(u.urlopen(os.environ['LMSTUDIO_URL'] + '/models').status); exit(7)"
    told = run("engine", "--", sys.executable, "-c", code)
    assert (told.stdout, told.returncode) == ("200\n", 7), told.stderr
