"""``neuroroute doctor``: what it prints, what it exits with, and what it never shows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from neuroroute.doctor import examination
from neuroroute.doctor.machine import Machine
from neuroroute.simulator import Answer

NOBODY = "127.0.0.1:9"
SECRET = "canary-of-the-file"

GOOD = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": SECRET,
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": SECRET}}},
    },
}


def able(request):
    if request.json.get("tools"):
        return Answer(tool_calls=[("get_weather", {"city": "Paris"})])
    return '{"city": "Paris", "country": "France"}' if request.json.get("response_format") else "one two three"


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    """This machine has nothing else to do, memory enough, and no other server at the usual ports."""
    monkeypatch.setattr(examination, "USUAL_PORTS", ())
    machine = Machine(cores=8, load=0.1, memory_total=32_000_000_000, memory_available=30_000_000_000)
    monkeypatch.setattr(examination, "this_machine", lambda: machine)


@pytest.fixture
def well(lmstudio):
    """A server with nothing to complain of."""
    lmstudio.models[0].context_length = 32768
    lmstudio.script(able)
    return lmstudio


def test_piped_each_finding_is_a_line(run_here, well):
    """Piped, each finding is a line of seven columns; the summary goes to stderr, and a healthy server exits with 0."""
    told = run_here("doctor")
    rows = [line.split("\t") for line in told.stdout.splitlines()]
    assert {len(row) for row in rows} == {7}
    assert {row[1] for row in rows} == {"ok"}
    assert [row[3] for row in rows][:3] == ["server-reachable", "apis", "model-ready"]
    assert rows[0][0] == f"127.0.0.1:{well.port}"
    assert told.stderr == "Healthy.\n"
    assert told.exit_code == 0


def test_json_has_a_shape_that_stays(run_here, well):
    """With --json there is one object: counts, what to see to first, every finding whole; nothing is on stderr."""
    told = run_here("doctor", "--json", "--url", f"{well.url},{NOBODY}")
    report = json.loads(told.stdout)
    assert [*report] == ["healthy", "problems", "warnings", "hints", "first", "hosts", "tools"]
    assert (report["healthy"], report["problems"], report["first"]["code"]) == (False, 1, "server-not-reachable")
    assert [*report["hosts"][0]] == ["name", "url", "model", "findings", "phases"]
    assert [*report["first"]] == ["code", "check", "level", "what", "why", "do", "solutions"]
    assert report["first"]["solutions"] == [1]
    assert report["hosts"][0]["phases"]["first_token_ms"] > 0
    assert (told.stderr, told.exit_code) == ("", 3)


def test_the_exit_code_is_that_of_the_first_problem(run_here, lmstudio):
    """3: not reachable; 2: an address or a token is wrong; 1: the model fails; hints and warnings are no failure."""
    assert run_here("doctor", "--url", NOBODY).exit_code == 3
    assert run_here("doctor", "--url", f"https://127.0.0.1:{lmstudio.port}").exit_code == 2
    assert run_here("doctor", "--model", "nobody").exit_code == 1
    assert run_here("doctor", "--quick").exit_code == 0
    assert run_here("doctor", "--url", "ftp://x").exit_code == 2
    both = run_here("doctor", "--engine", "embedded", "--url", lmstudio.url)
    assert (both.exit_code, "Leave one out" in both.stderr) == (2, True)
    several = run_here("doctor", "--quick", "--url", f"{lmstudio.url},{NOBODY}")
    assert f"1 problem, 1 hint. First, at {NOBODY}: nothing listens at {NOBODY}. Start" in several.stderr


def test_fix_loads_a_model(run_here, well):
    """With --fix a model is loaded and that is told; without, what to do is."""
    well.models[0].loaded = False
    told = run_here("doctor", "--model", "llama3")
    assert "`lms load llama3`" in told.stdout
    assert told.stderr.startswith("Nothing is wrong, as far as it was looked at. 1 hint.")
    assert not well.models[0].loaded
    fixed = run_here("doctor", "--model", "llama3", "--fix")
    assert "model-loaded-now\tloaded llama3 in" in fixed.stdout
    assert well.models[0].loaded
    assert fixed.exit_code == 0


def test_a_model_that_is_slow_may_be_waited_for(run_here, well):
    """--timeout is how long an answer may take."""
    well.script(lambda _: Answer("late", delay=1.0))
    told = run_here("doctor", "--timeout", "0.1")
    assert "no-answer-in-time" in told.stdout
    assert told.exit_code == 3


@pytest.mark.parametrize("seconds", ["inf", "nan", "0", "1e999"])
def test_a_timeout_that_is_no_time(run_here, lmstudio, seconds):
    """What is no number of seconds is wrong usage, and nothing is asked."""
    told = run_here("doctor", "--timeout", seconds)
    assert told.exit_code == 2
    assert "--timeout" in told.stderr
    assert "Traceback" not in told.stderr
    assert not lmstudio.requests


def test_what_a_tools_file_prints_is_no_output(run_here, well, tmp_path):
    """A tools file is run; what it prints goes to stderr, so that the JSON is all of stdout."""
    file = tmp_path / "loud.py"
    file.write_text(
        'from neuroroute import tool\nprint("hello")\n@tool\ndef add(a: int) -> int:\n    "Adds."\n    return a\n',
        encoding="utf-8",
    )
    told = run_here("doctor", "--quick", "--json", "--tools", str(file))
    assert json.loads(told.stdout)["tools"]
    assert (told.stderr, told.exit_code) == ("hello\n", 0)


def test_tool_definitions_are_checked(run_here, well, tmp_path):
    """JSON in each of its forms and Python with @tool functions are read; what is wrong is named by its place."""
    listed, wrapped, one, code = (tmp_path / name for name in ("list.json", "wrapped.json", "one.json", "tools.py"))
    listed.write_text(json.dumps([GOOD]), encoding="utf-8")
    wrapped.write_text(json.dumps({"tools": [GOOD]}), encoding="utf-8")
    one.write_text(json.dumps({**GOOD, "function": {"name": "f"}}), encoding="utf-8")
    code.write_text(
        f'from neuroroute import tool\n\n@tool\ndef add(a: int, b: int) -> int:\n    "{SECRET}"\n    return a + b\n',
        encoding="utf-8",
    )
    marked = tmp_path / "marked.json"
    marked.write_text(json.dumps([GOOD]), encoding="utf-8-sig")
    for file in (listed, wrapped, marked):
        report = json.loads(run_here("doctor", "--quick", "--json", "--tools", str(file)).stdout)
        assert [finding["code"] for finding in report["tools"]] == ["tools-good"]
    told = run_here("doctor", "--quick", "--tools", str(one), "--tools", str(code))
    assert "f: tools[0].function has no description" in told.stdout
    assert "add: no description: tools[1].function.parameters.properties.a" in told.stdout
    assert SECRET not in told.stdout + told.stderr
    assert told.exit_code == 0
    one.write_text(json.dumps([GOOD, GOOD]), encoding="utf-8")
    assert run_here("doctor", "--quick", "--tools", str(one)).exit_code == 2


@pytest.mark.parametrize("content", ["", f"[{{'{SECRET}'", "[]", None])
def test_files_that_are_none(run_here, lmstudio, tmp_path, content):
    """A file that cannot be read, is no JSON or has no tools is wrong usage, and nothing of it is shown."""
    file = tmp_path / "tools.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    told = run_here("doctor", "--tools", str(file))
    assert told.exit_code == 2
    assert SECRET not in told.stderr
    assert not lmstudio.requests


def test_a_token_is_never_shown(run_here, environment, well):
    """Neither the token of the environment nor one of a hosts file stands in any output."""
    well.api_token = "sk-lm-canary:verysecretkey"
    environment["LM_API_TOKEN"] = "sk-lm-canary:wrongsecretkey"
    wrong = [run_here("doctor", *more) for more in ((), ("--json",))]
    environment["LM_API_TOKEN"] = well.api_token
    right = [run_here("doctor", *more) for more in ((), ("--json",))]
    assert [told.exit_code for told in (*wrong, *right)] == [2, 2, 0, 0]
    for told in (*wrong, *right):
        assert not any(secret in told.stdout + told.stderr for secret in ("canary", "secretkey"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT between processes")
@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGINT, 130, "INTERRUPTED"), (signal.SIGTERM, 143, "TERMINATED")]
)
def test_json_tells_that_it_was_stopped(environment, well, number, code, name):
    """Stopped by a signal, --json prints one object with what was found so far, and says that it was stopped."""
    well.answer(Answer("late", delay=30.0))
    command = [sys.executable, "-m", "neuroroute", "doctor", "--json"]
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)
    while not any(request.path == "/v1/chat/completions" for request in well.requests):
        time.sleep(0.01)
    running.send_signal(number)
    told = json.loads(running.communicate(timeout=5)[0])
    assert (running.returncode, told["error"]["code"]) == (code, name)
    levels = {one["check"]: one["level"] for one in told["hosts"][0]["findings"]}
    assert (levels["models"], levels["completion"], levels["stream"]) == ("ok", "skipped", "skipped")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_person_may_stop_it(on_terminal, well):
    """Ctrl-C on a terminal shows what was found so far, and what was not looked at."""
    well.answer(Answer("late", delay=30.0))
    shown = on_terminal("doctor")
    shown.wait_for("a short answer")
    shown.press("\x03")
    assert shown.ended() == 130
    screen = " ".join(shown.screen().split())
    assert "✓ models" in screen
    assert "6 checks skipped, because it was stopped" in screen
    assert "Traceback" not in screen


def test_a_person_sees_it_on_one_screen(on_terminal, environment, well):
    """On a terminal a healthy server fits 24 lines; steps are shown while it lasts and are gone afterwards."""
    shown = on_terminal("doctor")
    shown.wait_for("Healthy.")
    assert shown.ended() == 0
    lines = shown.screen().splitlines()
    assert len(lines) <= 24
    assert lines[0].startswith(f"{well.url}, llama3")
    assert any("✓ server" in line for line in lines)
    assert "a short answer" in shown.written
    assert "a short answer" not in shown.screen()


def test_a_person_sees_what_to_do(on_terminal):
    """On a terminal a problem stands with why it matters and what to do; what was skipped is one line."""
    shown = on_terminal("doctor", "--url", NOBODY)
    code, screen = shown.ended(), shown.screen()
    assert "✗ server   nothing listens at 127.0.0.1:9" in screen
    # Whoever has an LM Studio here is told where it is.
    assert ("→ Start LM Studio's server" in screen, "→ Use --url http" in screen) == (code == 3, code == 2)
    assert "8 checks skipped, because the server cannot be used" in screen


@pytest.mark.engine
def test_the_embedded_engine_can_be_examined(run):
    """--engine embedded starts the engine, examines it, and finds nothing wrong."""
    told = run("doctor", "--engine", "embedded", "--quick", "--json")
    report = json.loads(told.stdout)
    assert (told.returncode, report["healthy"], report["hosts"][0]["model"]) == (
        0,
        True,
        "qwen2.5-coder-0.5b-instruct",
    )
