"""What the asynchronous and the blocking adapter have in common: how they are made, and all but the verbs that wait."""

from __future__ import annotations

import copy
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from inspect import iscoroutinefunction
from random import Random
from typing import Any, Self, Unpack, cast
from urllib.parse import urlsplit

from neuroroute.checks import InputChecks
from neuroroute.core import Core, SystemClock
from neuroroute.errors import ConfigurationError, ModelInvalidRequestError
from neuroroute.fleet.status import HostStatus, status_of
from neuroroute.hostlist import HostList
from neuroroute.jsontypes import is_text
from neuroroute.messages import AnyMessage
from neuroroute.options import DEFAULTS, RequestOptions, checked
from neuroroute.pipe.breaker import Breaker
from neuroroute.pipe.cache import ResponseCache
from neuroroute.pipe.events import Observer, is_observer
from neuroroute.pipe.guarding import Guard, is_guard
from neuroroute.pipe.host import Host
from neuroroute.pipe.policies import BreakerPolicy, RetryPolicy
from neuroroute.pipe.reply import Clock
from neuroroute.requests import ChatRequest
from neuroroute.settings import find_settings
from neuroroute.wire.encode import encode
from neuroroute.wire.requesting import chat_request


class Adapter:
    """What the asynchronous and the blocking adapter have in common: all but the verbs that wait."""

    def __init__(
        self,
        model_id: str,
        *,
        app: Any = None,
        base_url: HostList | None = None,
        api_token: str | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
        retry: RetryPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        checks: InputChecks | None = None,
        guards: Sequence[Guard] = (),
        cache: ResponseCache | None = None,
        slots: int | None = None,
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
        random: Random | None = None,
        max_request_bytes: int = 32 << 20,
        max_response_bytes: int = 64 << 20,
        **defaults: Unpack[RequestOptions],
    ) -> None:
        """Checks everything, connects nothing.

        Args:
            model_id: the model's key in LM Studio.
            app: a FastAPI or Starlette application, or anything with ``state``; if ``app.state.config_manager`` has
                ``get(key, default)``, sync or async, it is asked on first use for ``LMSTUDIO_URL`` and
                ``LMSTUDIO_TIMEOUT``.
            base_url: where the server is. Default: the configuration manager's, else ``LMSTUDIO_URL``, else
                ``http://localhost:1234/v1``; ``localhost:1234`` is enough. Several servers are a list of addresses or
                :class:`~neuroroute.HostSettings`, a text with commas between them, or the path of a TOML file.
            api_token: sent as a Bearer token. Default: ``LM_API_TOKEN``.
            tls: for https with certificates of your own.
            proxy: URL of an HTTP proxy; the environment's proxies are not used.
            retry: how retries wait; how many is ``max_retries``.
            breaker: when a host's model that fails is left alone, and for how long.
            checks: which messages and budgets are let through; default: all.
            guards: are asked before a request is sent and before its answer is handed out, in this order; each is a
                function ``(messages, options)``, or has ``before(messages, options)``, ``after(response)``, or both.
                They refuse with a reason, False, or an exception: a ModelContentFilteredError for the caller.
            cache: keeps answers, so that the same request is answered without the model: a
                :class:`~neuroroute.MemoryCache`, a :class:`~neuroroute.SQLiteCache`, or your own
                :class:`~neuroroute.ResponseCache`. Default: none. See ``cache_mode``.
            slots: how many requests a host takes at once for a model; more wait, up to 1000, in order. Default: as many
                as the server lists (LM Studio: 4).
            observers: are called with each :class:`~neuroroute.pipe.events.Event`, in the event loop's thread; what
                they do must not wait.
            clock: for tests; read and slept on for back-offs.
            random: for tests; the source of jitter.
            max_request_bytes: a larger body is refused before it is sent.
            max_response_bytes: a larger answer is refused as it comes.
            **defaults: options of :class:`~neuroroute.RequestOptions` for every call; a call's own value wins.

        Raises:
            TypeError: an unknown option.
            ConfigurationError: a setting is wrong; names it, and what would be right.
            ModelInvalidRequestError: an option's value is wrong.
        """
        self._model_id = _model_id(model_id)
        checks = _of_kind("checks", checks, InputChecks)
        self._defaults = {**_defaults(checks), **checked(defaults, "LMStudioAdapter", Adapter.__init__.__annotations__)}
        self._core = Core(
            settings=find_settings(
                base_url=base_url,
                timeout_ms=self._defaults["timeout_ms"],
                api_token=api_token,
                app=app,
                environ=os.environ,
            ),
            tls=_of_kind("tls", tls, ssl.SSLContext),
            proxy=None if proxy is None else _proxy(proxy),
            retry_policy=_of_kind("retry", retry, RetryPolicy) or RetryPolicy(),
            breaker_policy=_of_kind("breaker", breaker, BreakerPolicy) or BreakerPolicy(),
            checks=checks,
            guards=_guards(guards),
            cache=None if cache is None else _cache(cache),
            slots=None if slots is None else _at_least_1("slots", slots),
            observers=_observers(observers),
            clock=SystemClock() if clock is None else _clock(clock),
            random=_of_kind("random", random, Random) or Random(),
            max_request_bytes=_at_least_1("max_request_bytes", max_request_bytes),
            max_response_bytes=_at_least_1("max_response_bytes", max_response_bytes),
        )
        self._prepare()

    def _prepare(self) -> None:
        """What a kind of adapter needs beside; a hook, so that the constructor is declared once."""

    @property
    def model_id(self) -> str:
        """The model that is asked, unless a call says another."""
        return self._model_id

    @property
    def breaker(self) -> Breaker:
        """The circuit breaker of this model on the first host; it can be opened and closed by hand."""
        return self._core.hosts.all[0].model(self._model_id).breaker

    def breaker_at(self, host: str) -> Breaker:
        """The circuit breaker of this model on one of several hosts.

        Args:
            host: its name; where it was given none, its name and port.

        Raises:
            ModelInvalidRequestError: there is no such host.
        """
        return self._host(host).model(self._model_id).breaker

    @property
    def hosts(self) -> tuple[HostStatus, ...]:
        """The hosts, and how each stands as far as is known now; :meth:`check_hosts` looks at them first."""
        return tuple(map(status_of, self._core.hosts.all))

    def with_model(self, model_id: str, **defaults: Unpack[RequestOptions]) -> Self:
        """A sibling for another model: shares the connections, inherits the defaults."""
        sibling = copy.copy(self)
        sibling._model_id = _model_id(model_id)
        sibling._defaults = {**self._defaults, **checked(defaults, "with_model")}
        return sibling

    def resume(self, host: str) -> None:
        """Sends a drained host requests again.

        Args:
            host: its name; where it was given none, its name and port.

        Raises:
            ModelInvalidRequestError: there is no such host.
        """
        self._host(host).resume()

    def _host(self, name: str) -> Host:
        found = next((host for host in self._core.hosts.all if host.name == name), None)
        if found is None:
            names = ", ".join(host.name for host in self._core.hosts.all)
            raise ModelInvalidRequestError(f"host is {name!r:.60}; it must be one of {names}")
        return found

    def supports_streaming(self) -> bool:
        """Every model in LM Studio streams."""
        return True

    def estimate_tokens(self, text: str) -> int:
        """About how many tokens a text has for this adapter's model; asks nobody.

        A quarter of its UTF-8 length, until the model's answers have told more; see :meth:`count_tokens`.

        Raises:
            ModelInvalidRequestError: it is no text.
        """
        if not is_text(text):
            raise ModelInvalidRequestError(f"text must be a text, not a value of type {type(text).__name__}")
        return self._core.estimates.of(self._defaults["model"] or self._model_id).text(text)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._model_id!r} at {', '.join(host.url for host in self._core.hosts.all)}>"

    def _request(
        self,
        verb: str,
        prompt: str,
        options: Mapping[str, Any] | None,
        more: Mapping[str, Any],
        *,
        streaming: bool,
    ) -> ChatRequest:
        given = {**options, **more} if options else more
        return self._made(prompt, {**self._defaults, **checked(given, verb)}, streaming)

    def _followed_by(self, request: ChatRequest, more: Sequence[AnyMessage]) -> ChatRequest:
        """The same request with these messages after its history."""
        return self._made("", {**request.options, "messages": [*request.messages, *more]}, request.streaming)

    def _made(self, prompt: str, options: dict[str, Any], streaming: bool) -> ChatRequest:
        checks = self._core.checks
        if checks is None:
            return self._unchecked(prompt, options, streaming)
        notes = checks.check_options(options, self._defaults["system_message"])
        request = self._unchecked(prompt, options, streaming, checks)
        request.notes += notes
        beside = b"" if request.offer is None else request.offer.tools.wire
        if (shape := options["response_format"]) is not None:
            beside += encode(shape.wire)
        checks.check_tokens(request.messages, beside.decode(), self._core.estimates.of(request.model))
        return request

    def _unchecked(
        self, prompt: str, options: dict[str, Any], streaming: bool, checks: InputChecks | None = None
    ) -> ChatRequest:
        return chat_request(
            self._model_id,
            prompt,
            options,
            self._core.reader,
            streaming=streaming,
            max_bytes=self._core.max_request_bytes,
            checks=checks,
        )


