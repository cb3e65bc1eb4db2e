"""What shells offer when somebody presses Tab."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.shell_completion import ShellComplete

from neuroroute.cli.program import program
from neuroroute.simulator import SimulatedModel, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

BASH = shutil.which("bash")


def offered(line: str) -> list[str]:
    """What is offered at the end of a line; a word that has begun is completed."""
    *words, begun = line.split(" ")
    completing = ShellComplete(program, {}, "neuroroute", "_NEUROROUTE_COMPLETE")
    return [item.value for item in completing.get_completions(words, begun)]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    monkeypatch.setenv("LMSTUDIO_URL", environment["LMSTUDIO_URL"])
    monkeypatch.delenv("LM_API_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("be", ["bench"]),
        ("ask --model q", ["qwen3-8b"]),
        ("bench --model llama3 --model q", ["qwen3-8b"]),
        ("models load ll", ["llama3"]),
        ("ask --engine ", ["lmstudio", "embedded"]),
        ("ask --engine embedded --model ", []),
        ("simulate --fault crash_n", ["crash_null"]),
        ("simulate --profile 0.3.1", ["0.3.16"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("models load x --url studio:1,laptop:2 --host l", ["laptop:2"]),
    ],
)
def test_words_are_completed(line: str, words: list[str]) -> None:
    """Commands, models of the server, words for faults, versions, hosts and fixed values are offered, if they fit."""
    assert offered(line) == words


def test_files_are_left_to_the_shell() -> None:
    """Where a file is meant the shell is told to complete it."""
    completing = ShellComplete(program, {}, "neuroroute", "_NEUROROUTE_COMPLETE")
    for line in (["ask", "--image"], ["bench", "--plot"]):
        assert [item.type for item in completing.get_completions(line, "a")] == ["file"]


def test_models_are_those_of_the_hosts_that_are_meant(lmstudio: Simulator) -> None:
    """--url wins over the environment; several hosts are put together; a token is sent, and control characters drop."""
    lmstudio.api_token = "sk-lm-a:b"
    other = Simulator(models=[SimulatedModel("a"), SimulatedModel("b\x1b[2J")])
    with other, pytest.MonkeyPatch.context() as patched:
        patched.setenv("LM_API_TOKEN", "sk-lm-a:b")
        found = offered(f"ask --url {other.url},{lmstudio.url},127.0.0.1:9 --model ")
    assert sorted(found) == ["a", "llama3", "qwen3-8b", "text-embedding-nomic-embed-text-v1.5"]


@pytest.mark.parametrize("url", ["127.0.0.1:9", "no address", "nowhere.toml", "x.invalid"])
def test_what_fails_offers_nothing(url: str) -> None:
    """Nobody there, a wrong address, no such file: nothing is offered, and nothing is raised."""
    assert offered(f"ask --url {url.replace(' ', '?')} --model ") == []


def test_a_host_that_is_silent_keeps_nobody_waiting(lmstudio: Simulator) -> None:
    """A host that says nothing costs half a second, and the models of the others are offered."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        found = offered(f"ask --url 127.0.0.1:{silent.getsockname()[1]},{lmstudio.url} --model l")
    assert found == ["llama3"]
    assert time.monotonic() - began < 2


@pytest.mark.skipif(BASH is None or sys.platform == "win32", reason="needs a bash of 4.4 or later")
@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("bench --model qw", "bench --model qwen3-8b"),
        ("simulate --fault crash_n", "simulate --fault crash_null"),
        ("models sh", "models show"),
        ("simulate --fault stream:cu", "simulate --fault stream:cut"),
        ("ask --url URL --model qw", "ask --url URL --model qwen3-8b"),
        ("ask --url=URL --model=qw", "ask --url=URL --model=qwen3-8b"),
        ("ask --url URL 'two words' --model llama3:", "ask --url URL 'two words' --model llama3:2"),
    ],
)
def test_a_real_bash_completes(
    on_terminal: Callable[..., Any], lmstudio: Simulator, tmp_path: Path, typed: str, whole: str
) -> None:
    """In a bash that has taken the script, Tab completes models and words, colons and quotes in the line or not."""
    lmstudio.models.append(SimulatedModel("llama3:2"))
    (tmp_path / "neuroroute").write_text(f'#!/bin/sh\nexec {sys.executable} -m neuroroute "$@"\n', encoding="utf-8")
    (tmp_path / "neuroroute").chmod(0o755)
    more = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PS1": "> ", "TERM": "dumb"}
    bash = on_terminal(command=[BASH, "--norc", "--noprofile", "-i"], **more)
    bash.press('eval "$(neuroroute completion bash)"; echo "it is" taken\n')
    bash.wait_for("it is taken")
    url = f"127.0.0.1:{lmstudio.port}"
    bash.press(f"neuroroute {typed.replace('URL', url)}\t")
    bash.wait_for(f"neuroroute {whole.replace('URL', url)} ")


@pytest.mark.parametrize(
    ("shell", "has"),
    [
        ("bash", "complete -o nosort -F _neuroroute_completion neuroroute"),
        ("zsh", "#compdef neuroroute"),
        ("fish", "complete --no-files --command neuroroute"),
    ],
)
def test_each_shell_has_its_script(
    run_here: Callable[..., Result], environment: dict[str, str], shell: str, has: str
) -> None:
    """The script is that of the shell that is named, else of the one in the environment."""
    named = run_here("completion", shell)
    assert (named.exit_code, has in named.stdout) == (0, True)
    environment["SHELL"] = f"/usr/bin/{shell}"
    assert run_here("completion").stdout == named.stdout
    environment["SHELL"] = "/bin/tcsh"
    unknown = run_here("completion")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "neuroroute completion bash|zsh|fish" in unknown.stderr
