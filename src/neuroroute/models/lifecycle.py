"""Models come into memory and leave it, on one host; what was loaded is compared with what was asked for."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from neuroroute.details import LoadedModel, ModelDetails, ModelInstance, ModelProgress, same_model
from neuroroute.errors import ConfigurationError, LMStudioError, ModelNotFoundError, ModelTimeoutError
from neuroroute.limits import milliseconds
from neuroroute.models.server import ModelServer
from neuroroute.pipe.events import ModelLoaded, ModelUnloaded
from neuroroute.pipe.host import Host
from neuroroute.pipe.progress import OnProgress, told_safely
from neuroroute.responses import Note
from neuroroute.selection import named


class Lifecycle:
    """Loads and unloads the models of a host."""

    def __init__(self, host: Host, server: ModelServer) -> None:
        self._host = host
        self._server = server

    async def load(
        self, asked: str, config: Mapping[str, Any], timeout_ms: float, on_progress: OnProgress | None = None
    ) -> LoadedModel:
        """Has a model loaded, unless a copy is in memory that was loaded so.

        Whoever wants a model that is being loaded waits for that load.

        Args:
            asked: its key, or the id of a copy.
            config: how it is to be loaded; the server chooses what is not said.
            timeout_ms: how long that may take.
            on_progress: is told that it begins, and that it has ended.

        Raises:
            ModelNotFoundError: there is no such model.
            ModelTimeoutError: it took longer; the server goes on loading.
            LMStudioError: it could not be loaded, or the server cannot load models.
        """
        details = named(await self._native_models(), asked)
        tell = told_safely(on_progress)
        tell(ModelProgress(model=details.key, phase="loading"))
        model, work = self._host.model(asked), partial(self._load, details.key, config)
        timer = asyncio.timeout(timeout_ms / 1000)
        try:
            async with timer:
                loaded = await model.loaded_by(details.key, work)
        except TimeoutError as error:
            if not timer.expired() and not isinstance(error, ModelTimeoutError):
                raise
            raise ModelTimeoutError(
                f"{details.key!r} was not loaded within {milliseconds(timeout_ms)} ms",
                retryable=False,
                hint="The server goes on loading it: ask again, and allow more.",
                host=self._host.name,
            ) from error
        except LMStudioError as error:  # others who wait for the same load get the same error
            own = copy.copy(error)
            own.host = own.host or self._host.name
            raise own from error
        tell(ModelProgress(model=details.key, phase="loaded"))
        notes = (*loaded.notes, *differences(config, loaded.config))
        return replace(loaded, notes=notes)

    def has_loaded(self, asked: str) -> bool:
        """Whether the host is up, and last listed the model, or this copy of it, as in memory."""
        details = self._host.details(asked)
        if details is None or not details.loaded or self._host.down:
            return False
        return same_model(asked, details.key) or any(one.id == asked for one in details.instances)

    async def unload(self, asked: str) -> tuple[str, ...]:
        """Takes a model out of memory, or one copy of it. The ids of the copies that were there.

        Args:
            asked: its key, for all its copies, or the id of a further copy, as in ``llama3:2``.

        Raises:
            ModelNotFoundError: there is no such model.
            LMStudioError: it could not be unloaded, or the server cannot unload models.
        """
        details = named(await self._native_models(), asked)
        copies = [one.id for one in details.instances]
        if asked in copies and asked.casefold() != details.key.casefold():
            copies = [asked]
        gone: list[str] = []
        for copy_id in copies:
            try:
                await self._server.unload(copy_id, _SHORT_MS)
            except ModelNotFoundError:  # somebody else was faster
                continue
            gone.append(copy_id)
            self._host.policy.tell(ModelUnloaded(host=self._host.name, model=details.key, instance_id=copy_id))
        await self._host.listings.details(details.key)  # so that nobody goes by what was listed before
        return tuple(gone)

    async def _native_models(self) -> list[ModelDetails]:
        try:
            return await native_models(self._host, self._server)
        except LMStudioError as error:
            error.host = error.host or self._host.name
            raise

    async def _load(self, key: str, config: Mapping[str, Any]) -> LoadedModel:
        while (first := self._host.model(key).first_request()) is not None:  # which has it loaded, too
            await asyncio.wait((first,))
        before = named(await self._native_models(), key)  # anew: it may have been loaded since
        if (there := next((one for one in before.instances if _is_so(one, config, before)), None)) is not None:
            return _loaded(key, there, self._host)
        clock = self._host.policy.clock
        began = clock.monotonic()
        copy_id = await self._server.load(key, config, LONGEST_LOAD_MS)
        seconds = clock.monotonic() - began
        after = await self._host.listings.details(copy_id)
        there = next((one for one in after.instances if one.id == copy_id), None) if after else None
        loaded = replace(_loaded(key, there or ModelInstance(id=copy_id), self._host), seconds=seconds)
        notes = _notes(copy_id, before, verified=there is not None)
        self._host.policy.tell(ModelLoaded(host=self._host.name, model=key, loaded=loaded))
        return replace(loaded, notes=notes)


async def native_models(host: Host, server: ModelServer) -> list[ModelDetails]:
    """The models of a host that can be told to load, unload and download; asked anew.

    Raises:
        ConfigurationError: it cannot.
        LMStudioError: it cannot be reached, or gives no listing.
    """
    models = await host.listings.models()
    if not models or models[0].source == "v1":
        return models
    is_lm_studio = (await server.surface(_SHORT_MS)).lm_studio
    raise ConfigurationError(
        f"{host.name} {'is an LM Studio older than 0.4.0' if is_lm_studio else 'is no LM Studio'}, "
        "and cannot be told to load, unload or download models",
        hint="Update LM Studio, or do it there: in its window, or with `lms`." if is_lm_studio else "",
    )


def differences(asked: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Note, ...]:
    """What is not as it was asked for, as far as the server lists it; too large a context is cut without a word."""
    other = [
        f"{name} is {config[name]}, not {value}" for name, value in asked.items() if config.get(name, value) != value
    ]
    return (Note("LOADED_OTHERWISE", "; ".join(other)),) if other else ()


def _loaded(key: str, copy: ModelInstance, host: Host) -> LoadedModel:
    return LoadedModel(
        key=key, instance_id=copy.id, host=host.name, context_length=copy.context_length, config=copy.config
    )


def _is_so(copy: ModelInstance, config: Mapping[str, Any], model: ModelDetails) -> bool:
    """Whether a load that asks for this would give no other copy; more context than the model has is cut."""
    wanted, most = {**config}, model.max_context_length
    if "context_length" in wanted and most is not None:
        wanted["context_length"] = min(wanted["context_length"], most)
    return all(copy.config.get(name, value) in (value, config[name]) for name, value in wanted.items())


def _notes(copy_id: str, before: ModelDetails, *, verified: bool) -> tuple[Note, ...]:
    notes: list[Note] = []
    if before.instances:
        others = ", ".join(copy.id for copy in before.instances)
        notes.append(Note("LOADED_TWICE", f"{copy_id!r} is another copy, beside {others}; both take memory"))
    if not verified:
        notes.append(Note("LOAD_NOT_VERIFIED", "the server does not list the copy, so nobody knows how it was loaded"))
    return tuple(notes)


LONGEST_LOAD_MS = 3_600_000.0
"""How long a load may take at most. Who asked for it may leave before; who asks again then waits for the same."""

_SHORT_MS = 30_000.0
"""How long the server may take for what is not a load."""
