"""Where the server is and how long to wait for it: direct parameter > configuration manager > environment > default."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from neuroroute.errors import ConfigurationError
from neuroroute.hostlist import DEFAULT_URL, TOKEN_RULE, HostList, HostSettings, is_header_text, read_hosts

DEFAULT_TIMEOUT_MS = 60_000.0

_MANAGER_HINT = "Mend it, or give base_url and timeout_ms to the adapter."


class Resolved(NamedTuple):
    """Where requests go, and how long they may take unless they say so themselves."""

    hosts: tuple[HostSettings, ...]
    timeout_ms: float


class Settings(NamedTuple):
    """What was found in the direct parameters and the environment, or the defaults."""

    hosts: tuple[HostSettings, ...]
    timeout_ms: float
    api_token: str | None
    environ: Mapping[str, str]
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
        hosts, timeout_ms = self.hosts, self.timeout_ms
        manager = getattr(getattr(self.app, "state", None), "config_manager", None)
        if callable(getattr(manager, "get", None)):
            limit = asyncio.timeout(within_ms / 1000)
            try:
                async with limit:
                    if "LMSTUDIO_URL" in self.ask_for:
                        hosts = await self._ask_for_hosts(manager)
                    if "LMSTUDIO_TIMEOUT" in self.ask_for:
                        timeout_ms = await _ask(manager, "LMSTUDIO_TIMEOUT", timeout_ms, _milliseconds)
            except TimeoutError as error:
                raise ConfigurationError(
                    f"the configuration manager did not answer within {within_ms:g} ms", hint=_MANAGER_HINT
                ) from error
        return Resolved(hosts, timeout_ms)

    async def _ask_for_hosts(self, manager: Any) -> tuple[HostSettings, ...]:
        """What the manager says, which is given the environment's value as it stands where that names several hosts."""
        default = self.hosts[0].url
        if len(self.hosts) > 1 or self.hosts != read_hosts(default, "", {}):
            default = self.environ.get("LMSTUDIO_URL", "").strip()

        def read(value: Any, name: str) -> tuple[HostSettings, ...]:
            return self.hosts if value == default else read_hosts(value, name, self.environ)

        told: Any = await _ask(manager, "LMSTUDIO_URL", default, read)
        return self.hosts if told is default else told

    def __repr__(self) -> str:
        return f"<Settings for {', '.join(host.url for host in self.hosts)}>"  # neither tokens nor the environment


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
    *, base_url: HostList | None, timeout_ms: float | None, api_token: str | None, app: Any, environ: Mapping[str, str]
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
    if token is not None and not is_header_text(token):
        raise ConfigurationError(f"{'LM_API_TOKEN' if api_token is None else 'api_token'} {TOKEN_RULE}")
    direct = {"LMSTUDIO_URL": base_url, "LMSTUDIO_TIMEOUT": timeout_ms}
    return Settings(
        _hosts_from(environ) if base_url is None else read_hosts(base_url, "base_url", environ),
        _timeout_from(environ) if timeout_ms is None else timeout_ms,
        token,
        environ,
        app,
        frozenset(key for key, value in direct.items() if value is None),
    )


def _hosts_from(environ: Mapping[str, str]) -> tuple[HostSettings, ...]:
    value = environ.get("LMSTUDIO_URL", "").strip()
    return read_hosts(value or DEFAULT_URL, "LMSTUDIO_URL", environ)


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
