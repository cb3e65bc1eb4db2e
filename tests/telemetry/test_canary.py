"""Secrets go through everything that requests go through; then everything that operators see is searched for them."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from asyncio.subprocess import PIPE, STDOUT
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from neuroroute import (
    BreakerPolicy,
    Event,
    LMStudioAdapter,
    LMStudioError,
    LoggingObserver,
    Observer,
    ResponseCache,
    SQLiteCache,
)
from neuroroute.pipe.events import CacheStored, ContentEvent
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault
from neuroroute.telemetry.prometheus import PrometheusObserver
from telemetry.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from conftest import FakeClock
    from neuroroute import AnyMessage

PROMPT, ANSWER, ARGUMENT, RESULT, KEY = SECRETS = (
    "canary-prompt-71",
    "canary-answer-72",
    "canary-argument-73",
    "canary-result-74",
    "canary-key-75",
)


def lookup(name: str) -> str:
    """Looks somebody up."""
    if name.endswith("fails"):
        raise LookupError(name)
    return RESULT


def refuses(messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> bool:
    return len(messages) > 1


async def everything(
    lmstudio: Simulator, clock: FakeClock, observers: list[Observer], cache: ResponseCache | None = None
) -> list[LMStudioError]:
    """Answers, failures, retries, streams, tools, a cache and a guard; the errors that came of it."""
    lmstudio.api_token = KEY
    errors: list[LMStudioError] = []
    async with LMStudioAdapter(
        "llama3",
        base_url=lmstudio.url,
        api_token=KEY,
        clock=clock,
        observers=observers,
        breaker=BreakerPolicy(minimum_calls=100),
        cache=cache,
        cache_mode="refresh",
        guards=[refuses],
    ) as adapter:
        lmstudio.answer(Answer(ANSWER, reasoning=ANSWER))
        await adapter.generate_completion(PROMPT)
        lmstudio.fail("crash_null", times=2)
        lmstudio.answer(ANSWER)
        await adapter.stream(PROMPT).whole()
        lmstudio.answer(Answer(chunks=[ANSWER, ANSWER], stream_fault=StreamFault("cut", after=1)))
        errors.append(await failing(adapter.stream(PROMPT).whole()))
        lmstudio.fail(Fail(500), times=4)
        errors.append(await failing(adapter.generate_completion(PROMPT)))
        lmstudio.answer(Answer(raw_chunks=[ANSWER.encode()], content_type="text/plain"), times=2)
        errors.append(await failing(adapter.generate_completion(PROMPT)))
        names = (ARGUMENT, f"{ARGUMENT}-fails", 5)
        lmstudio.answer(Answer(tool_calls=[("lookup", {"name": name}) for name in names]))
        lmstudio.answer(ANSWER)
        await adapter.run_tools(PROMPT, tools=[lookup], max_rounds=2)
        lmstudio.answer(Answer(tool_calls=[(ARGUMENT, {})]), times=2)
        errors.append(await failing(adapter.run_tools(PROMPT, tools=[lookup], max_rounds=1)))
        errors.append(await failing(adapter.generate_completion(PROMPT, system_message=None)))
        async with adapter.stream(PROMPT) as stream:
            await anext(stream)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, api_token=f"{KEY}x", observers=observers) as wrong:
        errors.append(await failing(wrong.generate_completion(PROMPT)))
    return errors


async def failing(call: Any) -> LMStudioError:
    with pytest.raises(LMStudioError) as caught:
        await call
    return caught.value


def found(*places: str) -> set[str]:
    return {secret for secret in SECRETS for place in places if secret in place}


def of_errors(errors: list[LMStudioError]) -> list[str]:
    chained = [link for error in errors for link in (error, error.__cause__, error.__context__) if link is not None]
    return [text for link in chained for text in (str(link), repr(link), *traceback.format_exception(link))]


async def test_nothing_of_a_secret_is_seen(
    lmstudio: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Prompts, answers, tool arguments, results and keys are in no log, event or error text."""
    caplog.set_level(logging.DEBUG)
    events: list[Event] = []
    kept, counted = Kept(), PrometheusObserver(registry=CollectorRegistry())
    errors = await everything(lmstudio, clock, [LoggingObserver(), kept.observer(), counted, events.append])
    await asyncio.sleep(0)
    assert len(events) > 40
    assert len(errors) == 6
    assert len([record for record in caplog.records if record.name == "neuroroute"]) == len(events)
    assert found(caplog.text, repr([vars(record) for record in caplog.records])) == set()
    assert found(repr(events)) == set()
    assert found(*of_errors(errors)) == set()
    assert len(kept.exporter.get_finished_spans()) > 20
    assert found(*kept.texts()) == set()
    shown = generate_latest(counted.registry).decode()
    assert "neuroroute_tool_calls_total" in shown
    assert found(shown) == set()


