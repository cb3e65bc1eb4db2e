"""Opens what was chosen: finds LM Studio or starts the embedded engine, and gives an adapter for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from neuroroute.adapter import LMStudioAdapter
from neuroroute.cli.choice import DEFAULT_HOST, Choice, Engine, choose, default_model
from neuroroute.cli.waits import wait_teller
from neuroroute.details import ModelDetails, same_model
from neuroroute.errors import ConfigurationError, LMStudioError
from neuroroute.options import checked
from neuroroute.settings import find_settings
from neuroroute.wire.listing import GREETING

if TYPE_CHECKING:
    from neuroroute.engine import EmbeddedEngine, Progress

_PROBE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options of a command say of who is to answer, and how."""

    engine: Engine | None = None
    url: str | None = None
    model: str | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """Options for every request; those that were not given are None."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line to a model."""

    adapter: LMStudioAdapter
    host: str
    """Name and port of the server."""
    place: str = ""
    """What answers, where that is known."""

    async def who(self) -> str:
        """Model and place, for a person; asks a server whether it is LM Studio."""
        place = (
            self.place or f"{'LM Studio' if await asyncio.to_thread(greets, self.host) else 'server'} at {self.host}"
        )
        return f"{self.adapter.model_id}, {place}"

    async def models(self) -> list[ModelDetails]:
        """The server's models.

        Raises:
            LMStudioError: there is no listing; the error names the host.
        """
        try:
            return await self.adapter.list_models()
        except LMStudioError as error:
            error.host = error.host or ("" if "," in self.host else self.host)
            raise


@asynccontextmanager
async def opened(wish: Wish, aside: Console, *, needs_model: bool = True) -> AsyncGenerator[Line]:
    """An adapter for the engine and model that the wish leads to.

    Args:
        wish: what was asked for.
        aside: stderr; told what answers, where nobody asked for it, and how far the engine is.
        needs_model: whether a model must be settled; without it, the adapter only serves for listings.

    Raises:
        LMStudioError: nobody can answer, or an option is wrong.
    """
    options = checked({name: value for name, value in wish.options.items() if value is not None}, "the command line")
    choice = choose(wish.engine, wish.url, os.environ, answers=lm_studio_answers, can_embed=can_embed)
    observers = [wait_teller(aside)]
    host = _host(choice, options.get("timeout_ms"))  # first of all: the engine takes its time
    if choice.engine == "embedded":
        async with (
            embedded(choice, wish.model, aside) as engine,
            LMStudioAdapter(engine.model_id, base_url=engine.url, observers=observers, **options) as adapter,
        ):
            yield Line(adapter, urlsplit(engine.url).netloc, "embedded llama.cpp")
        return
    async with LMStudioAdapter(
        wish.model or "unsettled", base_url=choice.base_url, observers=observers, **options
    ) as adapter:
        if needs_model and wish.model is None:
            adapter = adapter.with_model(default_model(await Line(adapter, host).models()))
        yield Line(adapter, host)


def origin(engine: EmbeddedEngine) -> str:
    """Where its model comes from, to be appended to a sentence; nothing for the model that NeuroRoute brings."""
    model = engine.model
    if model is None or model.packaged:
        return ""
    whose = "LM Studio's" if model.source == "lmstudio" else "your"
    return f", from {whose} file {model.path}"


def lm_studio_answers(host: str = DEFAULT_HOST) -> bool:
    """Whether an LM Studio, or what looks like one, answers there; takes half a second at most per address."""
    for path in (GREETING, "/v1/models"):
        try:
            status, body = _got(host, path)
        except (OSError, http.client.HTTPException):
            return False
        if isinstance(body, dict) and ({"lmstudio", "data"} & body.keys() or status in (401, 403)):
            return True
    return False


def greets(host: str) -> bool:
    """Whether the server says of itself that it is LM Studio; takes half a second at most."""
    try:
        _, body = _got(host, GREETING)
    except (OSError, http.client.HTTPException):
        return False
    return isinstance(body, dict) and "lmstudio" in body


def _got(host: str, path: str) -> tuple[int, Any]:
    """Status of a page, and its JSON; None where it has none."""
    connection = http.client.HTTPConnection(host, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        try:
            return response.status, json.loads(response.read(1 << 20))
        except ValueError:
            return response.status, None
    finally:
        connection.close()


def _host(choice: Choice, timeout_ms: float | None) -> str:
    """Name and port of the server; all settings are checked for it.

    Raises:
        ConfigurationError: one is wrong.
    """
    base_url = DEFAULT_HOST if choice.engine == "embedded" else choice.base_url
    found = find_settings(base_url=base_url, timeout_ms=timeout_ms, api_token=None, app=None, environ=os.environ)
    return ", ".join(host.name for host in found.hosts)


def can_embed() -> bool:
    """Whether the embedded engine is installed."""
    return find_spec("xllamacpp") is not None and find_spec("platformdirs") is not None


@asynccontextmanager
async def embedded(choice: Choice, model: str | None, aside: Console) -> AsyncGenerator[EmbeddedEngine]:
    """The embedded engine, running.

    Args:
        choice: that led to it.
        model: which model was asked for; any, where that is None.
        aside: stderr; told what answers, and how far the engine is.

    Raises:
        LMStudioError: it has another model, or does not start.
    """
    from neuroroute.cli.progress import EngineProgress
    from neuroroute.engine import EmbeddedEngine

    with EngineProgress(aside) as progress:

        def take(step: Progress) -> None:
            if model and not same_model(model, engine.model_id):
                raise ConfigurationError(
                    f"{choice.why or 'The embedded engine was asked for'}, and the embedded engine has one model: "
                    f"{engine.model_id}",
                    hint=f"Leave --model {model} out, or start LM Studio's server.",
                )
            if step.phase == "load" and step.done == 0:
                why = f"{choice.why}; answering" if choice.why else "Answering"
                aside.print(
                    Text(f"{why} with the embedded {engine.model_id} (llama.cpp){origin(engine)}.", style="dim")
                )
            progress(step)

        engine = EmbeddedEngine(on_progress=take)
        await engine.start()
    try:
        yield engine
    finally:
        await engine.aclose()
