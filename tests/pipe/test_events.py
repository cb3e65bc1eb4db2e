from __future__ import annotations

import logging
from typing import Any

import pytest

from neuroroute import (
    BackingOff,
    BreakerChanged,
    BreakerPolicy,
    CircuitOpenError,
    Event,
    Hedged,
    LMStudioAdapter,
    LoggingObserver,
    MalformedResponseError,
    ModelInvalidRequestError,
    RetryPolicy,
)
from neuroroute.pipe.events import teller
from neuroroute.simulator import Answer, Simulator


def test_every_observer_is_told() -> None:
    """An event goes to all observers, in the order in which they were given."""
    told: list[str] = []
    tell = teller([lambda event: told.append(f"a {event.model}"), lambda event: told.append(f"b {event.model}")])
    tell(Hedged(host="h", model="m"))
    assert told == ["a m", "b m"]


def test_an_observer_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What an observer raises is noted in the log, and the others are told all the same."""
    told: list[Event] = []

    def fails(event: Event) -> None:
        raise RuntimeError("my fault")

    with caplog.at_level(logging.ERROR, "neuroroute"):
        teller([fails, told.append])(Hedged(host="h", model="m"))
    assert len(told) == 1
    assert "an observer failed at Hedged" in caplog.text


async def test_a_back_off_is_told(lmstudio: Simulator) -> None:
    """An attempt that failed and will be repeated is an event with its error, its number and the wait."""
    events: list[Event] = []
    lmstudio.fail("crash_null", times=2)
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, retry=RetryPolicy(max_backoff=0), observers=[events.append]
    ) as adapter:
        response = await adapter.generate_completion("a secret")
    told = [event for event in events if isinstance(event, BackingOff)]
    assert [(event.attempt, event.delay_ms, event.host, event.model) for event in told] == [
        (1, 0.0, response.host, "llama3"),
        (2, 0.0, response.host, "llama3"),
    ]
    assert "crashed" in told[0].error.message
    assert "secret" not in repr(events)
    assert all(event.error.__traceback__ is None for event in told)  # its frames lead to the request


async def test_no_text_of_an_answer_is_told(lmstudio: Simulator) -> None:
    """An answer in a form that is not ours stays out of errors, events, and what other callers see."""
    events: list[Event] = []
    body = b"My secret diagnosis"
    lmstudio.answer(Answer(raw_chunks=[body], content_type="text/plain"), times=2)
    lmstudio.answer(Answer(raw_chunks=[b"data: " + body + b"\n\n"]), times=2)
    policy = BreakerPolicy(minimum_calls=4)
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, initial_backoff=0, breaker=policy, observers=[events.append]
    ) as adapter:
        with pytest.raises(MalformedResponseError) as caught:
            await adapter.generate_completion("hi")
        assert "19 bytes of something else" in caught.value.message
        with pytest.raises(MalformedResponseError):
            await adapter.stream("hi").whole()
        with pytest.raises(CircuitOpenError) as refused:
            await adapter.generate_completion("hi")
    causes = [event.cause for event in events if isinstance(event, BreakerChanged)]
    told = [event.error for event in events if isinstance(event, BackingOff)]
    assert len(told) == 2
    for error in (*told, *causes, refused.value, refused.value.__cause__):
        assert "secret" not in str(error) + repr(vars(error))


async def waits(_: Event) -> None:
    """Would never be awaited."""


@pytest.mark.parametrize("observers", ["print", print, [5], [None], [waits]])
def test_what_is_no_observer_is_refused(observers: object) -> None:
    """Observers are functions, in a list; anything else fails where it is given."""
    with pytest.raises(ModelInvalidRequestError, match="observers must be a list of functions"):
        LMStudioAdapter("llama3", observers=observers)  # type: ignore[arg-type]


class Awaited:
    async def __call__(self, event: Event) -> None: ...


async def awaited(event: Event) -> None: ...


WRONG = {"awaited": awaited, "to be awaited": Awaited(), "a class": LoggingObserver, "a text": "print", "a number": 5}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_cannot_be_told_is_refused(wrong: Any) -> None:
    """A class, or what must be awaited, would be told nothing: it is refused where it is given."""
    with pytest.raises(ModelInvalidRequestError, match="observers must be a list of functions, none async"):
        LMStudioAdapter("llama3", observers=[wrong])


def test_what_fails_again_and_again_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An observer that fails at every event is an error in the log once for each kind, without what it said."""

    def fails(event: Event) -> None:
        raise RuntimeError("my secret") if event.model == "m" else ValueError("my secret")

    caplog.set_level(logging.INFO)
    tell = teller([fails])
    for model in ("m", "m", "n", "n", "m"):
        tell(Hedged(host="h", model=model))
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "secret" not in caplog.text
    assert "RuntimeError in " in caplog.text
