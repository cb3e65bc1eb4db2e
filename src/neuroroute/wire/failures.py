"""A server's failure as a typed error: by what it says first, by its status where the words are not known.

LM Studio answers almost every failure with a 400, some with a 200, and its words change from version to version; the
rows below are matched in order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from neuroroute.errors import (
    ConfigurationError,
    LMStudioError,
    MalformedResponseError,
    ModelAuthenticationError,
    ModelContextLengthError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ModelUnavailableError,
    StreamInterruptedError,
    UnavailableReason,
)
from neuroroute.jsontypes import is_array, is_mapping

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON that was hoped for; the last for JSON nested too deep."""


_Reason: TypeAlias = UnavailableReason | Literal["stale_response", "remembers_nothing"]


class _Row(NamedTuple):
    words: re.Pattern[str]
    kind: type[LMStudioError]
    retryable: bool | None = None
    hint: str | None = None
    reason: _Reason | None = None


def _row(
    words: str,
    kind: type[LMStudioError],
    retryable: bool | None = None,
    hint: str | None = None,
    reason: _Reason | None = None,
) -> _Row:
    return _Row(re.compile(words, re.IGNORECASE | re.DOTALL), kind, retryable, hint, reason)


def _unavailable(reason: UnavailableReason, words: str, retryable: bool | None = None, hint: str | None = None) -> _Row:
    return _row(words, ModelUnavailableError, retryable, hint, reason)


_LOAD = "Load a model in LM Studio's developer page, or with `lms load`."
_MEMORY = "Free memory (unload another model), or choose a smaller model or quantization."
_WHOLE = "Leave previous out, and give the whole history as messages."
_VISION = "Choose a model that sees images, or leave the images out."
_URL = "base_url must lead to LM Studio's OpenAI-compatible API, such as http://localhost:1234/v1."

_CONTEXT_WORDS = (
    r"tokens to keep from the initial prompt|keep the first \d+ tokens when context|n_keep.*n_ctx"
    r"|context size has been exceeded|exceed_context_size|exceeds the available context size|reached context length of"
    r"|context_length_exceeded|maximum context length"
)

_ROWS = (
    _row(r"unexpected endpoint or method", ConfigurationError, hint=_URL),
    _row(_CONTEXT_WORDS, ModelContextLengthError),
    _row(r"""invalid model identifier|model (["'].*["'] )?not found""", ModelNotFoundError),
    _unavailable("no_models", r"no models? loaded", False, _LOAD),
    _row(
        r"model is not embedding|does not support embeddings",
        ModelInvalidRequestError,
        hint="Give embed(model=...) an embedding model.",
    ),
    _unavailable("load_failed", r"failed to load model.*insufficient system resources", False, _MEMORY),
    _unavailable("load_failed", r"failed to load model.*(out of|enough|unable to allocate) .*memory", False, _MEMORY),
    _unavailable("load_failed", r"failed to load model"),
    _unavailable("unloaded", r"model (was )?(reloaded|unloaded)"),
    _unavailable("engine", r"engine protocol|channel error"),
    _unavailable("crashed", r"model has crashed"),
    _unavailable("loading", r"^loading model|model is loading"),
    _row(r"api token is required|malformed lm studio api token", ModelAuthenticationError),
    _row(r"vision add-on is not loaded|image input is not supported", ModelInvalidRequestError, hint=_VISION),
    _row(
        r"could not find stored response|previous_response_not_found|build chat history chain",
        ModelInvalidRequestError,
        hint=_WHOLE,
        reason="stale_response",
    ),
    _row(  # llama.cpp's, of /v1/responses
        r"not support '?previous_response_id", ModelInvalidRequestError, hint=_WHOLE, reason="remembers_nothing"
    ),
    _row(
        r"response_format\.type' must be|invalid tool_choice type|invalid 'messages' in payload"
        r"|must be a base64 encoded image|'input' field must be|unrecognized key|reasoning setting .* is not supported"
        r'|^"[\w.]+" is required$',
        ModelInvalidRequestError,
    ),
)

