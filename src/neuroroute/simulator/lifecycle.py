"""Models come and go: loads on request and on demand, unloading, crashes, and what they do to running predictions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from neuroroute.simulator import wordings
from neuroroute.simulator.answers import Refused
from neuroroute.simulator.models import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.profiles import Profile
    from neuroroute.simulator.slots import Slots
    from neuroroute.simulator.unknowns import Unknowns
    from neuroroute.simulator.wordings import ErrorCase


Kind: TypeAlias = Literal["llm", "embedding"]


class Shelf(Protocol):
    """What a lifecycle reads of its server, anew each time."""

    models: list[SimulatedModel]
    jit: bool
    auto_evict: bool
    profile: Profile
    unknowns: Unknowns


@dataclass(eq=False, slots=True)
class _Load:
    """One load under way."""

    model: SimulatedModel
    on_request: bool
    config: Mapping[str, Any]
    seconds: float
    """How long it takes, as the model had it when it began."""
    at_once: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0


class Lifecycle:
    """Loads and unloads the models of a shelf.

    Args:
        shelf: The server whose models they are.
        slots: Where the predictions of those models run.
        spawn: Starts a task that ends with the server at the latest.
    """

    def __init__(
        self,
        shelf: Shelf,
        slots: Slots,
        spawn: Callable[[Coroutine[Any, Any, str]], asyncio.Task[str]],
    ) -> None:
        self._shelf = shelf
        self._slots = slots
        self._spawn = spawn
        self._loads: dict[asyncio.Task[str], _Load] = {}
        self._crashed: dict[str, ErrorCase] = {}

    # ── For requests ────────────────────────────────────────────────────────────────────────────────────────────────

    async def find(
        self, asked: str, config: Mapping[str, Any] | None = None, *, kind: Kind = "llm"
    ) -> tuple[SimulatedModel, str]:
        """The model and the instance that answer a request, loaded first where the server does that.

        Args:
            asked: A model's key or an instance's id.
            config: What the model is loaded with, if it is.
            kind: The type of model that can answer it.

        Raises:
            Refused: There is none.
        """
        while True:
            model, instance = self._resolve(asked, kind)
            if instance is None:
                await self._load_on_request(model, config or {})
            elif instance in self._crashed:
                raise Refused(self._crashed[instance])
            else:
                return model, instance

    def _resolve(self, asked: str, kind: Kind) -> tuple[SimulatedModel, str | None]:
        shelf = self._shelf
        able = [model for model in shelf.models if model.type == kind]
        if kind == "llm":
            return resolve(able, asked, jit=shelf.jit, profile=shelf.profile)
        for model in shelf.models:
            if model.type == "llm" and (asked in model.instance_ids or asked.lower() == model.key.lower()):
                raise Refused(wordings.not_embedding(asked))
        return resolve(able, asked, jit=shelf.jit, profile=shelf.profile, lonely=shelf.unknowns.embeddings_by_any)

    async def load(self, model: SimulatedModel, config: Mapping[str, Any]) -> str:
        """Loads a model once more, and returns the new instance's id.

        Raises:
            Refused: The load failed.
        """
        return await self._wait(self._start(model, on_request=False, config=config))

    async def _load_on_request(self, model: SimulatedModel, config: Mapping[str, Any]) -> None:
        same = [task for task, load in self._loads.items() if load.model is model]
        if same and not self._shelf.unknowns.concurrent_loads_duplicate:
            await self._wait(same[0])
        else:
            await self._wait(self._start(model, on_request=True, config=config))

    def _start(self, model: SimulatedModel, *, on_request: bool, config: Mapping[str, Any]) -> asyncio.Task[str]:
        load = _Load(model, on_request, config, model.load_seconds)
        if on_request:
            self._make_room(model)
        model.load_begins()
        task = self._spawn(self._run(load))
        self._loads[task] = load
        task.add_done_callback(self._done)
        return task

    async def _wait(self, task: asyncio.Task[str]) -> str:
        load = self._loads[task]
        load.waiting += 1
        try:
            await asyncio.wait({task})
        finally:
            load.waiting -= 1
            if not load.waiting and load.on_request and self._shelf.unknowns.leaving_cancels_load:
                task.cancel()
        if task.cancelled():
            raise Refused(self._shelf.profile.load_failed(load.model.key, wordings.CANCELED))
        return task.result()

    async def _run(self, load: _Load) -> str:
        model = load.model
        try:
            async with asyncio.timeout(load.seconds if load.seconds < _FOREVER else None):
                await load.at_once.wait()
        except TimeoutError:
            pass
        if isinstance(model.load_fails, str):
            raise Refused(self._shelf.profile.load_failed(model.key, model.load_fails))
        if model.load_fails is not None:
            raise Refused(model.load_fails)
        if load.on_request:
            self._make_room(model)
            model.loaded_on_request = True
        instance = model.add_instance(load.config)
        self._crashed.pop(instance, None)
        return instance

    def _done(self, task: asyncio.Task[str]) -> None:
        load = self._loads.pop(task)
        if not task.cancelled():
            task.exception()  # it is those who wait that want it; there may be none
        if all(other.model is not load.model for other in self._loads.values()):
            load.model.load_ends()

    def _make_room(self, wanted: SimulatedModel) -> None:
        if self._shelf.auto_evict:
            self.evict([model for model in self._shelf.models if model is not wanted and model.loaded_on_request])

    # ── From outside ────────────────────────────────────────────────────────────────────────────────────────────────

    def finish_load(self, model: SimulatedModel) -> None:
        """Ends the loads of a model that are under way, at once; without any, it is loaded."""
        under_way = [load for load in self._loads.values() if load.model is model]
        for load in under_way:
            load.at_once.set()
        if not under_way:
            self._crashed.pop(model.add_instance({}), None)

    def unload(self, model: SimulatedModel, instances: Sequence[str]) -> None:
        """Unloads instances of a model; their predictions fail."""
        self._drop(model, instances, running=wordings.MODEL_UNLOADED)

    def cancel_loads(self, model: SimulatedModel) -> None:
        """Cancels the loads of a model that are under way."""
        for task, load in self._loads.items():
            if load.model is model:
                task.cancel()

    def reload(self, model: SimulatedModel) -> None:
        """The model is taken down and is up again at once: its predictions fail, those that wait too."""
        for instance in model.instance_ids:
            self._slots.end(instance, running=wordings.MODEL_RELOADED, queued=wordings.UNLOADED_IN_QUEUE)
            self._crashed.pop(instance, None)

    def crash(self, model: SimulatedModel, exit_code: int | None) -> None:
        """The processes that run a model die."""
        words = wordings.crashed(exit_code)
        if not self._shelf.unknowns.crash_keeps_listing:
            self._drop(model, model.instance_ids, running=words)
            return
        for instance in model.instance_ids:
            self._slots.end(instance, running=words, queued=wordings.UNLOADED_IN_QUEUE)
            self._crashed[instance] = words

    def evict(self, models: Sequence[SimulatedModel]) -> None:
        """Unloads models that make room for another."""
        kills = self._shelf.unknowns.evict_kills_running
        for model in models:
            self._drop(model, model.instance_ids, running=wordings.MODEL_UNLOADED if kills else None)

    def _drop(self, model: SimulatedModel, instances: Sequence[str], *, running: ErrorCase | None) -> None:
        for instance in instances:
            model.drop_instance(instance)
            self._crashed.pop(instance, None)
            self._slots.end(instance, running=running, queued=wordings.UNLOADED_IN_QUEUE)


_FOREVER = float("inf")
