from __future__ import annotations

import msgspec
import pytest

from bench.simulated import PLAN, in_no_time, measured, paced, simulator
from neuroroute.bench import Report
from neuroroute.bench.remarks import remarks
from neuroroute.bench.toolcases import CASES, cases_of
from neuroroute.simulator import Answer

RIGHT = {
    "get_weather": {"city": "Lisbon"},
    "get_time": {"city": "Tokyo"},
    "set_thermostat": {"room": "living room", "degrees": 21.5},
    "switch_light": {"room": "kitchen", "state": "off"},
    "book_table": {"name": "Ada", "people": 4, "date": "2026-12-24", "time": "19:30"},
    "send_mail": {"recipients": ["ada@example.com"], "text": "It begins at noon."},
}
"""Good calls, in the order of the cases."""


def asked(answers: list[Answer | str], *, tools: bool = True) -> Report:
    """The report where the questions are answered with these."""

    async def run() -> Report:
        async with simulator(paced(tools=tools, tokens_per_second=None)) as made:
            by_question = dict(zip((case.question for case in CASES), answers, strict=True))
            made.script(lambda received: by_question.get(received.json["messages"][-1]["content"], "tok tok"))
            plan = msgspec.structs.replace(PLAN, concurrency=(1,), tools=True)
            return await measured(made.url, ["m"], plan)

    report: Report = in_no_time(run)
    return report


def calls(**changed: Answer | str) -> list[Answer | str]:
    good = {name: Answer("", tool_calls=[(name, arguments)]) for name, arguments in RIGHT.items()}
    return [*(good | changed).values()]


def test_good_calls_are_valid() -> None:
    """Each case is asked once in a run, and a call of its tool with arguments that it takes is valid."""
    tools = asked(calls()).models[0].tools
    assert tools is not None
    assert (tools.asked, tools.valid, tools.mended, tools.failed, tools.trained) == (6, 6, 0, 0, True)


def test_each_fault_has_its_count() -> None:
    """No call, a tool that was not offered, wrong arguments, another tool: each is counted as what it is, and told."""
    report = asked(
        calls(
            get_weather="It is sunny.",
            get_time=Answer("", tool_calls=[("tell_time", {"city": "Tokyo"})]),
            set_thermostat=Answer("", tool_calls=[("set_thermostat", {"room": "living room"})]),
            switch_light=Answer("", tool_calls=[("set_thermostat", {"room": "kitchen", "degrees": 0})]),
        ),
        tools=False,
    )
    tools = report.models[0].tools
    assert tools is not None
    assert (tools.valid, tools.no_call, tools.unknown_tool, tools.bad_arguments, tools.other_tool) == (2, 1, 1, 1, 1)
    assert tools.trained is False
    assert "1 without a call, 1 of a tool that was not offered" in " ".join(remarks(report))


def test_what_was_mended_is_told() -> None:
    """A call that was left in the text is judged as NeuroRoute mends it, and counted as mended."""
    left = '[TOOL_REQUEST]{"name": "get_weather", "arguments": {"city": "Lisbon"}}[END_TOOL_REQUEST]'
    tools = asked(calls(get_weather=left)).models[0].tools
    assert tools is not None
    assert (tools.valid, tools.mended) == (6, 1)


@pytest.mark.parametrize("rounds", [1, 2, 3, 6, 10])
def test_each_case_has_its_turn(rounds: int) -> None:
    """However many rounds there are, each case is in one of them."""
    asked_of = [case for number in range(rounds) for case in cases_of(number, rounds)]
    assert sorted(asked_of, key=lambda case: case.question) == sorted(CASES, key=lambda case: case.question)