_CODES: dict[str, type[LMStudioError]] = {
    "model_not_found": ModelNotFoundError,
    "invalid_api_key": ModelAuthenticationError,
    "insufficient_quota": ModelQuotaExceededError,
    "exceed_context_size_error": ModelContextLengthError,
    "context_length_exceeded": ModelContextLengthError,
}

_TYPES: dict[str, type[LMStudioError]] = {
    "invalid_request": ModelInvalidRequestError,
    "mcp_connection_error": ModelInvalidRequestError,
    "plugin_connection_error": ModelInvalidRequestError,
    "not_implemented": ModelInvalidRequestError,
    "internal_error": ModelUnavailableError,
    "unknown": ModelUnavailableError,
    "server_error": ModelUnavailableError,
}
"""Types or codes of an error event of ``/api/v1/chat`` or ``/v1/responses``, which has no status to go by."""

_STATUS: dict[int, type[LMStudioError]] = {
    401: ModelAuthenticationError,
    402: ModelQuotaExceededError,
    403: ModelAuthenticationError,
    408: ModelTimeoutError,
    413: ModelContextLengthError,
    429: ModelRateLimitedError,
    504: ModelTimeoutError,
}


def failure(status: int, body: bytes, headers: Mapping[str, str], now: float = 0.0) -> LMStudioError:
    """The typed error of an answer whose status is not a success.

    Args:
        status: the HTTP status, 300 or more.
        body: whatever came: either envelope, HTML of a proxy, nothing.
        headers: for ``Retry-After``, ``retry-after-ms`` and ``x-should-retry``; looked up regardless of case.
        now: seconds since the epoch, for a ``Retry-After`` that is a date.
    """
    said = _read(body)
    error = _known(said)
    if error is None:
        kind = _STATUS.get(status) or _by_hundreds(status)
        error = kind(said.message or f"the server answered {status} without saying why", details=said.details)
        if kind is ConfigurationError:
            to = headers.get("Location", "another address").encode("utf-8", "replace").decode()
            error.message = f"the server redirects to {to}"
            error.hint = "Use that address as base_url."
        elif status in (404, 405):
            error.hint = _URL
    error.status = status
    error.retry_after_ms = retry_after_ms(headers, now)
    if (should := headers.get("x-should-retry")) in ("true", "false"):
        error.retryable = should == "true"
    return error


def failure_in_success(body: bytes, *, why: str = "it has no 'choices'", began: bool = False) -> LMStudioError:
    """The typed error of a 200, or of an event of a stream, that is no answer.

    Args:
        body: the whole body, or the data of the event.
        why: what is wrong with it, if it is not an error in disguise.
        began: chunks of the answer came before it.
    """
    said = _read(body)
    error = _known(said)
    if error is None:
        if said.is_error and began:
            error = StreamInterruptedError(f"the server broke off: {said.message}", details=said.details)
        elif said.is_error and (kind := _kind_of(said)) is not None:
            error = kind(said.message or "the server gave a type and no words", details=said.details)
        elif said.is_error:
            error = MalformedResponseError(f"a success with an error in it: {said.message}", details=said.details)
        elif not body.strip():
            error = MalformedResponseError("a success with an empty body")
        elif body.lstrip()[:1] == b"{":
            error = MalformedResponseError(f"the answer does not decode: {why}")
        else:
            # It may be an answer after all, in a form that is not ours: its text goes into no message.
            what = said.message[:80] if body.lstrip()[:1] == b"<" else f"{len(body)} bytes of something else"
            error = MalformedResponseError(f"the answer is not JSON ({what})")
    error.status = 200
    return error


def _kind_of(said: _Said) -> type[LMStudioError] | None:
    return _TYPES.get(str(said.details.get("type"))) or _TYPES.get(str(said.details.get("code")))


def is_stale(error: LMStudioError) -> bool:
    """Whether the server does not remember the answer that was to be gone on from."""
    return error.details.get("reason") in ("stale_response", "remembers_nothing")


