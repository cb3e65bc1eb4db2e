"""What is decided without a terminal: who answers, which model, which exit code."""

from __future__ import annotations

import http.server
import threading

import pytest

from neuroroute import (
    ConfigurationError,
    LMStudioError,
    ModelAuthenticationError,
    ModelDetails,
    ModelInstance,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
)
from neuroroute.cli.choice import Choice, choose, default_model
from neuroroute.cli.exits import as_object, exit_code, explained
from neuroroute.cli.opening import lm_studio_answers
from neuroroute.simulator import Simulator


def chosen(engine=None, url=None, *, environ=None, answers=False, can_embed=True) -> Choice:
    return choose(engine, url, environ or {}, answers=lambda: answers, can_embed=lambda: can_embed)


def never() -> bool:
    raise AssertionError("nobody had to be asked")


def test_an_address_means_lm_studio():
    """Where an address is given, LM Studio is asked there, and nothing is probed."""
    assert choose(None, "host:1", {}, answers=never, can_embed=never) == Choice("lmstudio", "host:1")
    assert choose(None, None, {"LMSTUDIO_URL": "host:1"}, answers=never, can_embed=never) == Choice("lmstudio")
    assert choose("lmstudio", None, {}, answers=never, can_embed=never) == Choice("lmstudio")


def test_a_running_lm_studio_comes_before_the_embedded_engine():
    """Without an address, LM Studio answers where it runs, and else the embedded engine, with a word why."""
    assert chosen(answers=True) == Choice("lmstudio")
    assert chosen(environ={"LMSTUDIO_URL": "  "}) == Choice("embedded", why="No LM Studio at localhost:1234")


def test_the_embedded_engine_can_be_asked_for():
    """--engine embedded wins over a running LM Studio and over LMSTUDIO_URL, and needs no explanation."""
    assert chosen("embedded", environ={"LMSTUDIO_URL": "host:1"}, answers=True) == Choice("embedded")


def test_contradictions_are_refused():
    """An address and the embedded engine exclude each other."""
    with pytest.raises(ConfigurationError, match="--url"):
        chosen("embedded", "host:1")


def test_nobody_to_answer_names_both_ways():
    """With neither LM Studio nor the embedded engine, the error names how to get either."""
    with pytest.raises(ConfigurationError) as caught:
        chosen(can_embed=False)
    assert 'pip install "neuroroute[cli,embedded]"' in caught.value.hint
    assert "lms server start" in caught.value.hint


def model(key: str, **facts) -> ModelDetails:
    return ModelDetails(key=key, source="v1", **facts)


def test_the_default_model_is_one_that_chats():
    """The loaded LLM is asked, by the name it was loaded under; else the first LLM; never an embedder."""
    embedder = model("e", kind="embedding", loaded=True)
    loaded = model("b", kind="llm", loaded=True, instances=(ModelInstance(id="b:2"),))
    assert default_model([embedder, model("a", kind="llm", loaded=False), loaded]) == "b:2"
    assert default_model([embedder, model("a", kind="llm", loaded=False)]) == "a"
    assert default_model([model("text-embedding-x"), model("c")]) == "c"


def test_no_model_that_chats():
    """A server without an LLM gives an error that says how to get one."""
    with pytest.raises(ModelUnavailableError, match="no model that can chat") as caught:
        default_model([model("e", kind="embedding")])
    assert "lms load" in caught.value.hint


def server_error(kind: type[LMStudioError], status: int) -> LMStudioError:
    return kind("refused", status=status)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelUnavailableError("x"), 1),
        (ModelNotFoundError("x"), 1),
        (server_error(ModelInvalidRequestError, 400), 1),
        (ModelInvalidRequestError("x"), 2),
        (ConfigurationError("x"), 2),
        (ModelAuthenticationError("x"), 2),
        (NetworkError("x"), 3),
        (ModelTimeoutError("x"), 3),
    ],
)
def test_the_exit_code_follows_from_the_error(error: LMStudioError, code: int):
    """Each error has one exit code: 1 failed, 2 misused, 3 not reached."""
    assert exit_code(error) == code


def test_every_explanation_ends_with_the_next_step():
    """What is told of an error ends with what to do at a command line, not with the library's parameters."""
    assert "--url" in explained(NetworkError("refused"))
    assert "--timeout" in explained(ModelTimeoutError("late"))
    assert explained(ConfigurationError("x is wrong", hint="Mend x.")).endswith("\nMend x.")
    assert as_object(NetworkError("refused"))["error"]["hint"].startswith("Start LM Studio")


def test_the_probe_knows_lm_studio():
    """LM Studio is known by its greeting, by its listing, or by asking for a token."""
    for settings in ({}, {"surfaces": ("v0",)}, {"surfaces": (), "api_token": "sk-lm-id:key"}):
        with Simulator(**settings) as lmstudio:
            assert lm_studio_answers(f"127.0.0.1:{lmstudio.port}")


def test_the_probe_is_not_fooled():
    """A closed port, and a web server that is none of a model's, are not taken for LM Studio."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        assert not lm_studio_answers(f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not lm_studio_answers(f"127.0.0.1:{server.server_port}")
