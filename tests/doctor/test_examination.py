"""The examination of simulated servers: the right diagnosis of each fault, and none of what is well."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from neuroroute.doctor import RULES, Limits, examine
from neuroroute.doctor.machine import Machine
from neuroroute.errors import ConfigurationError
from neuroroute.hostlist import HostSettings
from neuroroute.simulator import CATALOGUE, PROFILES, Answer, ChaosProxy, Fail, FaultPlan, SimulatedModel, Simulator
from neuroroute.simulator.vocabulary import WORDS

IDLE = Machine(cores=8, load=0.1, memory_total=32_000_000_000, memory_available=30_000_000_000)


async def examined(url, *, page=3.0, answer=5.0, **more):
    more = {"environ": {}, "ports": (), "machine": lambda: IDLE, **more}
    return await examine(url, limits=Limits(page=page, answer=answer, load=2.0), **more)


def codes(report, *levels):
    return [one.code for one in report.findings if one.level in levels]


def able(request):
    """A model that does what it is asked: calls the tool that it is offered, keeps to the schema that it is given."""
    if request.json.get("tools"):
        return Answer(tool_calls=[("get_weather", {"city": "Paris"})])
    if request.json.get("response_format"):
        return '{"city": "Paris", "country": "France"}'
    return "one two three four five"


# ── What is well ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("profile", PROFILES)
async def test_a_healthy_server_has_nothing(profile):
    """Of every version: no problem and no warning; with a model that does what it is asked, no hint but on the age."""
    model = SimulatedModel("llama3", loaded=True, context_length=32768)
    async with Simulator(profile=profile, models=[model]) as simulator:
        echoing = await examined(simulator.url)
        simulator.script(able)
        report = await examined(simulator.url)
    assert codes(echoing, "problem", "warning") == []
    assert {"tools-not-called", "structured-not-kept"} <= {*codes(echoing, "hint")}
    assert codes(report, "problem", "warning", "skipped") == []
    assert codes(report, "hint") == ([] if "v1" in simulator.surfaces else ["server-old"])
    assert report.healthy
    assert {"tools-work", "structured-works", "stream-works", "speed", "machine", "apis"} <= {*codes(report, "ok")}


async def test_what_it_asks_changes_nothing(lmstudio):
    """Without --fix no model is loaded; quick asks no model anything; and nothing is sent twice."""
    lmstudio.models[0].loaded = False
    report = await examined(lmstudio.url)
    assert codes(report, "hint", "problem") == ["model-loads-on-request"]
    assert not any(model.loaded for model in lmstudio.models)
    lmstudio.models[0].loaded = True
    lmstudio.requests.clear()
    quick = await examined(lmstudio.url, quick=True)
    assert {request.path for request in lmstudio.requests if request.method == "POST"} == {
        "/v1/responses",
        "/v1/embeddings",
    }
    assert (codes(quick, "skipped"), quick.hosts[0].model) == ([], "llama3")


@pytest.mark.engine
async def test_the_embedded_engine_has_nothing(engine):
    """A real model in a real llama.cpp has neither problems nor warnings; the server is known by its name."""
    report = await examined(engine.url, page=5.0, answer=60.0)
    assert codes(report, "problem", "warning", "skipped") == []
    assert report.findings[0].code == "not-lm-studio"
    assert report.findings[0].what.startswith("llama.cpp answers")
    phases = report.hosts[0].phases
    assert None not in (phases.prompt_tokens_per_second, phases.tokens_per_second, phases.answer_tokens)


# ── Every fault of the simulator ─────────────────────────────────────────────────────────────────────────────────────

_FAULTS = {
    "refuse": "server-not-reachable",
    "blackhole": "server-hangs",
    "latency:20": None,
    "bandwidth:1000": "network-slow",
    "slicer:20:5": "network-slow",
    "cut:500": "connection-lost",
    "reset:100": "connection-lost",
    "reset": "connection-lost",
    "freeze:200": "server-hangs",
    "slow_close:20": None,
    "hang": "no-answer-in-time",
    "close": "connection-lost",
    "status:503": "server-error",
    "slow:20": None,
    "slow:400": "no-answer-in-time",
    "stream:cut:3": "stream-broken",
    "stream:reset:3": "stream-broken",
    "stream:end:3": "stream-broken",
    "stream:hang:3": "stream-stalled",
    "stream:error:3": "model-crashed",
    "stream:start": "answer-empty",
    "stream:no_finish": None,
    "stream:no_done": None,
    "whole:cut:10": "connection-lost",
    "whole:reset:10": "connection-lost",
    "whole:end:10": "answer-malformed",
    "whole:hang:10": "no-answer-in-time",
}

_SILENT = ("server-hangs", "network-slow", "no-answer-in-time", "stream-stalled")
"""What is found by waiting."""

_CASES = {
    "unknown_model": "model-not-found",
    "unknown_model_pretty": "model-not-found",
    "unknown_model_0_3_5": "model-not-found",
    "native_model_not_found": "model-not-found",
    "no_models_loaded": "model-not-loaded",
    "no_models_loaded_0_3_5": "model-not-loaded",
    "load_failed_memory": "memory-short",
    "load_failed_memory_old": "memory-short",
    "load_failed_canceled": "model-load-failed",
    "load_failed_canceled_old": "model-load-failed",
    "model_reloaded": "model-unloaded",
    "model_unloaded": "model-unloaded",
    "unloaded_in_queue": "model-unloaded",
    "startup_aborted": "engine-failed",
    "engine_fetch_failed": "engine-failed",
    "engine_stream_error": "engine-failed",
    "channel_error": "engine-failed",
    "crash_null": "model-crashed",
    "crash_code": "model-crashed",
    "responses_internal_error": "model-crashed",
    "token_missing": "token-required",
    "token_malformed": "token-required",
    "token_without_mcp": "token-required",
}


def test_no_fault_is_left_out():
    """Every word that the simulator knows for a fault stands in these tables, or is a row of the catalogue."""
    own = {name for name in WORDS if name not in {case.name for case in CATALOGUE}}
    ours = {name for name in own if any(word == name or word.startswith(f"{name}:") for word in _FAULTS)}
    assert own - ours - {"freeze"} == set()
    assert _CASES.keys() <= {case.name for case in CATALOGUE}


@asynccontextmanager
async def faulty(word):
    plan = FaultPlan(word)
    async with Simulator() as simulator:
        simulator.script(able)
        plan.apply(simulator)
        if not plan.network:
            yield simulator
            return
        async with ChaosProxy(simulator.url, *plan.network) as proxy:
            yield proxy


@pytest.mark.parametrize("word", _FAULTS)
async def test_each_fault_has_its_diagnosis(word):
    """A fault is one problem, of the right code; what can be lived with is none."""
    expected = _FAULTS[word]
    limits = {"page": 0.3, "answer": 0.3} if expected in _SILENT else {}
    async with faulty(word) as server:
        report = await examined(server.url, **limits)
    problems = dict.fromkeys(codes(report, "problem"))
    assert [*problems] == ([expected] if expected else [])
    if word.startswith("stream:no_"):
        assert f"stream-without-{word.removeprefix('stream:no_')}" in codes(report, "hint")


@pytest.mark.parametrize("case", CATALOGUE, ids=str)
async def test_each_error_of_the_catalogue_has_its_diagnosis(case):
    """Whatever LM Studio says to a short answer, one problem is found; the trials that need an answer are skipped."""
    async with faulty(case.name) as server:
        report = await examined(server.url)
    expected = _CASES.get(case.name) or ("context-too-small" if "overflow" in case.name else "request-refused")
    assert codes(report, "problem") == [expected]
    assert "MODEL" not in report.first.do
    skipped = {one.check for one in report.findings if one.level == "skipped"}
    assert skipped == {"stream", "tool call", "structured output", "speed"}
    assert all("because" in one.what for one in report.findings if one.level == "skipped")


async def test_it_ends_whatever_hangs():
    """Each wait has its limit, so a server that never answers is told of after a few of them."""
    began = time.monotonic()
    async with faulty("freeze") as server:
        report = await examined(server.url, page=0.1)
    assert codes(report, "problem") == ["server-hangs"]
    assert time.monotonic() - began < 2.0


async def test_what_trying_again_heals_is_no_problem(lmstudio):
    """One failure that passes by itself is a warning that says what happened; a second one is a problem."""
    lmstudio.script(able)
    lmstudio.fail("model_reloaded", path="/v1/chat/completions")
    report = await examined(lmstudio.url)
    assert (codes(report, "problem"), codes(report, "warning")) == ([], ["completion-retried"])
    assert "Model reloaded" in report.first.what
    assert {"completion-works", "breaker-closed"} <= {*codes(report, "ok")}
    lmstudio.fail("model_reloaded", path="/v1/chat/completions", times=2)
    assert codes(await examined(lmstudio.url), "problem") == ["model-unloaded"]


async def test_a_whole_answer_that_is_lost_leaves_the_stream_to_try():
    """Where only whole answers break, the stream is tried and found to work."""
    async with faulty("whole:cut:10") as server:
        report = await examined(server.url)
    assert "stream-works" in codes(report, "ok")


# ── Models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_fix_loads_what_is_not_loaded(lmstudio):
    """With fix a model is loaded, that is told, and then it is tried; one that cannot be loaded is told, too."""
    for model in lmstudio.models:
        model.loaded = False
    lmstudio.script(able)
    report = await examined(lmstudio.url, model="qwen3-8b", fix=True)
    assert lmstudio.models[1].loaded
    assert codes(report, "problem", "warning", "skipped") == []
    assert {"model-loaded-now", "model-ready", "completion-works"} <= {*codes(report, "ok")}
    lmstudio.models[1].loaded = False
    lmstudio.models[1].load_fails = "Model loading aborted due to insufficient system resources."
    report = await examined(lmstudio.url, model="qwen3-8b", fix=True)
    assert codes(report, "problem") == ["memory-short"]
    assert "stream" in {one.check for one in report.findings if one.level == "skipped"}


async def test_a_load_that_fails_is_advised_well(lmstudio):
    """What fails under fix is not advised to fix; a load that takes long is not advised a limit that bounds no load."""
    lmstudio.jit = False
    for model in lmstudio.models:
        model.loaded = False
    lmstudio.models[0].load_seconds = 30
    report = await examine(lmstudio.url, limits=Limits(load=0.1), fix=True, environ={}, ports=(), machine=lambda: IDLE)
    assert codes(report, "problem") == ["no-answer-in-time"]
    assert "`lms load llama3`" in report.first.do
    assert not any(word in one.do for one in report.findings for word in ("--fix", "--timeout"))


@pytest.mark.parametrize(("jit", "expected"), [(True, "model-loaded-now"), (False, "model-not-loaded")])
async def test_fix_at_a_server_that_is_old(jit, expected):
    """Without /api/v1 a model is loaded by asking for it, where the server does that; else it is not even listed."""
    models = [SimulatedModel("llama3", context_length=32768), SimulatedModel("b")]
    async with Simulator(profile="0.3.16", models=models, jit=jit) as simulator:
        simulator.script(able)
        report = await examined(simulator.url, fix=True)
    assert expected in codes(report, "ok", "problem")
    assert simulator.models[0].loaded is jit


@pytest.mark.parametrize("profile", [name for name, profile in PROFILES.items() if "v1" not in profile.surfaces])
async def test_an_old_server_hides_what_is_not_loaded(profile):
    """With loading on request off, it lists the loaded alone; what is missing may be on disk, and that is said."""
    models = [SimulatedModel("a"), SimulatedModel("vectors", type="embedding")]
    async with Simulator(profile=profile, models=models, jit=False) as simulator:
        none = await examined(simulator.url, quick=True)
        named = await examined(simulator.url, model="a", quick=True)
        simulator.models[1].loaded = True
        vectors = await examined(simulator.url, quick=True)
        simulator.models.append(SimulatedModel("b", loaded=True))
        other = await examined(simulator.url, model="a", quick=True)
    assert codes(none, "problem") == codes(named, "problem") == ["model-not-loaded"]
    assert none.first.what.startswith("no model is loaded, or there is none")
    if "v0" in simulator.surfaces:  # before, nobody told what a model is for
        assert vectors.first.what.startswith("no chat model is loaded, or there is none")
    assert "`lms ls`" in none.first.do
    assert "`lms load`" in none.first.do
    assert 4 in none.first.solutions
    assert codes(other, "problem") == ["model-not-found"]
    assert all("`lms load a`" in one.first.do for one in (named, other))


async def test_auto_names_no_model(lmstudio):
    """The name that means whichever is loaded is as good as none."""
    report = await examined(lmstudio.url, model="auto", quick=True)
    assert (codes(report, "problem"), report.hosts[0].model) == ([], "llama3")


async def test_models_that_are_not_there(lmstudio):
    """A name that is almost right is told, an embedding model is no chat model, and a server may have none at all."""
    report = await examined(lmstudio.url, model="lama3")
    (problem,) = [one for one in report.findings if one.level == "problem"]
    assert (problem.code, problem.do) == ("model-not-found", "Did you mean llama3?")
    vectors = await examined(lmstudio.url, model="text-embedding-nomic-embed-text-v1.5")
    assert codes(vectors, "problem") == ["model-cannot-chat"]
    lmstudio.models.clear()
    none = await examined(lmstudio.url, fix=True)
    assert codes(none, "problem") == ["models-none"]
    assert "lms get" in none.first.do


async def test_what_does_not_load_on_request_is_a_problem(lmstudio):
    """With loading on request off, a model that is not loaded fails every request."""
    lmstudio.jit = False
    lmstudio.models[0].loaded = False
    report = await examined(lmstudio.url, model="llama3")
    assert codes(report, "problem") == ["model-not-loaded"]
    assert "`lms load llama3`" in report.first.do


async def test_copies_contexts_and_slots(lmstudio):
    """More copies than one, a context far below what could be, and more requests at once than answered are hints."""
    lmstudio.models[0].instances = 2
    report = await examined(HostSettings(url=lmstudio.url, slots=9), quick=True)
    assert codes(report, "hint") == ["slots-too-many", "context-small", "model-duplicates"]
    copy = await examined(lmstudio.url, model="llama3:2", quick=True)
    assert copy.hosts[0].model == "llama3:2"


async def test_tools_left_as_text_and_wrong_calls(lmstudio):
    """A call in the text is read and told of; one with wrong arguments is a warning; one that takes telling, a hint."""

    def writes(request):
        if request.json.get("tools"):
            return '[TOOL_REQUEST]{"name": "get_weather", "arguments": {"city": "Paris"}}[END_TOOL_REQUEST]'
        return able(request)

    lmstudio.script(writes)
    assert "tools-left-as-text" in codes(await examined(lmstudio.url), "hint")

    def errs(request):
        return Answer(tool_calls=[("get_weather", {"town": 1})]) if request.json.get("tools") else able(request)

    lmstudio.script(errs)
    assert "tools-wrong-call" in codes(await examined(lmstudio.url), "warning")

    def must_be_told(request):
        is_told = "get_weather" in request.json["messages"][0]["content"]
        return able(request) if is_told or not request.json.get("tools") else "It is sunny."

    lmstudio.script(must_be_told)
    assert "tools-need-telling" in codes(await examined(lmstudio.url), "hint")


async def test_an_answer_of_reasoning_alone(lmstudio):
    """A model that spends a short answer on thinking answers; that is a hint."""
    lmstudio.script(
        lambda request: Answer("", reasoning="Let me think") if not request.json.get("tools") else able(request)
    )
    report = await examined(lmstudio.url)
    assert "answer-all-reasoning" in codes(report, "hint")


async def test_another_model_that_answers(lmstudio):
    """Where another model answers than the one that was asked, that is a warning."""
    lmstudio.script(lambda request: Answer("hello", model="another"))
    assert "model-other-answered" in codes(await examined(lmstudio.url), "warning")


async def test_a_stream_that_is_slow_is_no_dead_one(lmstudio):
    """Pieces that come up to the last moment are no stall: a hint and how fast they came, and no breaker opens."""
    words = " ".join(["one"] * 10)
    lmstudio.script(
        lambda request: Answer(words, delay_between=0.1, chunk_size=4) if request.json.get("stream") else able(request)
    )
    report = await examined(lmstudio.url, answer=0.6)
    assert codes(report, "problem", "warning") == []
    assert {"stream-slow", "streaming-advised"} <= {*codes(report, "hint")}
    assert (report.hosts[0].phases.tokens_per_second or 0) > 5
    assert "breaker-closed" in codes(report, "ok")


async def test_a_whole_answer_where_a_stream_was_asked_for(lmstudio):
    """A server that streams nothing is told of; that is a hint."""
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
    lmstudio.answer("hello", path="/v1/chat/completions")
    lmstudio.fail(Fail(200, body), path="/v1/chat/completions")
    assert "stream-not-streamed" in codes(await examined(lmstudio.url), "hint")


# ── Tokens, several hosts, callers ───────────────────────────────────────────────────────────────────────────────────

TOKEN = "sk-lm-canary:verysecretkey"


async def test_tokens_are_told_of_and_never_shown(lmstudio):
    """No token, a wrong one, the right one, one that nobody wants: each is told, none is said."""
    lmstudio.api_token = TOKEN
    none = await examined(lmstudio.url)
    wrong = await examined(lmstudio.url, api_token="sk-lm-canary:wrongsecretkey")
    right = await examined(lmstudio.url, api_token=TOKEN)
    lmstudio.api_token = None
    unwanted = await examined(lmstudio.url, api_token=TOKEN)
    assert [codes(one, "problem") for one in (none, wrong, right)] == [["token-required"], ["token-refused"], []]
    assert "token-accepted" in codes(right, "ok")
    assert "token-not-needed" in codes(unwanted, "hint")
    lmstudio.fail("token_malformed", path="/v1/chat/completions")
    refused = await examined(lmstudio.url, api_token=TOKEN)
    assert codes(refused, "problem") == ["token-refused"]

    def says_it_again(request):
        return Answer(model=f"echo-{request.headers['authorization'].partition(' ')[2]}")

    lmstudio.script(says_it_again)
    echoed = await examined(lmstudio.url, api_token=TOKEN)
    for report in (none, wrong, right, unwanted, refused, echoed):
        said = "".join(f"{one.what}{one.why}{one.do}" for one in report.findings)
        assert not any(secret in said for secret in ("canary", "secretkey", "sk-"))


async def test_several_hosts_are_examined_each(lmstudio):
    """One report for each host, in their order; the healthy one is not blamed for the other."""
    steps = []
    report = await examined([lmstudio.url, "127.0.0.1:9"], on_step=steps.append)
    assert [host.model for host in report.hosts] == ["llama3", None]
    assert [one.code for one in report.hosts[1].findings if one.level == "problem"] == ["server-not-reachable"]
    assert not any(one.level == "problem" for one in report.hosts[0].findings)
    assert steps[0].endswith("is it there?")
    assert steps[0].startswith(f"127.0.0.1:{lmstudio.port}")


async def test_hosts_are_examined_at_once(lmstudio):
    """The second host is looked at while the first does not answer; the reports keep the hosts' order."""
    async with Simulator() as other:
        lmstudio.script(able)
        other.script(able)
        lmstudio.answer(Answer("late", delay=0.4), path="/v1/chat/completions")
        steps = []
        report = await examined([lmstudio.url, other.url], on_step=steps.append)
    first, second = (f"127.0.0.1:{one.port}" for one in (lmstudio, other))
    assert [host.name for host in report.hosts] == [first, second]
    assert steps.index(f"{second}: structured output") < steps.index(f"{first}: a stream")


async def test_settings_that_cannot_be_used_raise():
    """What is wrong before anything is asked is an error, as everywhere."""
    with pytest.raises(ConfigurationError):
        await examined("ftp://localhost")
    with pytest.raises(ValueError, match="answer"):
        Limits(answer=0)


async def test_leaving_leaves_nothing_open(lmstudio):
    """Cancelled in the middle, it closes its connections."""
    lmstudio.answer(Answer("slow", delay=5))
    task = asyncio.ensure_future(examined(lmstudio.url, answer=9.0))
    await lmstudio.wait_for_requests(8)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(50):
        if not lmstudio.open_connections:
            break
        await asyncio.sleep(0.01)
    assert lmstudio.open_connections == 0


def test_every_code_has_a_reason_and_a_level():
    """What is worse than well says why it matters, and what stands for a solution is one of the seventeen."""
    for code, rule in RULES.items():
        assert rule.level in ("ok", "skipped") or rule.why, code
        assert {*rule.solutions} <= {*range(1, 18)}, code
