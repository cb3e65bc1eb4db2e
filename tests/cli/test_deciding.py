"""What is decided without a terminal: who answers, which model, which exit code."""

from __future__ import annotations

import http.server
import re
import sys
import threading

import pytest

from neuroroute import (
    ConfigurationError,
    LMStudioError,
    MalformedResponseError,
    ModelAuthenticationError,
    ModelDetails,
    ModelInstance,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    StreamInterruptedError,
)
from neuroroute.cli.choice import Choice, choose, default_model
from neuroroute.cli.demo import called
from neuroroute.cli.exits import as_object, exit_code, explained
from neuroroute.cli.opening import greets, lm_studio_answers
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
    told = {"chat": facts["kind"] == "llm", "embedding": facts["kind"] == "embedding"} if facts else {}
    return ModelDetails.listed(key=key, told=told, source="v1", **facts)


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


def test_errors_speak_of_options_and_seconds():
    """What the library calls by names of its own is told by those of the command line, units too."""
    told = [
        explained(ModelTimeoutError("late by timeout_ms=10")),
        explained(ModelTimeoutError("no connection within connect_timeout_ms=5000")),
        explained(ModelTimeoutError("no answer within 10 ms")),
        explained(NetworkError("x", hint="Check the host in base_url.")),
        explained(ConfigurationError("x", hint="Name a GGUF file of yours: EmbeddedEngine(model_path=...), or set V.")),
        explained(
            ModelInvalidRequestError(
                "the request has 9 bytes, more than max_request_bytes=8",
                hint="Shorten the history, make images smaller, or raise max_request_bytes.",
            )
        ),
        explained(ModelAuthenticationError("refused")),
    ]
    assert [
        line for error in told for line in error.splitlines() if re.search("_ms|base_url|model_path|_bytes|api_", line)
    ] == []
    assert "within 5 s" in told[1]
    assert "within 0.01 s." in told[2]
    assert "the input is too large: 9 bytes of 8" in told[5]


def test_nothing_told_speaks_of_what_is_above():
    """What a program reads has no above."""
    errors = [kind("x") for kind in (StreamInterruptedError, NetworkError, ModelTimeoutError, MalformedResponseError)]
    assert not any("above" in as_object(error)["error"]["hint"] for error in errors)


def test_only_what_greets_as_lm_studio_is_called_so():
    """A server that answers without LM Studio's greeting is a server."""
    with Simulator() as lmstudio:
        assert greets(f"127.0.0.1:{lmstudio.port}")
        lmstudio.surfaces = ("v0",)
        assert not greets(f"127.0.0.1:{lmstudio.port}")
    assert not greets("127.0.0.1:9")


def test_the_command_that_is_told_works(monkeypatch, tmp_path):
    """What to try next is how this program was started, where its short name would not be found."""
    script = tmp_path / "bin" / "neuroroute"
    script.parent.mkdir()
    script.write_text("")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(script)])
    monkeypatch.setenv("PATH", "")
    assert called().strip('"') == str(script.relative_to(tmp_path))
    monkeypatch.setattr("sys.argv", [str(tmp_path / "__main__.py")])
    monkeypatch.setattr("sys.executable", str(script.with_name("python")))
    if sys.platform != "win32":
        assert called() == "bin/neuroroute"
        monkeypatch.setenv("PATH", str(script.parent))
        assert called() == "neuroroute"
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert called() == f"{tmp_path / 'python'} -m neuroroute"


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