def remembers_nothing(error: LMStudioError) -> bool:
    """Whether the server remembers no answer at all."""
    return error.details.get("reason") == "remembers_nothing"


def retry_after_ms(headers: Mapping[str, str], now: float) -> float | None:
    """How long the server asks to wait: ``retry-after-ms``, else ``Retry-After`` in seconds or as a date."""
    for name, unit in (("retry-after-ms", 1.0), ("Retry-After", 1000.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            wait = float(value) * unit
        except ValueError:
            try:
                date = parsedate_tz(value)  # without a zone, and with -0000, it is UTC
                wait = math.nan if date is None else (mktime_tz(date) - now) * 1000
            except (ValueError, OverflowError):
                continue
        if math.isfinite(wait):
            return max(0.0, wait)
    return None


class _Said(NamedTuple):
    """What a body says of its failure."""

    message: str
    is_error: bool
    details: dict[str, Any]


def _read(body: bytes) -> _Said:
    try:
        found = msgspec.json.decode(body)
    except UNDECODABLE:
        return _Said(_plain(body), False, {})
    if not is_mapping(found):
        return _Said(_text(found), False, {})
    said = found.get("error")
    if is_mapping(said):
        message = said.get("message") or found.get("message") or ""
        return _Said(_text(message), True, _details(said, said.keys() - {"message"}))
    if said is not None and said is not False:
        return _Said(_text(said), True, {})
    message = found.get("message") or found.get("detail") or ""
    details = _details(found, {"type", "param", "code"})
    return _Said(_text(message), bool(message) and "choices" not in found, details)


_MOST = 2000


def _text(value: Any) -> str:
    return str(value)[:_MOST].strip() if _is_shallow(value) else ""


def _details(said: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key in keys and value is not None and _is_shallow(value)}


def _is_shallow(value: Any, levels: int = 20) -> bool:
    """Whether it can be written again wherever an error goes: what is nested deeper may not be, and says nothing."""
    inner = value.values() if is_mapping(value) else value if is_array(value) else ()
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)


def _plain(body: bytes) -> str:
    text = body[: 4 * _MOST].decode("utf-8", "replace").strip()
    if text[:1] == "<":
        title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return "an HTML page" + (f" titled {title[1].strip()!r}" if title else "") + ", probably from a proxy"
    return text[:_MOST]


def _known(said: _Said) -> LMStudioError | None:
    row = next((row for row in _ROWS if row.words.search(said.message)), None)
    if row is None:
        kind = _CODES.get(str(said.details.get("code"))) or _CODES.get(str(said.details.get("type")))
        if kind is None:
            return None
        row = _Row(_ANY, kind)
    error = row.kind(said.message or "the server gave a code and no words", details=said.details)
    if row.retryable is not None:
        error.retryable = row.retryable
    if row.hint is not None:
        error.hint = row.hint
    if row.reason is not None:
        error.details = {**said.details, "reason": row.reason}
    if row.kind is ModelContextLengthError:
        error.details = {**said.details, **_numbers(said)}
    return error


_ANY = re.compile("")
_PROMPT_TOKENS = re.compile(r"(?:n_keep\D{1,3}|keep the first |request \()(\d+)")
_CONTEXT_LENGTH = re.compile(r"(?:n_ctx\D{1,3}|context length of (?:only )?|context size \()(\d+)")


def _numbers(said: _Said) -> dict[str, int | None]:
    """How much was sent and how much fits: from whichever field or wording tells a number of tokens."""
    numbers: dict[str, int | None] = {}
    for name, words, key in (
        ("prompt_tokens", _PROMPT_TOKENS, "n_prompt_tokens"),
        ("context_length", _CONTEXT_LENGTH, "n_ctx"),
    ):
        found = words.search(said.message)
        told = (said.details.get(key), said.details.get(name), int(found[1]) if found else None)
        numbers[name] = next((value for value in told if type(value) is int and value > 0), None)
    return numbers


def _by_hundreds(status: int) -> type[LMStudioError]:
    if status < 400:
        return ConfigurationError
    return ModelInvalidRequestError if status < 500 else ModelUnavailableError