def _model_id(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ModelInvalidRequestError("model_id must be the model's key in LM Studio, such as 'qwen3-8b'")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ModelInvalidRequestError(
            "model_id holds a lone surrogate (half of a UTF-16 pair), which is not Unicode text"
        ) from error
    return value


def _proxy(value: Any) -> str:
    """The URL, which may hold a password and is never shown."""
    if not isinstance(value, str) or not _is_proxy(value):
        raise ConfigurationError("proxy must be the URL of an HTTP proxy, such as http://user:password@proxy:8080")
    return value


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:  # such as a port that is no number
        return False
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:%-]+", host):
        return False
    return url.isprintable() and " " not in url  # printable: no lone surrogate, no line break


def _observers(value: Any) -> tuple[Observer, ...]:
    if not isinstance(value, (list, tuple)) or not all(map(is_observer, cast("Sequence[Any]", value))):
        raise ModelInvalidRequestError(
            "observers must be a list of functions, none async, that take an event, or of objects such as "
            "LoggingObserver() that can be called so"
        )
    return tuple(cast("Sequence[Observer]", value))


def _guards(value: Any) -> tuple[Guard, ...]:
    if not isinstance(value, (list, tuple)) or not all(map(is_guard, cast("Sequence[Any]", value))):
        raise ModelInvalidRequestError(
            "guards must be a list of functions that take (messages, options), or of objects with before or after"
        )
    return tuple(cast("Sequence[Guard]", value))


