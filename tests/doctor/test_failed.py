"""What a failed request is taken for, and what circuit breakers make of it."""

from __future__ import annotations

import pytest

from neuroroute import LMStudioAdapter, errors
from neuroroute.details import ModelDetails, ModelInstance
from neuroroute.doctor import RULES, examine_breakers
from neuroroute.doctor.breakers import of_failures
from neuroroute.doctor.failed import code_of, of_error, with_model
from neuroroute.errors import (
    ConfigurationError,
    LMStudioError,
    MalformedResponseError,
    ModelAuthenticationError,
    ModelContextLengthError,
    ModelEmptyResponseError,
    ModelInvalidRequestError,
    ModelQuotaExceededError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
)

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LMStudioError)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_taken_for_something(kind):
    """There is no error of ours without a finding, and no finding without a rule."""
    found = of_error(kind("it went wrong"), "completion")
    assert found.code in RULES
    assert found.level in ("problem", "warning", "hint")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelAuthenticationError("no", status=401), "token-refused"),
        (ModelRateLimitedError("no"), "rate-limited"),
        (ModelQuotaExceededError("no"), "quota-exceeded"),
        (ModelEmptyResponseError("no"), "answer-empty"),
        (ConfigurationError("Unexpected endpoint or method"), "url-wrong-path"),
        (ModelUnavailableError("loading model", details={"reason": "loading"}), "model-loading"),
        (ModelUnavailableError("not enough memory", details={"reason": "load_failed"}), "memory-short"),
        (ModelUnavailableError("bad file", details={"reason": "load_failed"}), "model-load-failed"),
        (ModelUnavailableError("502"), "server-error"),
    ],
)
def test_errors_are_told_apart(error, expected):
    """The kind of an error, and the reason where the server told one, say what is wrong."""
    assert code_of(error) == expected


def test_words_of_the_server_are_short_and_never_about_tokens():
    """Long words are cut; what the server says of a token is left out, since it may show some of it."""
    long = of_error(ModelInvalidRequestError("so " * 200), "stream")
    assert len(long.what) <= 160
    refused = of_error(ModelAuthenticationError("Malformed token: sk-lm-canary", status=401), "stream")
    assert refused.what == "the server refused the request (401)"


@pytest.mark.parametrize(
    ("most", "loaded", "do"),
    [
        (32768, 64, "`lms unload m:2`, then `lms load m --context-length 8192`."),
        (32768, 8192, "`lms unload m:2`, then `lms load m --context-length 16384`."),
        (2048, 64, "`lms unload m:2`, then `lms load m --context-length 2048`."),
        (2048, 2048, "It has all the context that it can have, 2048 tokens: send less, or take another model."),
        (None, None, "`lms unload m:2`, then `lms load m --context-length 8192`."),
    ],
)
def test_more_context_is_advised_as_it_can_be_had(most, loaded, do):
    """Unloaded first, since loading again makes a second copy; never more than the model can, nor what it has."""
    copies = (ModelInstance(id="m:2", context_length=loaded),)
    model = ModelDetails(key="m", source="v1", max_context_length=most, instances=copies)
    finding = of_error(ModelContextLengthError("too long"), "stream")
    assert with_model(finding, model, "m:2").do == do


def test_failures_that_count_open_a_breaker():
    """What the server's side fails is counted, with the first as the cause; a caller's mistake is not."""
    assert [one.code for one in of_failures([])] == ["breaker-closed"]
    assert [one.code for one in of_failures([ModelInvalidRequestError("no"), ModelRateLimitedError("no")])] == [
        "breaker-closed"
    ]
    assert [one.code for one in of_failures([NetworkError("no")])] == ["breaker-would-open"]
    several = of_failures([ModelInvalidRequestError("no"), ModelTimeoutError("no"), MalformedResponseError("no")])
    assert [one.code for one in several] == ["breaker-would-open", "root-cause"]
    assert several[1].what == "the first of 2 failures was MODEL_TIMEOUT (no-answer-in-time)"


async def test_breakers_of_a_running_adapter():
    """Each breaker that is not closed is a problem, by model and host; none is well."""
    async with LMStudioAdapter("llama3", base_url="127.0.0.1:9") as adapter:
        assert [one.code for one in examine_breakers(adapter.hosts)] == ["breaker-closed"]
        adapter.breaker.force_open()
        (found,) = examine_breakers(adapter.hosts)
    assert found.what == "the circuit breaker of llama3 at 127.0.0.1:9 is open"
