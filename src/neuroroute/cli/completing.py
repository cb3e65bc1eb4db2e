"""What shells offer when somebody presses Tab, where click does not know: models, hosts, words for faults, files.

Whatever fails here offers nothing, and says nothing: it runs while somebody types.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from click.shell_completion import CompletionItem

from neuroroute.errors import LMStudioError
from neuroroute.hostlist import HostSettings
from neuroroute.jsontypes import is_array, is_mapping
from neuroroute.settings import find_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

_SECONDS: Final = 0.5
"""How long the hosts may take to tell their models: somebody waits."""


def models(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Models of the server, by their ids."""
    found: list[str] = []

    def ask(host: HostSettings, token: str | None) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError):
            found.extend(_listed(host, token))

    # Threads, since looking up a name knows no time limit.
    threads = [threading.Thread(target=ask, args=host, daemon=True) for host in _hosts(ctx)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return _beginning(begun, dict.fromkeys(found))


def hosts(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """The hosts, by their names."""
    return _beginning(begun, (host.name for host, _ in _hosts(ctx)))


def faults(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Words for faults of the simulator."""
    from neuroroute.simulator.vocabulary import WORDS

    return _beginning(begun, WORDS)


def profiles(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Versions of LM Studio that the simulator knows."""
    from neuroroute.simulator.profiles import PROFILES

    return _beginning(begun, PROFILES)


def files(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Files, which the shell itself completes."""
    return [CompletionItem(begun, type="file")]


def script(shell: str) -> str:
    """The script that has a shell ask this program.

    Args:
        shell: bash, zsh or fish.
    """
    from click.shell_completion import get_completion_class

    from neuroroute.cli.bashcompletion import teach
    from neuroroute.cli.program import program

    teach()

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has these three
    return kind(program, {}, "neuroroute", "_NEUROROUTE_COMPLETE").source()


def _beginning(begun: str, words: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(begun)]


def _hosts(ctx: click.Context) -> list[tuple[HostSettings, str | None]]:
    """The hosts that the command would ask, and their tokens."""
    if ctx.params.get("engine") == "embedded":
        return []
    try:
        found = find_settings(
            base_url=ctx.params.get("url"), timeout_ms=None, api_token=None, app=None, environ=os.environ
        )
    except LMStudioError:
        return []
    return [(host, host.api_token or found.api_token) for host in found.hosts]


def _listed(host: HostSettings, token: str | None) -> list[str]:
    parts = urlsplit(host.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", f"{parts.path.rstrip('/')}/models", headers=headers)
        told: Any = json.loads(connection.getresponse().read(1 << 20))
    finally:
        connection.close()
    listed = told.get("data") if is_mapping(told) else None
    ids = [one.get("id") for one in listed if is_mapping(one)] if is_array(listed) else []
    return [one for one in ids if isinstance(one, str) and one.isprintable()]
