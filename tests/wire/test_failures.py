from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from neuroroute import MalformedResponseError
from neuroroute.simulator.catalogue import CATALOGUE, ErrorCase
from neuroroute.wire.failures import failure, failure_in_success, retry_after_ms

UNAVAILABLE_RETRY = ("MODEL_UNAVAILABLE", True)
UNAVAILABLE_FINAL = ("MODEL_UNAVAILABLE", False)
NOT_FOUND = ("MODEL_NOT_FOUND", False)
OVERFLOW = ("MODEL_CONTEXT_LENGTH", False)
INVALID = ("MODEL_INVALID_REQUEST", False)
UNAUTHORISED = ("MODEL_AUTHENTICATION", False)

EXPECTED = {
    "unknown_model": NOT_FOUND,
    "unknown_model_pretty": NOT_FOUND,
    "unknown_model_0_3_5": NOT_FOUND,
    "no_models_loaded": UNAVAILABLE_FINAL,
    "no_models_loaded_0_3_5": UNAVAILABLE_FINAL,
    "load_failed_memory": UNAVAILABLE_FINAL,
    "load_failed_memory_old": UNAVAILABLE_FINAL,
    "load_failed_canceled": UNAVAILABLE_RETRY,
    "load_failed_canceled_old": UNAVAILABLE_RETRY,
    "native_model_not_found": NOT_FOUND,
    "model_reloaded": UNAVAILABLE_RETRY,
    "model_unloaded": UNAVAILABLE_RETRY,
    "unloaded_in_queue": UNAVAILABLE_RETRY,
    "startup_aborted": UNAVAILABLE_RETRY,
    "crash_null": UNAVAILABLE_RETRY,
    "crash_code": UNAVAILABLE_RETRY,
    "engine_fetch_failed": UNAVAILABLE_RETRY,
    "engine_stream_error": UNAVAILABLE_RETRY,
    "channel_error": UNAVAILABLE_RETRY,
    "responses_internal_error": UNAVAILABLE_RETRY,
    "overflow_early": OVERFLOW,
    "overflow_n_keep": OVERFLOW,
    "overflow_mid_2026": OVERFLOW,
    "overflow_without_numbers": OVERFLOW,
    "responses_overflow": OVERFLOW,
    "native_overflow": OVERFLOW,
    "overflow_exceeded": OVERFLOW,
    "overflow_llama_cpp": OVERFLOW,
    "overflow_mid_generation": OVERFLOW,
    "token_missing": UNAUTHORISED,
    "token_malformed": UNAUTHORISED,
    "token_without_mcp": UNAUTHORISED,
    "native_unknown_key": INVALID,
    "native_reasoning_value": INVALID,
    "native_missing_field": INVALID,
    "native_stale_response": INVALID,
    "responses_stale_response": INVALID,
    "json_object": INVALID,
    "tool_choice_object": INVALID,
    "malformed_messages": INVALID,
    "image_url": INVALID,
    "no_vision": INVALID,
    "embeddings_token_ids": INVALID,
    "embeddings_by_llm": INVALID,
}
"""What each row of the catalogue is to us; a row that is missing here fails its test."""

WORDS_UNKNOWN = {"token_without_mcp"}
"""Cases of which only the status is known, so that only that tells what they are."""

NUMBERS = {
    "overflow_early": (5228, 4096),
    "overflow_n_keep": (13575, 4096),
    "overflow_mid_2026": (5228, 4096),
    "overflow_llama_cpp": (5228, 4096),
    "overflow_mid_generation": (None, 4096),
    "overflow_without_numbers": (None, None),
}


@pytest.mark.parametrize("case", CATALOGUE, ids=str)
def test_every_row_of_the_catalogue(case: ErrorCase) -> None:
    """Each of LM Studio's errors, word for word in its envelope, is the typed error that it means."""
    error = failure(case.status, case.body, {})
    assert (error.code, error.retryable) == EXPECTED[case.name]
    assert (error.status, error.message) == (case.status, case.message)


@pytest.mark.parametrize("case", [case for case in CATALOGUE if case.name not in WORDS_UNKNOWN], ids=str)
def test_every_row_inside_a_success(case: ErrorCase) -> None:
    """The same words mean the same inside a 200 and in an event of a stream, in the envelope that events have."""
    event = json.dumps({"error": {"message": case.message}, "message": case.message}).encode()
    for body in (case.body, event):
        for began in (False, True):
            error = failure_in_success(body, began=began)
            assert (error.code, error.retryable) == EXPECTED[case.name]


