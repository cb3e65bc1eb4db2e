"""How the program ends: one small table from an error's code to the exit code, and the words for an error."""

from __future__ import annotations

from typing import Any

from neuroroute.errors import LMStudioError

OK, FAILED, MISUSED, UNREACHABLE, INTERRUPTED, CUT_OFF, TERMINATED = 0, 1, 2, 3, 130, 141, 143

MEANINGS = (
    (OK, "it worked"),
    (FAILED, "the model or its server failed"),
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

_HINTS = {
    "NETWORK_ERROR": "Start LM Studio's server (its Developer page, or `lms server start`), name another address with "
    "--url, or do without it: --engine embedded.",
    "MODEL_TIMEOUT": "Allow more with --timeout SECONDS, or look at LM Studio: is it still loading the model?",
    "STREAM_INTERRUPTED": "What came so far is above. Ask again.",
    "MALFORMED_RESPONSE": "Does the address lead to LM Studio itself? See --url and LMSTUDIO_URL.",
}
"""What to do next at a command line, where the library speaks of its parameters."""


def exit_code(error: LMStudioError) -> int:
    """What the program exits with after this error."""
    if error.code == "MODEL_INVALID_REQUEST" and error.status is None:  # ours: nothing was sent
        return MISUSED
    return _BY_CODE.get(error.code, FAILED)


def hint(error: LMStudioError) -> str:
    """What to do next."""
    return _HINTS.get(error.code, error.hint) if error.hint == error.default_hint else error.hint


def explained(error: LMStudioError) -> str:
    """What happened, and on a line of its own what to do next."""
    message = error.message if error.message.endswith((".", "!", "?")) else error.message + "."
    where = " at ".join(part for part in (error.model, error.host) if part)
    tried = f"tried {error.attempts} times" if error.attempts > 1 else ""
    beside = ", ".join(part for part in (where, tried) if part)
    next_step = hint(error)
    return f"{error.code}: {message}" + (f" ({beside})" if beside else "") + (f"\n{next_step}" if next_step else "")


def as_object(error: LMStudioError) -> dict[str, Any]:
    """The error for machines; ``text`` is what had been received, where anything was."""
    told: dict[str, Any] = {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": hint(error),
            "retryable": error.retryable,
            "retry_after_ms": error.retry_after_ms,
            "status": error.status,
            "model": error.model,
            "host": error.host,
            "attempts": error.attempts,
        }
    }
    if error.partial is not None:
        told["text"] = error.partial.text
    return told
