"""What a test does to the models of a running server, from whatever thread it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuroroute.simulator.lifecycle import Lifecycle
from neuroroute.simulator.serving import LoopbackServer
from neuroroute.simulator.slots import Slots

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.profiles import Profile
    from neuroroute.simulator.unknowns import Unknowns


class Controlled(LoopbackServer):
    """A server whose models come and go by hand. Each of these has happened when the call returns."""

    models: list[SimulatedModel]
    jit: bool
    auto_evict: bool
    profile: Profile
    unknowns: Unknowns

    def __init__(self, *, port: int, keepalive_timeout: float) -> None:
        super().__init__(port=port, keepalive_timeout=keepalive_timeout)
        self._slots = Slots()
        self._lifecycle = Lifecycle(self, self._slots, self._spawn)

    def load(self, key: str) -> None:
        """Ends the load of a model that is under way, at once; without one, it is loaded once more.

        Raises:
            ValueError: There is no such model.
        """
        model, _ = self._named(key)
        self._in_loop(lambda: self._lifecycle.finish_load(model))

    def unload(self, key: str) -> None:
        """Unloads a model: its running requests fail with "Model unloaded.", those that wait with words of their own.

        A load under way is canceled.

        Args:
            key: The model's key, for all its instances, or the id of a further instance, as in ``"llama3:2"``.

        Raises:
            ValueError: There is no such model or instance.
        """
        model, instances = self._named(key)

        def act() -> None:
            self._lifecycle.unload(model, instances)
            if key == model.key:
                self._lifecycle.cancel_loads(model)

        self._in_loop(act)

    def reload(self, key: str) -> None:
        """Takes a model down and up again: its running requests fail with "Model reloaded.".

        Raises:
            ValueError: There is no such model.
        """
        model, _ = self._named(key)
        self._in_loop(lambda: self._lifecycle.reload(model))

    def crash(self, key: str, exit_code: int | None = None) -> None:
        """Lets the process that runs a model die: its running requests fail with the words of a crash.

        Args:
            key: The model's key.
            exit_code: What the words tell; None: ``null``.

        Raises:
            ValueError: There is no such model.
        """
        model, _ = self._named(key)
        self._in_loop(lambda: self._lifecycle.crash(model, exit_code))

    def evict(self, key: str) -> None:
        """Unloads a model as the server does that makes room for another: ``Unknowns.evict_kills_running`` says how.

        Raises:
            ValueError: There is no such model.
        """
        model, _ = self._named(key)
        self._in_loop(lambda: self._lifecycle.evict([model]))

    def running(self, key: str) -> int:
        """How many requests are being answered by a model, or by one instance (``"llama3:2"``)."""
        return self._slots.running(key)

    def queued(self, key: str) -> int:
        """How many requests wait for a slot of a model, or of one instance."""
        return self._slots.queued(key)

    def _hold(self, model: SimulatedModel, instance: str) -> AbstractAsyncContextManager[None]:
        """A slot of an instance, once there is one."""
        unknowns = self.unknowns
        return self._slots.hold(
            instance,
            self.profile.parallel(model.parallel),
            patience=unknowns.queue_seconds,
            impatient=unknowns.queue_aborted,
        )

    def _named(self, key: str) -> tuple[SimulatedModel, list[str]]:
        for model in self.models:
            if model.key == key:
                return model, model.instance_ids
            if key in model.instance_ids:
                return model, [key]
        msg = f"no model or instance is named {key!r}; there are {', '.join(model.key for model in self.models)}"
        raise ValueError(msg)
