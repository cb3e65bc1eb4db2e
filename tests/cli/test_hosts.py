"""``neuroroute hosts``: the hosts as they are, live or once."""

from __future__ import annotations

import json

import pytest

from neuroroute.simulator import SimulatedModel, Simulator

NOBODY = "127.0.0.1:9"


@pytest.fixture
def other(lmstudio, environment):
    """Another host beside the one that the environment has, and one that is down."""
    models = [SimulatedModel("llama3", loaded=True, instances=2), SimulatedModel("qwen3-8b")]
    with Simulator(models=models) as simulator:
        environment["LMSTUDIO_URL"] = f"{lmstudio.url},{simulator.url},{NOBODY}"
        yield simulator


def test_a_line_for_each_host(run_here, lmstudio, other):
    """Piped, each host is a line of columns: who, how it stands, what it has loaded; one that is down tells why."""
    told = run_here("hosts")
    assert told.exit_code == 0
    lines = [line.split("\t") for line in told.stdout.splitlines()]
    assert [(line[0], line[1], line[4], line[5]) for line in lines] == [
        (f"127.0.0.1:{lmstudio.port}", "up", "llama3 (4096)", "3"),
        (f"127.0.0.1:{other.port}", "up", "llama3 x2 (4096)", "2"),
        (NOBODY, "down", f"no connection to {NOBODY}: it was refused", ""),
    ]
    assert [line[3] for line in lines] == ["LM Studio", "LM Studio", ""]
    assert lines[0][2].endswith(" ms")


def test_json_has_all_that_is_known(run_here, tmp_path, other):
    """With --json the hosts are one list; a file of hosts gives them their names and weights."""
    file = tmp_path / "hosts.toml"
    file.write_text(f"[[hosts]]\nurl = '{other.url}'\nname = 'studio'\nweight = 2\n", encoding="utf-8")
    (studio,) = json.loads(run_here("hosts", "--url", str(file), "--json").stdout)
    assert (studio["name"], studio["weight"], studio["state"], studio["api"]) == ("studio", 2, "up", "v1")
    assert [(model["name"], model["slots"]) for model in studio["models"]] == [("llama3", 4), ("llama3:2", 4)]


def test_no_host_at_all_is_a_failure(run_here):
    """Where no host is up, the exit code is that of a network failure, and the list says why of each."""
    told = run_here("hosts", "--url", NOBODY)
    assert (told.exit_code, told.stdout.split("\t")[1]) == (3, "down")
    assert told.stderr == f"{NOBODY} is not up: no connection to {NOBODY}: it was refused.\n"
    none = run_here("hosts", "--json", "--url", f"{NOBODY},localhost:9")
    assert (none.exit_code, [host["state"] for host in json.loads(none.stdout)]) == (3, ["down", "down"])
    wrong = run_here("hosts", "--url", "nowhere.toml")
    assert "the hosts file nowhere.toml cannot be read" in wrong.stderr


def test_a_person_sees_it_live(on_terminal, other):
    """On a terminal the table follows what happens, until Ctrl-C, which is no failure."""
    shown = on_terminal("hosts", "--interval", "0.1")
    shown.wait_for("LM Studio")
    other.load("qwen3-8b")
    shown.wait_for("qwen3-8b")
    shown.wait_for("Ctrl-C ends it.")
    shown.press("\x03")
    assert shown.ended() == 0


def test_models_say_where_they_are(run_here, lmstudio, other):
    """The list of models of several hosts names the hosts of each."""
    lines = {line.split("\t")[0]: line.split("\t")[-1] for line in run_here("models").stdout.splitlines()}
    assert lines["llama3"] == f"127.0.0.1:{lmstudio.port}, 127.0.0.1:{other.port}"
    assert json.loads(run_here("models", "--json").stdout)[0]["hosts"] == lines["llama3"].split(", ")
