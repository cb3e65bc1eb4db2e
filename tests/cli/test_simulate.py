"""``neuroroute simulate``."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import pytest

from neuroroute.cli import simulate as simulating
from neuroroute.simulator import CATALOGUE, FaultPlan, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = [sys.executable, "-m", "neuroroute", "simulate"]
SECRET = "a \x1b[31msecret"


class Running:
    """The command, running; ``told`` are the lines on stdout after it ended, ``aside`` those on stderr."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.told: list[str] = []
        self.aside: list[str] = []

    def ask(self, path: str = "/chat/completions", headers: dict[str, str] | None = None, **fields: Any) -> int | str:
        """The status, or the name of what went wrong."""
        body = {"model": "llama3", "messages": [{"role": "user", "content": SECRET}], **fields}
        sent = json.dumps(body).encode() if path.startswith("/chat") else None
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.url + path, sent, headers or {}), timeout=5
            ) as answer:
                answer.read()
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except (OSError, HTTPException) as error:
            return type(error).__name__

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        self.told, self.aside = self.process.stdout.read().splitlines(), self.process.stderr.read().splitlines()
        return self.process.wait(timeout=8)


@contextmanager
def simulated(*arguments: str) -> Iterator[Running]:
    with subprocess.Popen(
        [*PROGRAM, "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        first = (process.stderr if "--json" in arguments else process.stdout).readline()
        assert first.startswith("http://127.0.0.1:"), first + process.stderr.read()
        try:
            yield Running(process, first.strip())
        finally:
            process.kill()


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process")


def test_each_request_is_a_line() -> None:
    """Piped: the address, what it is, a line for each request that says how it went, no contents, and a summary."""
    with simulated(
        "--fault", "crash_null@1", "--fault", "stream:cut:1", "--model", "llama3", "--model", "b"
    ) as running:
        assert (running.ask(), running.ask(), running.ask(stream=True)) == (400, 200, "IncompleteRead")
        assert running.ask("/models") == 200
        assert running.end() == 0
    what, faults, *lines, summary = running.told
    assert "llama3 (loaded), b (not loaded)" in what
    assert faults == "Faults: crash_null@1, stream:cut:1. Ctrl-C stops it."
    assert [line.split(" ", 1)[1].rsplit(" ", 2)[0] for line in lines] == [
        "POST /v1/chat/completions llama3 400 crash_null@1",
        "POST /v1/chat/completions llama3 200",
        "POST /v1/chat/completions llama3 stream 200 stream:cut:1",
        "GET  /v1/models 200",
    ]
    assert summary == "4 requests: 200 (3), 400 (1)."
    assert "secret" not in "\n".join(running.told + running.aside)


def test_json_is_an_object_for_each_request() -> None:
    """--json: stdout has an object for each request and nothing else; SIGTERM ends it as cleanly as Ctrl-C."""
    with simulated("--json", "--token", "sk-lm-a:b", "--fault", "close@1") as running:
        allowed = {"Authorization": "Bearer sk-lm-a:b"}
        assert (running.ask(), running.ask(headers=allowed)) == (401, "RemoteDisconnected")
        assert running.ask(headers=allowed, stream=True) == 200
        assert running.end(signal.SIGTERM) == 0
    first, second, third = map(json.loads, running.told)
    assert (first["method"], first["path"], first["model"]) == ("POST", "/v1/chat/completions", "llama3")
    assert [(told["status"], told["stream"], told["faults"]) for told in (first, second, third)] == [
        (401, False, []),
        (None, False, ["close@1"]),
        (200, True, []),
    ]
    assert third["ms"] >= 0
    assert first["client_left"] is False
    assert "request" not in first
    assert running.aside[-1] == "3 requests: 200 (1), 401 (1), no answer (1)."


def test_a_fault_of_the_network_puts_a_proxy_in_front() -> None:
    """The address is the proxy's; the summary tells on how many connections each fault was. Contents on request."""
    with simulated("--fault", "cut:0@2", "--show-content", "--answer", "Hello", "--seed", "1") as running:
        assert [running.ask() for _ in range(3)] == ["RemoteDisconnected", "RemoteDisconnected", 200]
        assert running.end() == 0
    assert running.told[-1] == "3 requests: 200 (3); 3 connections, cut:0@2 on 2."
    assert running.told.count("         asked: a [31msecret") == 3
    assert running.told.count("         answer: Hello") == 3


@pytest.mark.parametrize("network", [(), ("--fault", "latency:1")], ids=["without", "with a proxy"])
def test_a_port_in_use_is_told(run_here, network: tuple[str, ...]) -> None:
    """A port that cannot be had is one message with a next step, and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = run_here("simulate", "--port", str(port), *network)
    assert told.exit_code == 2
    assert f"port {port} cannot be had" in told.stderr
    assert "--port 0" in told.stderr


def test_a_wrong_fault_is_told(run_here) -> None:
    """A wrong word is refused with what would be right, and exit code 2."""
    told = run_here("simulate", "--fault", "crash_nul")
    assert (told.exit_code, "did you mean crash_null" in told.stderr) == (2, True)


def test_the_words_are_listed(run_here) -> None:
    """--list-faults lists every word, those of the catalogue too, as lines or as JSON."""
    lines = run_here("simulate", "--list-faults").stdout.splitlines()
    words = [line.split("\t")[0] for line in lines]
    assert {"latency:MS[:JITTER_MS]", "stream:cut[:DELTAS]", *(case.name for case in CATALOGUE)} <= set(words)
    listed = json.loads(run_here("simulate", "--list-faults", "--json").stdout)
    assert [word["word"] for word in listed] == words


def test_a_profile_is_the_simulators(monkeypatch: pytest.MonkeyPatch) -> None:
    """--profile is passed on to the simulator, and a version that it does not know is wrong usage."""

    class Versioned(Simulator):
        def __init__(self, *, profile: str, **more: Any) -> None:
            if profile != "0.3.5":
                msg = "no profile is named so"
                raise ValueError(msg)
            super().__init__(**more)

    monkeypatch.setattr(simulating, "Simulator", Versioned)
    assert isinstance(simulating._simulator(simulating.Setting(FaultPlan(), profile="0.3.5")), Versioned)
    with pytest.raises(simulating.ConfigurationError, match="no profile"):
        simulating._simulator(simulating.Setting(FaultPlan(), profile="9"))


def test_on_a_terminal_it_is_drawn_and_ctrl_c_ends_it(on_terminal) -> None:
    """On a terminal, address and requests are seen; Ctrl-C ends it with a summary and exit code 0."""
    started = on_terminal("simulate", "--port", "0", "--fault", "status:503")
    at = started.wait_for("http://127.0.0.1:")
    started.wait_for("Ctrl-C stops it.", at)
    started.press("\x03")
    assert started.ended() == 0
    assert "0 requests." in started.screen()
