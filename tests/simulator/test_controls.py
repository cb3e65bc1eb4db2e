"""What a test does to the models of a running server."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from neuroroute.simulator import Answer, SimulatedModel, Simulator


def test_controls_work_from_the_tests_thread(lmstudio: Simulator) -> None:
    """Where the server has a thread of its own, what a call did has happened when it returns."""
    said: list[Any] = []

    def ask() -> None:
        body = {"model": "llama3", "messages": [{"role": "user", "content": "hi"}]}
        request = urllib.request.Request(f"{lmstudio.url}/chat/completions", json.dumps(body).encode())
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        said.append(json.load(caught.value))
        caught.value.close()

    lmstudio.answer(Answer("late", delay=60))
    asking = threading.Thread(target=ask)
    asking.start()
    until = time.monotonic() + 2
    while not lmstudio.running("llama3") and time.monotonic() < until:
        time.sleep(0.001)
    lmstudio.unload("llama3")
    assert not lmstudio.models[0].loaded
    asking.join(2)
    assert said == [{"error": "Model unloaded."}]


def test_controls_work_before_it_runs() -> None:
    """Without a running server there is nobody to tell, and the models change all the same."""
    server = Simulator()
    server.unload("llama3")
    server.load("qwen3-8b")
    assert [model.loaded for model in server.models[:2]] == [False, True]


def test_one_instance_is_unloaded() -> None:
    """The id of an instance is that instance, the key is all of them."""
    server = Simulator(models=[SimulatedModel("a", loaded=True, instances=3)])
    server.unload("a:2")
    assert server.models[0].instance_ids == ["a", "a:3"]
    server.unload("a")
    assert (server.models[0].instance_ids, server.models[0].loaded) == ([], False)


def test_a_model_taken_down_by_hand_starts_anew() -> None:
    """What was unloaded of a model is forgotten when the model as a whole was set to not loaded."""
    server = Simulator(models=[SimulatedModel("a", loaded=True, instances=3)])
    server.models[0].drop_instance("a")
    server.models[0].loaded = False
    server.load("a")
    assert server.models[0].instance_ids == ["a"]


@pytest.mark.parametrize("control", ["load", "unload", "reload", "crash", "evict"])
def test_an_unknown_model_is_named(lmstudio: Simulator, control: str) -> None:
    """A model that is not there is the test's mistake, and those that are there are named."""
    with pytest.raises(ValueError, match="named 'llama4'; there are llama3, qwen3-8b"):
        getattr(lmstudio, control)("llama4")
