"""Where the server is and how long to wait for it: direct parameter > configuration manager > environment > default."""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from neuroroute.errors import ConfigurationError

DEFAULT_URL = "http://localhost:1234/v1"
DEFAULT_TIMEOUT_MS = 60_000.0

_EXAMPLE = f"such as {DEFAULT_URL}"


_MANAGER_HINT = "Mend it, or give base_url and timeout_ms to the adapter."


class Resolved(NamedTuple):
    """Where requests go, and how long they may take unless they say so themselves."""

    base_url: str
    host: str
    """Name and port of the base URL."""
    timeout_ms: float


class Settings(NamedTuple):
    """What was found in the direct parameters and the environment, or the defaults."""

    base_url: str
    timeout_ms: float
    api_token: str | None
    app: Any = None
    ask_for: frozenset[str] = frozenset()
    """What the application's configuration manager has still to be asked for."""

    async def resolved(self, within_ms: float | None = None) -> Resolved:
        """What holds once the configuration manager has been asked.

        The manager is looked for now, not when the adapter was made: applications put theirs up as they start.

        Args:
            within_ms: how long it may take. Default: the time limit that holds without the manager.

        Raises:
            ConfigurationError: the manager failed, gave a value that cannot be right, or did not answer in time.
        """
        within_ms = within_ms or self.timeout_ms
        base_url, timeout_ms = self.base_url, self.timeout_ms
        manager = getattr(getattr(self.app, "state", None), "config_manager", None)
        if callable(getattr(manager, "get", None)):
            limit = asyncio.timeout(within_ms / 1000)
            try:
                async with limit:
                    if "LMSTUDIO_URL" in self.ask_for:
                        base_url = await _ask(manager, "LMSTUDIO_URL", base_url, normalise_url)
                    if "LMSTUDIO_TIMEOUT" in self.ask_for:
                        timeout_ms = await _ask(manager, "LMSTUDIO_TIMEOUT", timeout_ms, _milliseconds)
            except TimeoutError as error:
                raise ConfigurationError(
                    f"the configuration manager did not answer within {within_ms:g} ms", hint=_MANAGER_HINT
                ) from error
        return Resolved(base_url, urlsplit(base_url).netloc, timeout_ms)


async def _ask(manager: Any, key: str, default: Any, read: Callable[[Any, str], Any]) -> Any:
    try:
        value = manager.get(key, default)
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:
        raise ConfigurationError(
            f"the configuration manager failed when asked for {key}: {type(error).__name__}: {error}",
            hint=_MANAGER_HINT,
        ) from error
    nothing = value is None or (isinstance(value, str) and not value.strip())  # as with an empty variable
    return default if nothing else read(value, f"{key} of the configuration manager")


def find_settings(
    *, base_url: str | None, timeout_ms: float | None, api_token: str | None, app: Any, environ: Mapping[str, str]
) -> Settings:
    """What can be known at once; all of it is checked.

    Args:
        base_url: the direct parameter, if given.
        timeout_ms: the direct parameter, if given; checked with the other options.
        api_token: the direct parameter, if given.
        app: an application whose ``state.config_manager`` is asked on first use, if it then has one with ``get``.
        environ: the environment.

    Raises:
        ConfigurationError: names the variable or parameter, and what would be right.
    """
    token = api_token if api_token is not None else environ.get("LM_API_TOKEN", "").strip() or None
    if token is not None and not _is_header_text(token):
        raise ConfigurationError(
            f"{'LM_API_TOKEN' if api_token is None else 'api_token'} must be printable ASCII on one line, "
            "such as sk-lm-<id>:<key>"
        )
    direct = {"LMSTUDIO_URL": base_url, "LMSTUDIO_TIMEOUT": timeout_ms}
    return Settings(
        _url_from(environ) if base_url is None else normalise_url(base_url, "base_url"),
        _timeout_from(environ) if timeout_ms is None else timeout_ms,
        token,
        app,
        frozenset(key for key, value in direct.items() if value is None),
    )


def _is_header_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()


def _url_from(environ: Mapping[str, str]) -> str:
    value = environ.get("LMSTUDIO_URL", "").strip()
    return normalise_url(value, "LMSTUDIO_URL") if value else DEFAULT_URL


def _timeout_from(environ: Mapping[str, str]) -> float:
    value = environ.get("LMSTUDIO_TIMEOUT", "").strip()
    return _milliseconds(value, "LMSTUDIO_TIMEOUT") if value else DEFAULT_TIMEOUT_MS


def _milliseconds(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 < number < math.inf:
        raise ConfigurationError(f"{name} is {value!r:.60}; it must be a number of milliseconds over 0, such as 60000")
    return number


def normalise_url(value: Any, name: str = "base_url") -> str:
    """The base URL as it was meant: ``localhost:1234`` is ``http://localhost:1234/v1``.

    A path of the API is taken off (``/v1/chat/completions``, ``/api/v0``), ``/v1`` is put on, and the address 0.0.0.0,
    where a server listens but no client can connect on every system, becomes 127.0.0.1.

    Args:
        value: an address, with or without scheme and path.
        name: the setting it came from, for the error.

    Raises:
        ConfigurationError: no URL, not HTTP, or with credentials, a query or a fragment.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        raise _wrong(name, f"is {value!r:.60}; it must be the address of LM Studio's server")
    if "://" not in text:
        if re.match(r"https?:", text, re.IGNORECASE):
            raise _wrong(name, f"is {value!r:.60}; after the scheme come two slashes")
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _wrong(name, f"is no URL ({error})") from error
    if parts.scheme not in ("http", "https"):
        raise _wrong(name, f"has the scheme {parts.scheme!r}; it must be http or https")
    if "@" in parts.netloc:
        raise _wrong(name, "holds credentials; give the token as api_token instead")
    if not parts.hostname or not re.fullmatch(r"[\w.:%-]+", parts.hostname):
        raise _wrong(name, "names no host; it must be an address")
    if parts.query or parts.fragment:
        raise _wrong(name, "has a query or a fragment; it must end with its path")
    host = "127.0.0.1" if parts.hostname == "0.0.0.0" else parts.hostname  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    path = re.sub(r"(/v1)?/(chat/completions|completions|embeddings|models|responses)$", r"\1", parts.path.rstrip("/"))
    path = re.sub(r"/api/v[01]$", "", path)
    if not path.endswith("/v1"):
        path += "/v1"
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}"


def _wrong(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{name} {why}, {_EXAMPLE}")
