"""How the program ends: one small table from an error's code to the exit code, and the words for an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from neuroroute.errors import LMStudioError

if TYPE_CHECKING:
    from neuroroute.responses import ModelResponse

OK, FAILED, MISUSED, UNREACHABLE, INTERRUPTED, CUT_OFF, TERMINATED = 0, 1, 2, 3, 130, 141, 143

MEANINGS = (
    (OK, "it worked"),
    (FAILED, "the model or its server failed, or the output cannot be written"),
    (MISUSED, "wrong usage or configuration: options, address, token, extras"),
    (UNREACHABLE, "the server cannot be reached, or did not answer in time"),
    (INTERRUPTED, "interrupted with Ctrl-C"),
    (CUT_OFF, "whoever read the output left, as in `| head`"),
    (TERMINATED, "told to end (SIGTERM)"),
)

_BY_CODE = {
    "CONFIGURATION": MISUSED,
    "MODEL_AUTHENTICATION": MISUSED,
    "NETWORK_ERROR": UNREACHABLE,
    "MODEL_TIMEOUT": UNREACHABLE,
}


def _seconds(found: re.Match[str]) -> str:
    return f"{float(found[1]) / 1000:.15g} s"


def _given_seconds(found: re.Match[str]) -> str:
    return f"{_seconds(found)} (--timeout)"


_HINTS = {
    "NETWORK_ERROR": "Start LM Studio's server (its Developer page, or `lms server start`), name another address with "
    "--url, or do without it: --engine embedded.",
    "MODEL_TIMEOUT": "Allow more with --timeout SECONDS, or look at LM Studio: is it still loading the model?",
    "STREAM_INTERRUPTED": "Only a part of the answer came. Ask again.",
    "MALFORMED_RESPONSE": "Does the address lead to LM Studio itself? See --url and LMSTUDIO_URL.",
}
"""What to do next at a command line, where the library speaks of its parameters."""

_WORDS: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"the request has (\d+) bytes, more than max_request_bytes=(\d+)", r"the input is too large: \1 bytes of \2"),
        (r", or raise max_request_bytes", ""),
        (r"\btimeout_ms=([\d.]+)\b", _given_seconds),
        (r"\b\w+_timeout_ms=([\d.]+)\b", _seconds),
        (r"\b([\d.]+) ms\b", _seconds),
        (r"\btimeout_ms\b", "--timeout"),
        (r"EmbeddedEngine\(model_path=\.\.\.\)", "neuroroute engine --model-file FILE"),
        (r"\bmodel_path\b", "--model-file"),
        (r"\bbase_url\b", "--url"),
        (r"\bmax_tokens\b", "--max-tokens"),
        (r"Give api_token=\.\.\. or set LM_API_TOKEN", "Set LM_API_TOKEN"),
        (r"give the token as api_token", "set LM_API_TOKEN to the token"),
    )
)
"""What the library calls by names of its own, and what it is called at a command line."""


def exit_code(error: LMStudioError) -> int:
    """What the program exits with after this error."""
    if error.code == "MODEL_INVALID_REQUEST" and error.status is None:  # ours: nothing was sent
        return MISUSED
    return _BY_CODE.get(error.code, FAILED)


def hint(error: LMStudioError) -> str:
    """What to do next."""
    return _HINTS.get(error.code, _worded(error.hint)) if error.hint == error.default_hint else _worded(error.hint)


def _worded(text: str) -> str:
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text


class Terminated(SystemExit):
    """SIGTERM came. An exception, so that whoever changed the terminal puts it back, and the server sees us leave."""


def explained(error: LMStudioError) -> str:
    """What happened, and on a line of its own what to do next."""
    message = _worded(error.message)
    message = message if message.endswith((".", "!", "?")) else message + "."
    where = " at ".join(part for part in (error.model, error.host) if part)
    tried = f"tried {error.attempts} times" if error.attempts > 1 else ""
    beside = ", ".join(part for part in (where, tried) if part)
    next_step = hint(error)
    return f"{error.code}: {message}" + (f" ({beside})" if beside else "") + (f"\n{next_step}" if next_step else "")


def as_object(error: LMStudioError) -> dict[str, Any]:
    """The error for machines, with what had been received."""
    told = {
        "code": error.code,
        "message": _worded(error.message),
        "hint": hint(error),
        "retryable": error.retryable,
        "retry_after_ms": error.retry_after_ms,
        "status": error.status,
        "model": error.model,
        "host": error.host,
        "attempts": error.attempts,
    }
    return {
        "error": told,
        "text": error.partial.text if error.partial else "",
        "model": error.model,
        "host": error.host,
    }


def stopped(code: int, partial: ModelResponse | None) -> dict[str, Any]:
    """What :func:`as_object` would be for somebody who stopped us.

    Args:
        code: the exit code.
        partial: what had been received.
    """
    error = LMStudioError(dict(MEANINGS)[code])
    if partial is not None:
        error.partial, error.model, error.host = partial, partial.model or None, partial.host or None
    told = as_object(error)
    told["error"]["code"] = "INTERRUPTED" if code == INTERRUPTED else "TERMINATED"
    return told