def _defaults(checks: InputChecks | None) -> dict[str, Any]:
    """The options' defaults, within the budget."""
    most = DEFAULTS["max_tokens"] if checks is None else checks.max_completion_tokens or DEFAULTS["max_tokens"]
    return {**DEFAULTS, "max_tokens": min(most, DEFAULTS["max_tokens"])}


def _clock(value: Any) -> Clock:
    if not all(callable(getattr(value, name, None)) for name in ("monotonic", "sleep")):
        raise ModelInvalidRequestError(
            f"clock must have monotonic() and async sleep(seconds), which a {type(value).__name__} has not"
        )
    clock: Clock = value
    return clock


def _cache(value: Any) -> ResponseCache:
    named = all(iscoroutinefunction(getattr(value, name, None)) for name in ("get", "put", "delete"))
    if not named or isinstance(value, type):
        raise ModelInvalidRequestError(
            "cache must be an object such as MemoryCache(), with async get(key), put(key, value) and delete(key), not "
            f"a {'class' if isinstance(value, type) else type(value).__name__}"
        )
    cache: ResponseCache = value
    return cache


def _at_least_1(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ModelInvalidRequestError(f"{name} is {value!r:.60}; it must be a whole number of at least 1")
    return value


def _of_kind(name: str, value: Any, kind: type[Any]) -> Any:
    if value is not None and not isinstance(value, kind):
        raise ModelInvalidRequestError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")
    return value
