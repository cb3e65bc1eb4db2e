"""Events as records of the standard library's logging."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

from neuroroute.errors import ModelContentFilteredError
from neuroroute.pipe import events as told
from neuroroute.pipe.events import Event
from neuroroute.telemetry.content import Redact, careful, shown
from neuroroute.telemetry.fields import error_of, fields_of


class LoggingObserver:
    """Logs what happens, each event as one record with its facts as fields.

    ::

        logging.basicConfig(level=logging.INFO)
        adapter = LMStudioAdapter("llama3", observers=[LoggingObserver()])

    Answers are ``INFO``, back-offs and failovers ``WARNING``, requests that failed, breakers that opened and hosts that
    went down ``ERROR``, everything else ``DEBUG`` or ``INFO``. Fields are attributes of the record: ``request_id``,
    ``model``, ``host``, ``attempt``, ``duration_ms``, ``ttft_ms``, ``prompt_tokens``, ``completion_tokens``,
    ``finish_reason``, ``code``, ``status``, ``breaker_state``, ``cached`` and more; those that an event has not are
    absent.
    """

    def __init__(
        self, *, log_content: bool = False, redact: Redact | None = None, logger: logging.Logger | None = None
    ) -> None:
        """Logs from now on.

        Args:
            log_content: whether prompts, answers, tool arguments and results, and the words of errors, which may quote
                them, are logged, too.
            redact: is given each text of these, and gives what may be logged of it.
            logger: where to. Default: ``neuroroute``.
        """
        self.wants_content = log_content
        self._redact = careful(redact)
        self._logger = logger or logging.getLogger("neuroroute")

    def __call__(self, event: Event) -> None:
        """Logs an event."""
        level, words, args = _WORDS.get(type(event), _anything)(event)
        if not self._logger.isEnabledFor(level):
            return
        fields = fields_of(event)
        if self.wants_content:
            content = self._content(event)
            fields |= content
            if content:
                words, args = f"{words}: %s", (*args, json.dumps(content, ensure_ascii=False))
        self._logger.log(level, words, *args, extra=fields)

    def _content(self, event: Event) -> dict[str, Any]:
        """What was said, and the words of an error."""
        if isinstance(event, told.PromptSent):
            return {"messages": shown(event.messages, self._redact)}
        if isinstance(event, told.AnswerReceived):
            said = {"text": event.text, "reasoning": event.reasoning, "tool_calls": event.tool_calls}
            return {name: shown(value, self._redact) for name, value in said.items() if value}
        error = error_of(event)
        return {} if error is None else {"error": self._redact(error.message)}


class JSONFormatter(logging.Formatter):
    """Each record as one line of JSON: ``time`` (UTC), ``level``, ``logger``, ``message``, and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


_OWN = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime"))
"""Attributes that every record has."""


Words: TypeAlias = tuple[int, str, tuple[Any, ...]]
"""Level, text, and what goes into it."""


def _anything(event: Event) -> Words:
    return logging.DEBUG, "%s: %s at %s", (type(event).__name__, event.model or "every model", event.host)


def _ended(event: told.RequestEnded) -> Words:
    if event.outcome == "failed":
        code = "" if event.error is None else event.error.code
        level = logging.WARNING if code == ModelContentFilteredError.code else logging.ERROR
        return level, "%s failed after %.0f ms: %s", (event.model, event.duration_ms, code)
    if event.outcome == "left":
        return logging.INFO, "%s at %s was left after %.0f ms", (event.model, event.host, event.duration_ms)
    return logging.INFO, "%s at %s answered in %.0f ms", (event.model, event.host, event.duration_ms)


def _backing_off(event: told.BackingOff) -> Words:
    what = "attempt %d of %s at %s failed (%s), the next in %.0f ms"
    return logging.WARNING, what, (event.attempt, event.model, event.host, event.error.code, event.delay_ms)


def _breaker(event: told.BreakerChanged) -> Words:
    level = {"open": logging.ERROR, "half_open": logging.INFO, "closed": logging.INFO}[event.after]
    return level, "the circuit breaker of %s at %s is %s", (event.model, event.host, event.after)


def _host(event: told.HostChanged) -> Words:
    return logging.ERROR if event.after == "down" else logging.INFO, "%s is %s", (event.host, event.after)


def _failed_over(event: told.FailedOver) -> Words:
    return logging.WARNING, "%s failed (%s), %s is asked", (event.host, event.error.code, event.to)


def _continued(event: told.StreamContinued) -> Words:
    return (
        logging.WARNING,
        "a stream of %s broke off (%s), and goes on at %s",
        (event.model, event.error.code, event.host),
    )


def _tool(event: told.ToolRan) -> Words:
    level = logging.INFO if event.code is None else logging.WARNING
    return level, "tool %s took %.0f ms: %s", (event.name or "unknown", event.duration_ms, event.code or "ok")


def _cache(event: told.CacheLooked | told.CacheStored) -> Words:
    # A failure is a warning in the log already, whoever listens.
    did = "look" if isinstance(event, told.CacheLooked) else "put"
    return logging.DEBUG, "cache %s for %s: %s", (did, event.model, event.outcome)


def _guard(event: told.GuardRefused) -> Words:
    what = "the guard %s %s the %s of %s"
    did = "failed at" if event.failed else "refused"
    of = "request" if event.stage == "before" else "answer"
    return logging.ERROR if event.failed else logging.WARNING, what, (event.guard, did, of, event.model)


def _plainly(level: int, what: str) -> Callable[[Event], Words]:
    return lambda event: (level, what, (event.model, event.host))


_WORDS: dict[type[Event], Callable[[Any], Words]] = {
    told.RequestEnded: _ended,
    told.BackingOff: _backing_off,
    told.BreakerChanged: _breaker,
    told.HostChanged: _host,
    told.FailedOver: _failed_over,
    told.StreamContinued: _continued,
    told.ToolRan: _tool,
    told.CacheLooked: _cache,
    told.CacheStored: _cache,
    told.GuardRefused: _guard,
    told.Hedged: _plainly(logging.INFO, "%s at %s is late, and asked a second time"),
    told.ModelLoading: _plainly(logging.INFO, "%s is being loaded at %s"),
    told.ModelReloaded: _plainly(logging.WARNING, "%s was gone from %s, and was loaded again"),
    told.ModelLoaded: _plainly(logging.INFO, "%s was loaded at %s"),
    told.ModelUnloaded: _plainly(logging.INFO, "%s was unloaded at %s"),
    told.ModelDownloaded: _plainly(logging.INFO, "%s was downloaded at %s"),
    told.CallsSalvaged: _plainly(logging.INFO, "calls of %s at %s were taken out of its text"),
    told.PromptSent: _plainly(logging.INFO, "%s at %s was asked"),
    told.AnswerReceived: _plainly(logging.INFO, "%s at %s said"),
}
