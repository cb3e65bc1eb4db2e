"""``neuroroute models show``, ``load``, ``unload`` and ``download``; the list is tested with the program."""

from __future__ import annotations

import json
import math
import time

import pytest

from neuroroute.cli.modelactions import rows
from neuroroute.details import ModelDetails, ModelInstance
from neuroroute.simulator import SimulatedDownload, SimulatedModel


@pytest.fixture
def offer(lmstudio) -> SimulatedDownload:
    lmstudio.downloads.offered.append(SimulatedDownload(SimulatedModel("ibm/granite-4-micro"), size_bytes=2 * 10**9))
    return lmstudio.downloads.offered[0]


def test_the_list_is_the_command_that_need_not_be_named(run_here):
    """`models`, `models list` and their options say the same."""
    alone = run_here("models")
    assert alone.exit_code == 0
    assert alone.stdout == run_here("models", "list").stdout
    assert run_here("models", "--json").stdout == run_here("models", "list", "--json").stdout
    assert "unload" in run_here("models", "--help").stdout
    assert run_here("models", "lod").exit_code == 2


def test_json_is_the_same_each_time(run_here):
    """What a model can do is a list in an order that stays."""
    told = json.loads(run_here("models", "--json").stdout)[0]
    assert (told["capabilities"], told["told"]) == (["chat", "tool_use"], ["chat", "embedding", "tool_use", "vision"])


def test_show_tells_all(run_here, on_terminal):
    """A model is found by how its key begins, and told as lines of name and value; on a terminal as a table."""
    told = dict(line.split("\t") for line in run_here("models", "show", "LLA").stdout.splitlines())
    assert (told["model"], told["loaded"], told["can"]) == ("llama3", "yes", "tool_use, chat")
    assert told["copy llama3"].startswith("context_length 4096, parallel 4")
    assert json.loads(run_here("models", "show", "auto", "--json").stdout)["key"] == "llama3"
    shown = on_terminal("models", "show", "qwen")
    assert shown.ended() == 0
    assert "reasoning     on, off" in shown.screen()


def test_show_tells_who_said_it():
    """What a model can do by its id alone is told as that, and what is not known is left out."""
    copy = ModelInstance(id="codestral")
    model = ModelDetails.listed(key="codestral", told={"chat": True}, source="v0", instances=(copy,))
    assert rows(model) == [("model", "codestral"), ("can", "chat; by its id: code")]


def test_load_prints_the_id_to_ask_for(run_here, lmstudio):
    """Stdout has the copy's id, for scripts; all else, notes too, is on stderr."""
    loaded = run_here("models", "load", "qwen", "--context-length", "99999", "--no-flash-attention")
    assert (loaded.exit_code, loaded.stdout) == (0, "qwen3-8b\n")
    assert "Loading qwen3-8b ..." in loaded.stderr
    assert "with a context of 40960 tokens." in loaded.stderr
    assert "Note: context_length is 40960, not 99999." in loaded.stderr
    assert lmstudio.models[1].config("qwen3-8b")["flash_attention"] is False
    again = run_here("models", "load", "qwen")
    assert (again.stdout, "It was loaded already" in again.stderr) == ("qwen3-8b\n", True)
    told = run_here("models", "load", "qwen", "--json")
    assert (json.loads(told.stdout)["context_length"], told.stderr) == (40960, "")


def test_unload_prints_what_was_there(run_here, lmstudio):
    """Stdout has the ids of the copies that were unloaded, all of a model or one."""
    lmstudio.models[0] = SimulatedModel("llama3", loaded=True, instances=3)
    assert run_here("models", "unload", "llama3:2").stdout == "llama3:2\n"
    assert run_here("models", "unload", "llama").stdout == "llama3\nllama3:3\n"
    gone = run_here("models", "unload", "llama3")
    assert (gone.exit_code, gone.stdout, gone.stderr) == (0, "", "llama3 was not loaded.\n")
    assert json.loads(run_here("models", "unload", "llama3", "--json").stdout) == []


def test_download(run_here, lmstudio, offer):
    """A download is told to be complete, or to have been."""
    told = run_here("models", "download", "ibm/granite-4-micro")
    assert (told.exit_code, told.stdout) == (0, "")
    assert "Downloaded (2.0 GB)." in told.stderr
    assert "It was downloaded already." in run_here("models", "download", "ibm/granite-4-micro").stderr
    told = json.loads(run_here("models", "download", "llama3", "--json").stdout)
    assert told == {"model": "llama3", "size_bytes": None, "already": True}
    assert lmstudio.models[-1] is offer.model


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["load", "lama3"], 1, "Did you mean llama3?"),
        (["unload", "zzz"], 1, "It has llama3"),
        (["download", "nope"], 1, "LM Studio's catalogue"),
        (["load", "qwen", "--timeout", "0.01"], 3, "was not loaded within 0.01 s"),
        (["load", "x", "--url", "127.0.0.1:9"], 3, "or name another address with --url."),
        (["load", "qwen", "--context-length", "0"], 2, "context-length"),
    ],
)
def test_failures(run_here, lmstudio, arguments, code, words):
    """What goes wrong is one message and the exit code of its kind; with --json an object."""
    lmstudio.models[1].load_seconds = 30
    failed = run_here("models", *arguments)
    assert failed.exit_code == code
    assert words in " ".join(failed.stderr.split())
    if code != 2:
        told = run_here("models", *arguments, "--json")
        assert (told.exit_code, told.stderr, "error" in json.loads(told.stdout)) == (code, "", True)


def test_an_older_lm_studio(run_here, lmstudio):
    """A server that cannot load is told as wrong configuration."""
    lmstudio.surfaces = ("v0", "greeting")
    assert run_here("models", "load", "llama3").exit_code == 2


def test_a_person_sees_how_far_it_is(on_terminal, lmstudio, offer):
    """On a terminal a bar shows the download; Ctrl-C leaves it to the server, and says so."""
    offer.seconds = math.inf
    watching = on_terminal("models", "download", "ibm/granite-4-micro")
    watching.wait_for("Downloading granite-4-micro")
    watching.wait_for("0.0/2.0 GB")
    watching.press("\x03")
    assert watching.ended() == 130
    assert watching.screen().strip() == "LM Studio goes on downloading; the same command watches it again."


def test_a_person_sees_that_it_loads(on_terminal, lmstudio):
    """On a terminal a load shows the time that it takes, of which nothing stays."""
    lmstudio.models[1].load_seconds = math.inf
    loading = on_terminal("models", "load", "qwen")
    loading.wait_for("Loading qwen3-8b ... 0:00:0")
    deadline = time.monotonic() + 8
    while lmstudio.models[1].load_progress is None:  # it is told before the server is asked
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lmstudio.load("qwen3-8b")
    assert loading.ended() == 0
    assert loading.screen().startswith("qwen3-8b\nLoaded in ")
