"""Which hosts there are: addresses as people write them, and files that list them."""

from __future__ import annotations

import math
import os
import re
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from neuroroute.errors import ConfigurationError
from neuroroute.jsontypes import is_number

DEFAULT_URL = "http://localhost:1234/v1"

_EXAMPLE = f"such as {DEFAULT_URL}"


class HostSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several hosts, and what holds for it alone."""

    url: str
    """Where it is; ``localhost:1234`` is enough."""
    name: str = ""
    """What it is called in responses, errors and events. Default: its name and port."""
    weight: float = 1.0
    """How much it is preferred to a host of weight 1 that is as fast and as busy."""
    api_token: str | None = None
    """Sent to it as a Bearer token. Default: the adapter's."""
    slots: int | None = None
    """How many requests it takes at once for a model. Default: the adapter's, else as many as it lists."""

    def __repr__(self) -> str:
        return f"<HostSettings {self.name} at {self.url}, weight {self.weight:g}>"


HostList: TypeAlias = "str | os.PathLike[str] | HostSettings | Sequence[str | HostSettings]"
"""An address, several with commas between them, the path of a file that ends in ``.toml``; settings; or a list."""


def read_hosts(value: HostList, name: str, environ: Mapping[str, str]) -> tuple[HostSettings, ...]:
    """The hosts, checked, with whole addresses and names.

    Args:
        value: as people write it.
        name: the setting it came from, for the error.
        environ: where a hosts file's ``api_token_env`` is looked up.

    Raises:
        ConfigurationError: names what is wrong, and what would be right.
    """
    path = _path(value)
    given = _given(value, name) if path is None else [*read_hosts_file(path, environ)]
    if path is not None:
        name = f"{path}: hosts"
    if not given:
        raise ConfigurationError(f"{name} lists no host; it must list at least one, {_EXAMPLE}")
    several = len(given) > 1 or path is not None
    hosts = tuple(_checked(host, f"{name}[{at}]" if several else name) for at, host in enumerate(given))
    for what in ("url", "name"):
        told = [getattr(host, what) for host in hosts]
        if (twice := next((one for one in told if told.count(one) > 1), None)) is not None:
            raise ConfigurationError(f"{name} has two hosts with the {what} {twice!r}")
    return hosts


def _path(value: Any) -> Path | None:
    """The hosts file that is named, if one is."""
    if isinstance(value, os.PathLike):
        return Path(cast("os.PathLike[str]", value))
    if isinstance(value, str) and "," not in value and value.strip().lower().endswith(".toml"):
        return Path(value.strip())
    return None


def _given(value: Any, name: str) -> list[Any]:
    """The hosts as they were written."""
    given: list[Any] = [value]
    if isinstance(value, str) and "," in value:
        given = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, (list, tuple)):
        given = list(cast("Sequence[Any]", value))
    elif not isinstance(value, (str, HostSettings)):
        kind = type(value).__name__
        raise ConfigurationError(f"{name} is a {kind}; it must be an address, or a list of them, {_EXAMPLE}")
    if (file := next(filter(_path, given), None)) is not None:
        hint = "Name the file alone, and put the addresses into it."
        raise ConfigurationError(f"{name} has the file {str(file)!r} among others", hint=hint)
    return given


def _checked(host: Any, name: str) -> HostSettings:
    settings = host if isinstance(host, HostSettings) else HostSettings(url=host)
    url = normalise_url(settings.url, name)
    if not is_number(settings.weight) or not 0 < settings.weight < math.inf:
        raise ConfigurationError(f"{name}.weight is {settings.weight!r:.60}; it must be a number over 0")
    if settings.slots is not None and (type(settings.slots) is not int or settings.slots < 1):
        raise ConfigurationError(f"{name}.slots is {settings.slots!r:.60}; it must be a whole number of at least 1")
    if settings.api_token is not None and not is_header_text(settings.api_token):
        raise ConfigurationError(f"{name}.api_token {TOKEN_RULE}")
    called: Any = settings.name or urlsplit(url).netloc
    if not isinstance(called, str) or not called.isprintable():
        raise ConfigurationError(f"{name}.name is {called!r:.60}; it must be a text on one line")
    return msgspec.structs.replace(settings, url=url, name=called)


class _HostInFile(HostSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    api_token_env: str | None = None
    """The variable of the environment that holds the token, so that the file need not."""


class _HostsFile(msgspec.Struct, forbid_unknown_fields=True):
    hosts: list[_HostInFile]


def read_hosts_file(path: Path, environ: Mapping[str, str]) -> list[HostSettings]:
    """The hosts of a TOML file: a ``[[hosts]]`` table for each, with the fields of :class:`HostSettings`.

    Raises:
        ConfigurationError: it cannot be read, or is not of that form; names the field.
    """
    try:
        listed = msgspec.toml.decode(path.read_bytes().removeprefix(BOM_UTF8), type=_HostsFile).hosts
    except OSError as error:
        raise ConfigurationError(f"the hosts file {path} cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = 'For each host it has a [[hosts]] table with url = "...", and if need be name, weight, slots, '
        raise ConfigurationError(
            f"the hosts file {path} is not as it should be: {error}", hint=hint + "api_token or api_token_env."
        ) from error
    return [_with_token(host, path, environ) for host in listed]


def _with_token(host: _HostInFile, path: Path, environ: Mapping[str, str]) -> HostSettings:
    token = host.api_token
    if host.api_token_env is not None:
        if token is not None:
            raise ConfigurationError(f"{path} gives a host both api_token and api_token_env", hint="Leave one out.")
        token = environ.get(host.api_token_env, "").strip()
        if not token:
            raise ConfigurationError(f"{path} takes a token from {host.api_token_env}, which the environment has not")
    return HostSettings(url=host.url, name=host.name, weight=host.weight, slots=host.slots, api_token=token)


TOKEN_RULE = "must be printable ASCII on one line, such as sk-lm-<id>:<key>"  # noqa: S105 - a rule, no token


def is_header_text(value: Any) -> bool:
    """Whether it can stand in a header as it is."""
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()


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