@pytest.mark.parametrize(("name", "numbers"), NUMBERS.items())
def test_the_numbers_of_an_overflow(name: str, numbers: tuple[int | None, int | None]) -> None:
    """How much was sent and how much fits is read from whichever wording tells it."""
    case = next(case for case in CATALOGUE if case.name == name)
    error = failure(case.status, case.body, {})
    assert (error.prompt_tokens, error.context_length) == numbers  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable"),
    [
        (307, b"", "CONFIGURATION", False),
        (400, b"", "MODEL_INVALID_REQUEST", False),
        (401, b"", "MODEL_AUTHENTICATION", False),
        (402, b"", "MODEL_QUOTA_EXCEEDED", False),
        (403, b"", "MODEL_AUTHENTICATION", False),
        (404, b'{"error":{"message":"File Not Found","code":404}}', "MODEL_INVALID_REQUEST", False),
        (404, b'{"error":{"message":"gone","code":"model_not_found"}}', "MODEL_NOT_FOUND", False),
        (408, b"", "MODEL_TIMEOUT", True),
        (413, b"<html><title>413 Request Entity Too Large</title>", "MODEL_CONTEXT_LENGTH", False),
        (422, b'{"detail":"no"}', "MODEL_INVALID_REQUEST", False),
        (429, b"", "MODEL_RATE_LIMITED", True),
        (429, b'{"error":{"message":"pay","code":"insufficient_quota"}}', "MODEL_QUOTA_EXCEEDED", False),
        (500, b"\xff\xfe", "MODEL_UNAVAILABLE", True),
        (502, b"<html><head><title>502 Bad Gateway</title></head>", "MODEL_UNAVAILABLE", True),
        (
            503,
            b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
            "MODEL_UNAVAILABLE",
            True,
        ),
        (504, b"[1]", "MODEL_TIMEOUT", True),
        (400, b'{"error":"Error loading model: bad magic"}', "MODEL_INVALID_REQUEST", False),
        (400, b'{"error":"The model is loading"}', "MODEL_UNAVAILABLE", True),
        (401, b'{"error":"API key is required"}', "MODEL_AUTHENTICATION", False),
        (402, b'{"error":"Payment is required"}', "MODEL_QUOTA_EXCEEDED", False),
        (503, b'{"error":"A restart is required"}', "MODEL_UNAVAILABLE", True),
        (500, b'{"error":"\\"messages.content\\" is required"}', "MODEL_INVALID_REQUEST", False),
    ],
)
def test_status_where_the_words_say_nothing(status: int, body: bytes, code: str, retryable: bool) -> None:
    """Words that are not known leave it to the status."""
    error = failure(status, body, {})
    assert (error.code, error.retryable, error.status) == (code, retryable, status)


def test_a_page_of_a_proxy_is_named_not_quoted() -> None:
    """HTML is told by its title; nobody wants to read its source in an error."""
    error = failure(502, b"<html><head><title>502 Bad Gateway</title></head><body>...", {})
    assert "an HTML page titled '502 Bad Gateway'" in str(error)
    assert "<html" not in str(error)


def test_a_redirect_says_where_to() -> None:
    """A redirect is not followed, with our token in hand, but told."""
    assert "https://other/v1" in str(failure(301, b"", {"Location": "https://other/v1"}))


def test_the_unknown_route_is_a_configuration_error_even_as_a_success() -> None:
    """A wrong base URL answers 200 (LM Studio #618), which must not look like success."""
    body = b'{"error":"Unexpected endpoint or method. (POST /chat/completions)"}'
    assert failure_in_success(body).code == failure(404, body, {}).code == "CONFIGURATION"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty body"),
        (b" \n", "empty body"),
        (b'{"id":"x"}', "no 'choices'"),
        (b"<html><title>Welcome</title>", "HTML page titled 'Welcome'"),
        (b'{"error":{"message":"odd"}}', "odd"),
        (b"3", "not JSON"),
        (b"[" * 99999, "not JSON"),
    ],
)
def test_a_success_that_is_none(body: bytes, message: str) -> None:
    """A 200 of no known kind is malformed, and says what came."""
    error = failure_in_success(body)
    assert type(error) is MalformedResponseError
    assert message in error.message


NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2000),
        ({"Retry-After": "1.5"}, 1500),
        ({"Retry-After": "2", "retry-after-ms": "30"}, 30),
        ({"Retry-After": format_datetime(NOW.replace(second=7), usegmt=True)}, 7000),
        ({"Retry-After": format_datetime(NOW.replace(hour=1), usegmt=True)}, 0),
        ({"Retry-After": "Wed, 01 Apr 2026 12:00:07 -0000"}, 7000),
        ({"Retry-After": "Wed, 01 Apr 2026 12:00:07"}, 7000),
        ({"Retry-After": "Mon, 01 Jan 0001 00:00:00 -0000"}, 0),
        ({"Retry-After": "Mon, 01 Jan 99999 00:00:00 GMT"}, None),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    """Seconds, dates and milliseconds are understood; nonsense is as if nothing was said."""
    assert retry_after_ms(headers, NOW.timestamp()) == expected
    assert failure(429, b"", headers, NOW.timestamp()).retry_after_ms == expected


def test_numbers_that_cannot_be_numbers_of_tokens() -> None:
    """A field that holds no number above zero leaves it to the words; what neither tells is not known."""
    body = b'{"error":{"message":"n_keep: 7 >= n_ctx: 0","n_ctx":true,"n_prompt_tokens":-1,"context_length":"much"}}'
    error = failure(400, body, {})
    assert (error.prompt_tokens, error.context_length) == (7, None)  # type: ignore[attr-defined]


def test_what_is_nested_deep_is_not_kept() -> None:
    """An error goes into logs and to other processes: what they could not write again is left out."""
    deep = "[" * 100 + "]" * 100
    error = failure(400, f'{{"error":{{"message":{deep},"code":"model_not_found","param":{deep}}}}}'.encode(), {})
    assert (error.code, error.details) == ("MODEL_NOT_FOUND", {"code": "model_not_found"})
    assert error.message == "the server gave a code and no words"


@pytest.mark.parametrize(("said", "retryable"), [("true", True), ("false", False)])
def test_x_should_retry_wins(said: str, retryable: bool) -> None:
    """A proxy that knows better is believed."""
    assert failure(503, b"", {"x-should-retry": said}).retryable is retryable
    assert failure(400, b"", {"x-should-retry": said}).retryable is retryable
