"""The specification's troubleshooting, solution by solution: the situation is provoked, and the finding is seen."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from neuroroute import LMStudioAdapter
from neuroroute.doctor import RULES, SOLUTIONS, Limits, check_tools, examine, examine_breakers
from neuroroute.doctor.machine import Machine
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator

TIGHT = Machine(cores=2, load=9.0, memory_total=16_000_000_000, memory_available=1_000_000_000)


async def examined(url, **more):
    more = {"environ": {}, "ports": (), "limits": Limits(page=3.0, answer=5.0), **more}
    return await examine(url, **more)


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


async def not_running(lmstudio):
    return await examined(f"127.0.0.1:{free_port()}")


async def wrong_port(lmstudio):
    return await examined(f"127.0.0.1:{free_port()}", ports=(lmstudio.port,))


async def unknown_name(lmstudio):
    return await examined("http://nowhere.invalid:1234")


async def not_loaded(lmstudio):
    lmstudio.jit = False
    lmstudio.models[0].loaded = False
    return await examined(lmstudio.url, model="llama3")


async def wrong_id(lmstudio):
    return await examined(lmstudio.url, model="lama3")


async def crashed(lmstudio):
    lmstudio.fail("crash_null", path="/v1/chat/completions", times=2)
    return await examined(lmstudio.url)


async def closes(lmstudio):
    lmstudio.fail(Fail(silent="close"), path="/v1/chat/completions", times=3)
    return await examined(lmstudio.url)


async def not_trained(lmstudio):
    lmstudio.models[:] = [SimulatedModel("tiny", loaded=True, tools=False), SimulatedModel("qwen3-8b")]
    return await examined(lmstudio.url)


async def badly_formatted(lmstudio):
    return check_tools([{"name": "get_weather", "parameters": {}}])


async def too_complicated(lmstudio):
    deep = {"type": "string", "description": "x"}
    for _ in range(4):
        deep = {"type": "object", "description": "x", "properties": {"inner": deep}}
    function = {"name": "f", "description": "x", "parameters": {"type": "object", "properties": {"a": deep}}}
    return check_tools([{"type": "function", "function": function}])


async def must_be_told(lmstudio):
    def answer(request):
        told = "get_weather" in request.json["messages"][0]["content"]
        if told and request.json.get("tools"):
            return Answer(tool_calls=[("get_weather", {"city": "Paris"})])
        return "It is sunny."

    lmstudio.script(answer)
    return await examined(lmstudio.url)


async def breaker_open(lmstudio):
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        adapter.breaker.force_open()
        return examine_breakers(adapter.hosts)


def streamed(lmstudio, **slow):
    lmstudio.script(
        lambda request: Answer("one two three", chunk_size=5, **(slow if request.json.get("stream") else {}))
    )


async def long_answers(lmstudio):
    streamed(lmstudio, delay_between=0.04)
    return await examined(lmstudio.url)


async def long_prompts(lmstudio):
    streamed(lmstudio, delay=1.6)
    return await examined(lmstudio.url)


async def slow_model(lmstudio):
    streamed(lmstudio, delay_between=0.17)
    return await examined(lmstudio.url)


async def small_machine(lmstudio):
    lmstudio.models[0].loaded = False
    return await examined(lmstudio.url, machine=lambda: TIGHT)


PROVOKED = {
    1: (not_running, "server-not-reachable"),
    2: (wrong_port, "server-on-other-port"),
    3: (unknown_name, "server-host-unknown"),
    4: (not_loaded, "model-not-loaded"),
    5: (wrong_id, "model-not-found"),
    6: (crashed, "model-crashed"),
    7: (not_trained, "tools-not-trained"),
    8: (badly_formatted, "tool-malformed"),
    9: (too_complicated, "tool-too-complex"),
    10: (must_be_told, "tools-need-telling"),
    11: (breaker_open, "breaker-open"),
    12: (closes, "root-cause"),
    13: (crashed, "breaker-would-open"),
    14: (long_answers, "streaming-advised"),
    15: (long_prompts, "prompt-slow"),
    16: (slow_model, "generation-slow"),
    17: (small_machine, "memory-short"),
}
"""Each solution, a situation that calls for it, and the finding that stands for it."""


def test_all_seventeen_are_there():
    """The table has each solution of the specification, and none that it has not."""
    assert PROVOKED.keys() == SOLUTIONS.keys() == {*range(1, 18)}


@pytest.mark.parametrize("solution", PROVOKED)
async def test_each_solution_has_its_finding(solution, lmstudio: Simulator):
    """In the situation that a solution is for, the finding that stands for it is there, and says what to do."""
    provoke, code = PROVOKED[solution]
    report = await provoke(lmstudio)
    findings = report if isinstance(report, list) else report.findings
    found = [one for one in findings if one.code == code]
    assert found, [one.code for one in findings]
    assert all(solution in one.solutions and one.why and one.do for one in found)


@pytest.mark.parametrize("solution", SOLUTIONS)
def test_the_rules_stand_for_it(solution):
    """Each solution is named by at least one rule."""
    assert any(solution in rule.solutions for rule in RULES.values())


def test_the_page_is_in_step():
    """docs/doctor.md has each code with its level and solutions, and each solution with its findings."""
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    for code, rule in RULES.items():
        solutions = ", ".join(map(str, rule.solutions))
        row = f"| `{code}` | {rule.level} | {rule.why} | {solutions} |"
        assert (row if rule.level not in ("ok", "skipped") else f"`{code}`") in page
    for number, solution in SOLUTIONS.items():
        codes = [f"`{code}`" for code, rule in RULES.items() if number in rule.solutions and rule.level != "ok"]
        assert f"| {number} | {solution} | {', '.join(codes)} |" in page
