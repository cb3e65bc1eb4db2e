"""``neuroroute bench``: what it shows, writes and exits with."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from cli.conftest import Terminal
    from neuroroute.engine import EmbeddedEngine
    from neuroroute.simulator.received import Received

NOBODY = "127.0.0.1:9"
SHORT = ("--rounds", "1", "--prompt-tokens", "20", "--max-tokens", "8", "--concurrency", "2", "--no-tools")


def as_much_as_may_come(received: Received) -> Answer:
    return Answer(" ".join(["tok"] * received.json["max_tokens"]))


@pytest.fixture
def paced(lmstudio: Simulator) -> Simulator:
    """The simulated LM Studio with a pace: 30 ms until a first token of a short prompt, 10 ms for each."""
    lmstudio.models[:] = [
        SimulatedModel("llama3", loaded=True, prefill_tokens_per_second=1000, tokens_per_second=100),
        SimulatedModel("qwen3-8b", prefill_tokens_per_second=1000, tokens_per_second=100),
    ]
    lmstudio.script(as_much_as_may_come)
    return lmstudio


@pytest.fixture
def other() -> Iterator[Simulator]:
    with Simulator(models=[SimulatedModel("llama3", loaded=True, tokens_per_second=50)]) as simulator:
        simulator.script(as_much_as_may_come)
        yield simulator


def test_a_line_for_each_model(run_here: Callable[..., Result], paced: Simulator, other: Simulator) -> None:
    """Piped, each model on each host is a line of eleven columns; the figures are those of its pace."""
    told = run_here("bench", "--url", f"{paced.url},{other.url}", *SHORT)
    assert told.exit_code == 0, told.stderr
    fast, slow = (line.split("\t") for line in told.stdout.splitlines())
    assert (fast[:2], slow[:2]) == (
        ["llama3", f"127.0.0.1:{paced.port}"],
        ["llama3", f"127.0.0.1:{other.port}"],
    )
    assert [len(fast), fast[8:]] == [11, ["-", "6", "0"]]
    assert 30 <= float(fast[2]) < 60
    assert 60 < float(fast[4]) <= 101
    assert 30 < float(slow[4]) <= 51
    assert [part.split("=")[0] for part in fast[7].split(",")] == ["1", "2"]
    assert "1 round, prompts of about 20 tokens, answers of at most 8; " in told.stderr
    assert "no prompt cache helps. The warm-up is not counted." in told.stderr


def test_json_has_all_of_it(run_here: Callable[..., Result], paced: Simulator, tmp_path: Path) -> None:
    """--json is one object, with version, machine and plan; --plot draws beside it, and stderr stays empty."""
    told = run_here(
        "bench", *SHORT, "--model", "qwen3-8b", "--model", "llama3", "--json", "--plot", str(tmp_path / "out.svg")
    )
    assert (told.exit_code, told.stderr) == (0, "")
    report = json.loads(told.stdout)
    assert {*report} == {"shape", "neuroroute", "machine", "started", "seconds", "finished", "plan", "models"}
    assert (report["shape"], report["finished"], report["plan"]["concurrency"]) == (1, True, [2])
    assert {*report["machine"]} == {"system", "cores", "python"}
    assert [model["model"] for model in report["models"]] == ["qwen3-8b", "llama3"]
    assert [model["warmup"]["was_loaded"] for model in report["models"]] == [False, True]
    for model in report["models"]:
        assert {*model["ttft_ms"]} == {"median", "low", "high", "count"}
        assert [level["concurrency"] for level in model["levels"]] == [1, 2]
        assert len(model["gap_samples_ms"]) == model["gap_ms"]["count"] == 2 * 7
    assert (tmp_path / "out.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_failures_are_told(run_here: Callable[..., Result], paced: Simulator) -> None:
    """A request that fails is counted and named, the rest stands, and the exit code is 1; so it is without a host."""
    answers = iter(range(1000))
    paced.script(lambda received: as_much_as_may_come(received) if next(answers) != 3 else Fail(500, {"error": "boom"}))
    told = run_here("bench", *SHORT)
    assert (told.exit_code, told.stdout.split("\t")[-2:]) == (1, ["6", "1\n"])
    assert "llama3: failed once: MODEL_UNAVAILABLE: boom." in told.stderr
    paced.script(as_much_as_may_come)
    without = run_here("bench", *SHORT, "--url", f"{paced.url},{NOBODY}")
    assert without.exit_code == 1
    assert f"Without {NOBODY}: no connection to {NOBODY}: it was refused." in without.stderr
    assert len(without.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--concurrency", "1,a"), 2, "is no list of whole numbers"),
        (("--concurrency", "0"), 2, "from 1 to 256"),
        (("--rounds", "0"), 2, "1<=x<=1000"),
        (("--plot", "out.pdf"), 2, ".png or .svg"),
        (("--plot", "nowhere/out.png"), 2, "there is no folder"),
        (("--prompt-tokens", "5000"), 2, "has a context of 4096 tokens"),
        (("--model", "lama3"), 1, "Did you mean llama3?"),
        (("--url", NOBODY), 3, "it was refused"),
        (("--engine", "embedded", "--url", NOBODY), 2, "Leave one out"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_before_anything_is_asked(
    run_here: Callable[..., Result], paced: Simulator, options: tuple[str, ...], code: int, says: str
) -> None:
    """Bad input is one message and an exit code, and no model was asked."""
    told = run_here("bench", *options)
    assert (told.exit_code, told.stdout) == (code, "")
    assert says in told.stderr
    assert all(received.method == "GET" for received in paced.requests)


def test_a_failure_in_json(run_here: Callable[..., Result]) -> None:
    """Where nothing was measured --json has an object with the error, as all commands have."""
    told = run_here("bench", "--json", "--url", NOBODY)
    assert (told.exit_code, json.loads(told.stdout)["error"]["code"]) == (3, "NETWORK_ERROR")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_person_sees_it_live_and_may_stop_it(on_terminal: Callable[..., Terminal], paced: Simulator) -> None:
    """On a terminal it says what it does; Ctrl-C shows what was measured so far, says so, and exits with 130."""
    shown = on_terminal("bench", "--rounds", "50", "--prompt-tokens", "20", "--max-tokens", "8", "--no-tools")
    shown.wait_for("round 3, one alone")
    shown.press("\x03")
    assert shown.ended() == 130
    screen = shown.screen()
    assert "time to first token, ms" in screen
    assert "Stopped before the end; this is what was measured so far." in " ".join(screen.split())
    assert "Traceback" not in screen


@pytest.mark.engine
def test_a_real_model_is_measured(engine: EmbeddedEngine, run_here: Callable[..., Result]) -> None:
    """On a real model all figures are there, its tokens are counted, and no prompt is one that it had read before."""
    told = run_here("bench", "--url", engine.url, *SHORT, "--concurrency", "1", "--prompt-tokens", "50", "--json")
    assert told.exit_code == 0, told.output
    (model,) = json.loads(told.stdout)["models"]
    assert not model["estimated"]
    assert model["ttft_ms"]["median"] > 1
    assert model["generation_tokens_per_second"]["median"] > 0.1
    assert [level["sent"] for level in model["levels"]] == [2]
    assert model["gap_ms"]["count"] > 4
    assert model["cached_tokens"] < 0.6 * model["prompt_tokens"]["median"] * model["prompt_tokens"]["count"]