async def test_a_cache_has_answers_alone(lmstudio: Simulator, clock: FakeClock, tmp_path: Path) -> None:
    """A cache's file holds answers, and nothing of prompts, tools or keys; no event or error tells what it holds."""
    events: list[Event] = []
    async with SQLiteCache(tmp_path / "answers.db") as cache:
        errors = await everything(lmstudio, clock, [events.append], cache)
        assert any(isinstance(event, CacheStored) for event in events)
    files = [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    assert found(*files) == {ANSWER}
    assert found(repr(events), *of_errors(errors)) == set()


CRASHES = f"""
import asyncio
from neuroroute import LMStudioAdapter

async def main():
    async with LMStudioAdapter("llama3", base_url=URL, api_token=KEY, max_retries=0) as adapter:
        asyncio.ensure_future(adapter.generate_completion(PROMPT))  # nobody takes its error
        await asyncio.wait([asyncio.ensure_future(adapter.generate_completion(PROMPT))])
        await adapter.generate_completion(PROMPT)

import sys
URL, PROMPT, KEY = sys.argv[1], "".join(["{PROMPT[:9]}", "{PROMPT[9:]}"]), "".join(["{KEY[:9]}", "{KEY[9:]}"])
sys.argv = []
asyncio.run(main(), debug=True)
"""


async def test_a_crash_shows_nothing(lmstudio: Simulator) -> None:
    """What a program prints that dies of an error, or leaves one to nobody, has neither prompt nor key."""
    lmstudio.api_token = KEY
    lmstudio.answer(Answer(raw_chunks=[ANSWER.encode()], content_type="text/plain"), times=3)
    python = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-c", CRASHES, lmstudio.url, stdout=PIPE, stderr=STDOUT
    )
    printed, _ = await python.communicate()
    assert python.returncode == 1
    assert b"Traceback" in printed
    assert b"exception was never retrieved" in printed
    assert printed.count(b"MALFORMED_RESPONSE") >= 2
    assert found(printed.decode()) == set()


async def test_what_is_asked_for_is_seen(
    lmstudio: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With content asked for, all but the key is logged; and what the hook takes out is not."""
    caplog.set_level(logging.DEBUG)
    told: list[Event] = []
    redacted = LoggingObserver(log_content=True, redact=lambda text: text.replace("canary", "***"))
    kept = Kept()
    observer = kept.observer(record_content=True, redact=lambda text: text.replace("canary", "***"))
    await everything(lmstudio, clock, [redacted, observer, told.append])
    assert found(*kept.texts()) == set()
    assert found(repr([vars(record) for record in caplog.records])) == set()
    assert {number for number in range(71, 76) if f"-{number}" in caplog.text} == {71, 72, 73, 74}
    caplog.clear()
    kept = Kept()
    await everything(lmstudio, clock, [LoggingObserver(log_content=True), kept.observer(record_content=True)])
    assert found(*kept.texts()) == {*SECRETS} - {KEY}
    assert found(caplog.text) == {*SECRETS} - {KEY}
    assert not any(isinstance(event, ContentEvent) for event in told)
