from __future__ import annotations

import inspect
import json
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from neuroroute import (
    Event,
    ImagePart,
    JSONFormatter,
    LMStudioAdapter,
    LMStudioError,
    LoggingObserver,
    ModelInvalidRequestError,
    ModelUnavailableError,
    UserMessage,
)
from neuroroute.pipe import events as told
from neuroroute.simulator import Answer, Fail, Simulator
from neuroroute.telemetry.fields import FIELDS

if TYPE_CHECKING:
    from conftest import FakeClock


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "neuroroute")
    return caplog


def records(log: pytest.LogCaptureFixture, kind: type[Event]) -> list[Any]:
    return [record for record in log.records if getattr(record, "event", None) == kind.__name__]


async def test_the_fields_of_a_request(lmstudio: Simulator, clock: FakeClock, log: pytest.LogCaptureFixture) -> None:
    """Every record of a request has its id, its model and its host; the last one has all that came of it."""
    lmstudio.fail("crash_null")
    lmstudio.answer(Answer("hi", usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock, observers=[LoggingObserver()]) as adapter:
        response = await adapter.stream("hi").whole()
    of_request: list[Any] = [record for record in log.records if hasattr(record, "request_id")]
    assert {(record.request_id, record.model, record.host) for record in of_request} == {
        (response.request_id, "llama3", response.host)
    }
    (ended,) = records(log, told.RequestEnded)
    assert (ended.levelname, ended.outcome, ended.finish_reason, ended.attempts) == ("INFO", "answered", "stop", 2)
    assert (ended.prompt_tokens, ended.completion_tokens, ended.cached) == (9, 4, False)
    assert ended.duration_ms >= ended.ttft_ms > 0
    assert ended.getMessage() == f"llama3 at {response.host} answered in {ended.duration_ms:.0f} ms"
    (backing_off,) = records(log, told.BackingOff)
    assert (backing_off.levelname, backing_off.attempt, backing_off.code) == ("WARNING", 1, "MODEL_UNAVAILABLE")
    assert (backing_off.status, backing_off.reason) == (backing_off.status, "crashed")


async def test_levels(lmstudio: Simulator, clock: FakeClock, log: pytest.LogCaptureFixture) -> None:
    """What failed for good, and a breaker that opens, are errors; what is routine stays below INFO."""
    lmstudio.fail(Fail(500), times=5)
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, clock=clock, max_retries=0, observers=[LoggingObserver()]
    ) as adapter:
        for _ in range(5):
            with pytest.raises(ModelUnavailableError):
                await adapter.generate_completion("hi")
        clock.now += 31
        await adapter.generate_completion("hi")
    assert [record.levelname for record in records(log, told.RequestEnded)] == ["ERROR"] * 5 + ["INFO"]
    assert [(record.levelname, record.breaker_state) for record in records(log, told.BreakerChanged)] == [
        ("ERROR", "open"),
        ("INFO", "half_open"),
        ("INFO", "closed"),
    ]
    assert {record.levelname for record in records(log, told.AttemptEnded)} == {"DEBUG"}


EVENTS = [
    kind for _, kind in inspect.getmembers(told, inspect.isclass) if issubclass(kind, Event) and kind is not Event
]
VALUES: dict[str, Any] = {
    "host": "h",
    "model": "m",
    "error": LMStudioError("no"),
    "cause": None,
    "before": "closed",
    "after": "open",
    "outcome": "failed",
    "messages": (),
    "tool_calls": (),
    "tokens": None,
    "headers": {},
    "parameters": {},
    "loaded": None,
    "code": "TOOL_FAILED",
    "duration_ms": 1.0,
    "delay_ms": 1.0,
    "attempt": 1,
}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_kind_of_event_has_a_record(kind: type[Event], log: pytest.LogCaptureFixture) -> None:
    """Each kind of event is one record whose text can be made, and whose fields have plain values."""
    made = {field.name: VALUES.get(field.name, "x") for field in msgspec.structs.fields(kind)}
    LoggingObserver(log_content=True)(kind(**made))
    (record,) = records(log, kind)
    assert record.getMessage()
    line = json.loads(JSONFormatter().format(record))
    assert line["event"] == kind.__name__
    assert "headers" not in line
    assert "parameters" not in line


def test_no_field_is_the_loggings_own() -> None:
    """No field has the name of something that every record has; the standard library refuses those."""
    own = vars(logging.makeLogRecord({}))
    assert not {*FIELDS, "status", "reason", "tool", "breaker_state", "host_state", "event", "error"} & {*own}


