from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.simulated import PLAN, in_no_time, measured, paced, simulator
from neuroroute.bench import Report
from neuroroute.bench.figures import Spread
from neuroroute.bench.remarks import failures, how, remarks
from neuroroute.bench.report import FailureCount, ToolCalls
from neuroroute.bench.samples import Failure, Warmup


@pytest.fixture(scope="module")
def report() -> Report:
    async def run() -> Report:
        async with simulator(paced("a")) as made:
            return await measured(made.url, ["a"], msgspec.structs.replace(PLAN, rounds=1, concurrency=(1,)))

    made: Report = in_no_time(run)
    return made


def changed(report: Report, **fields: Any) -> Report:
    (model,) = report.models
    return msgspec.structs.replace(report, models=(msgspec.structs.replace(model, **fields),))


@pytest.mark.parametrize(
    ("fields", "plain", "says"),
    [
        ({"estimated": True}, {"estimated": False}, "what has a ~ is estimated"),
        ({"cached_tokens": 150}, {"cached_tokens": 15}, "the server had 150 tokens of prompts from earlier ones"),
        ({"pieces_per_token": 0.25}, {"pieces_per_token": 0.9}, "in pieces of about 4"),
        ({"client_share": 0.5}, {"client_share": 0.1}, "busy for 50% of the time"),
        (
            {"completion_tokens": Spread(median=3, low=3, high=3, count=2)},
            {"completion_tokens": Spread(median=30, low=3, high=64, count=2)},
            "only 3 tokens",
        ),
        (
            {"ttft_ms": Spread(median=10, low=9, high=25, count=2)},
            {"ttft_ms": Spread(median=10, low=9, high=19, count=2)},
            "is something else busy?",
        ),
        (
            {"warmup": Warmup(first_answer_ms=12_300, was_loaded=False)},
            {"warmup": Warmup(first_answer_ms=12_300, was_loaded=None)},
            "its first answer took 12.3 s, the load included (not counted)",
        ),
        (
            {"tools": ToolCalls(trained=None, asked=6, valid=4, failed=1, mended=1)},
            {"tools": ToolCalls(trained=None, asked=6, valid=6)},
            "1 failed, 1 put right",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_odd_is_told(report: Report, fields: dict[str, Any], plain: dict[str, Any], says: str) -> None:
    """What makes a figure less than it seems is said in a sentence that names the model; what does not, is not."""
    (told,) = remarks(changed(report, **fields))
    assert told.startswith("a: ")
    assert says in told
    assert remarks(changed(report, **plain)) == []


def test_failures_are_told_with_their_count(report: Report) -> None:
    """Each kind of failure is a sentence, and so is a model that was given up."""
    found = (
        FailureCount(code="MODEL_TIMEOUT", message="too late", count=3),
        FailureCount(code="NETWORK_ERROR", message="no connection.", count=1),
    )
    gone = changed(report, failures=found, given_up=Failure(code="NETWORK_ERROR", message="no connection."))
    assert failures(gone) == [
        "a: failed 3 times: MODEL_TIMEOUT: too late.",
        "a: failed once: NETWORK_ERROR: no connection.",
        "a was asked no more.",
    ]
    assert failures(changed(gone, levels=()))[-1] == "a could not be measured."


def test_how_says_whether_it_is_all(report: Report) -> None:
    """A run that was stopped says so first, and one that measured nothing says that."""
    assert how(report).startswith("1 round, prompts of about 100 tokens")
    assert how(msgspec.structs.replace(report, finished=False)).startswith("Stopped before the end;")
    assert how(changed(report, levels=())) == "Nothing was measured."
