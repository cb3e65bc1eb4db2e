from __future__ import annotations

import logging

import pytest

from neuroroute import BackingOff, Event, Hedged, LMStudioAdapter, ModelInvalidRequestError, RetryPolicy
from neuroroute.pipe.events import teller
from neuroroute.simulator import Simulator


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


@pytest.mark.parametrize("observers", ["print", print, [5], [None]])
def test_what_is_no_observer_is_refused(observers: object) -> None:
    """Observers are functions, in a list; anything else fails where it is given."""
    with pytest.raises(ModelInvalidRequestError, match="observers must be a list of functions"):
        LMStudioAdapter("llama3", observers=observers)  # type: ignore[arg-type]
