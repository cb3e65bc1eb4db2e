"""PURE: what a failed request says of the server, the model, or the way between."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from neuroroute.details import ModelDetails
from neuroroute.doctor.codes import Check
from neuroroute.doctor.findings import Finding, found
from neuroroute.errors import (
    ConfigurationError,
    LMStudioError,
    MalformedResponseError,
    ModelAuthenticationError,
    ModelContextLengthError,
    ModelEmptyResponseError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    StreamInterruptedError,
    StructuredOutputError,
)

_KINDS: Final[tuple[tuple[type[LMStudioError], str], ...]] = (
    (ModelAuthenticationError, "token-refused"),
    (ModelNotFoundError, "model-not-found"),
    (ModelContextLengthError, "context-too-small"),
    (ModelTimeoutError, "no-answer-in-time"),
    (ModelRateLimitedError, "rate-limited"),
    (ModelQuotaExceededError, "quota-exceeded"),
    (ModelEmptyResponseError, "answer-empty"),
    (StructuredOutputError, "structured-not-kept"),
    (StreamInterruptedError, "stream-broken"),
    (MalformedResponseError, "answer-malformed"),
    (NetworkError, "connection-lost"),
    (ConfigurationError, "url-wrong-path"),
    (ModelInvalidRequestError, "request-refused"),
    (ModelUnavailableError, "server-error"),
)

_REASONS: Final = {
    "no_models": "model-not-loaded",
    "load_failed": "model-load-failed",
    "loading": "model-loading",
    "unloaded": "model-unloaded",
    "crashed": "model-crashed",
    "engine": "engine-failed",
}

_MOST = 160
_ENOUGH = 8192
"""Tokens of context."""


def code_of(error: LMStudioError) -> str:
    """The code of the finding for an error."""
    if isinstance(error, ModelUnavailableError) and error.reason is not None:
        if error.reason == "load_failed" and ("insufficient" in error.message or "memory" in error.message.lower()):
            return "memory-short"
        return _REASONS[error.reason]
    return next((code for kind, code in _KINDS if isinstance(error, kind)), "server-error")


def of_error(error: LMStudioError, check: Check) -> Finding:
    """The finding for an error that a trial met, in the server's words where they say more than ours.

    Args:
        error: how the trial failed.
        check: which trial.
    """
    code = code_of(error)
    if isinstance(error, ModelAuthenticationError):  # in no words of the server's, which may show a part of the token
        return found(code, check, f"the server refused the request ({error.status or 'no status'})")
    what = " ".join(error.message.split()).rstrip(".")
    what = what if len(what) <= _MOST else f"{what[: _MOST - 1]}…"
    do = {
        "model-not-found": "`neuroroute models` lists those it has.",
        "model-not-loaded": "Load one: `lms load MODEL`.",
        "url-wrong-path": "Does --url lead to LM Studio itself? It is mostly http://localhost:1234/v1.",
    }.get(code)
    return found(code, check, what, do=do)


def of_load(error: LMStudioError) -> Finding:
    """The finding for a model that could not be loaded; the limit of a load is none that --timeout sets."""
    finding = of_error(error, "models")
    if finding.code != "no-answer-in-time":
        return finding
    do = "Load it first: `lms load MODEL` waits as long as it takes. Or take a smaller model."
    return msgspec.structs.replace(finding, do=do)


def with_model(finding: Finding, model: ModelDetails, model_id: str) -> Finding:
    """The finding with this model in its commands.

    Args:
        finding: whose commands may say ``MODEL``.
        model: the one that was asked.
        model_id: what it was asked as, which may be the name of a copy.
    """
    do = finding.do
    if finding.code == "context-too-small":
        do = _larger_context(model)
    do = re.sub(r"\blms load MODEL\b", lambda _: f"lms load {model.key}", do)
    return msgspec.structs.replace(finding, do=re.sub(r"\bMODEL\b", lambda _: model_id, do))


def _larger_context(model: ModelDetails) -> str:
    most = model.max_context_length
    loaded = max((copy.context_length or 0 for copy in model.instances), default=model.context_length or 0)
    if most and loaded >= most:
        return f"It has all the context that it can have, {most} tokens: send less, or take another model."
    # Loading what is loaded makes a second copy.
    length = min(most or _ENOUGH, max(_ENOUGH, 2 * loaded))
    return f"`lms unload MODEL`, then `lms load MODEL --context-length {length}`."