def test_json() -> None:
    """A record becomes one line of JSON with its time, level, text and fields, whatever its fields are."""
    record = logging.makeLogRecord(
        {
            "msg": "%s\nsaid",
            "args": ("a",),
            "levelname": "INFO",
            "name": "neuroroute",
            "created": 0,
            "odd": 1j,
            "half": "\ud800",
            "n": 5,
        }
    )
    text = JSONFormatter().format(record)
    line = json.loads(text)
    assert "\n" not in text
    assert (line["time"], line["level"], line["logger"]) == ("1970-01-01T00:00:00.000+00:00", "INFO", "neuroroute")
    assert (line["message"], line["n"], line["odd"]) == ("a\nsaid", 5, "1j")


def test_json_of_an_exception() -> None:
    """A record of an exception has its traceback as text, in the same line."""
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        record = logging.makeLogRecord({"exc_info": (type(error), error, error.__traceback__)})
    assert json.loads(JSONFormatter().format(record))["exception"].endswith("ZeroDivisionError: oh")


async def test_content_on_request(lmstudio: Simulator, log: pytest.LogCaptureFixture) -> None:
    """With log_content prompts and answers are logged, each text through the hook; without, they are not."""
    observers = [LoggingObserver(), LoggingObserver(log_content=True, redact=lambda text: text.replace("Ann", "***"))]
    lmstudio.answer(Answer("Hello Ann", reasoning="Ann again"))
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, observers=observers) as adapter:
        await adapter.generate_completion("I am Ann")
    (sent,), (received,) = records(log, told.PromptSent), records(log, told.AnswerReceived)
    assert sent.messages[-1] == {"role": "user", "content": "I am ***"}
    assert (received.text, received.reasoning) == ("Hello ***", "*** again")
    assert "I am ***" in sent.getMessage()
    assert "Ann" not in repr([vars(record) for record in log.records])


@pytest.mark.parametrize("log_content", [False, True])
async def test_the_words_of_errors_are_content(
    lmstudio: Simulator, log: pytest.LogCaptureFixture, log_content: bool
) -> None:
    """What a server says with an error may quote the prompt, so it is logged with content only."""
    lmstudio.fail(Fail(400, {"error": "cannot read 'my secret'"}))
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, observers=[LoggingObserver(log_content=log_content)]
    ) as adapter:
        with pytest.raises(LMStudioError, match="my secret"):
            await adapter.generate_completion("hi")
    assert ("my secret" in repr([vars(record) for record in log.records])) is log_content
    (ended,) = records(log, told.RequestEnded)
    assert (ended.code, ended.status) == ("MODEL_INVALID_REQUEST", 400)


async def test_a_hook_that_fails_shows_nothing(lmstudio: Simulator, log: pytest.LogCaptureFixture) -> None:
    """A text that the hook fails at is not logged, nor is what it raised; the record is there all the same."""

    def fails(text: str) -> str:
        raise ValueError(text)

    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, observers=[LoggingObserver(log_content=True, redact=fails)]
    ) as adapter:
        await adapter.generate_completion("my secret")
    (sent,) = records(log, told.PromptSent)
    assert sent.messages[-1]["content"] == "(not shown: redact failed)"
    assert "secret" not in log.text


async def test_images_are_not_logged(lmstudio: Simulator, log: pytest.LogCaptureFixture) -> None:
    """Of an image only its size is logged."""
    image = ImagePart.of(b"\x89PNG\r\n\x1a\n" + bytes(750))
    async with LMStudioAdapter(
        "llama3", base_url=lmstudio.url, observers=[LoggingObserver(log_content=True)]
    ) as adapter:
        with pytest.raises(LMStudioError):  # this model sees none
            await adapter.generate_completion(messages=[UserMessage(content=[image])])
    (sent,) = records(log, told.PromptSent)
    assert f"data: ({len(image.image_url.url)} characters)" in repr(sent.messages)
    assert "AAAA" not in log.text


async def test_a_logger_of_ones_own(lmstudio: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """Another logger can be given, and its level is what counts."""
    logger = logging.getLogger("mine")
    caplog.set_level(logging.INFO, "mine")
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, observers=[LoggingObserver(logger=logger)]) as adapter:
        await adapter.generate_completion("hi")
    assert [(record.name, record.levelname) for record in caplog.records] == [("mine", "INFO")]


def test_a_hook_is_a_function() -> None:
    """What cannot be called is refused where it is given."""
    with pytest.raises(ModelInvalidRequestError, match="redact must be a function"):
        LoggingObserver(redact=5)  # type: ignore[arg-type]
