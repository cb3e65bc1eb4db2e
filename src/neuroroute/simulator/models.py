"""The models that the simulated server has, and which of them answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from neuroroute.simulator.answers import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neuroroute.simulator.answers import Fail
    from neuroroute.simulator.profiles import Profile
    from neuroroute.simulator.wordings import ErrorCase


@dataclass(slots=True)
class SimulatedModel:
    """A model on the server's disk, loaded or not. Change it at any time: the next request sees it."""

    key: str
    loaded: bool = False
    type: Literal["llm", "embedding"] = "llm"
    instances: int = 1
    """How often it is loaded, when it is: the instances are ``key``, ``key:2``, ..."""
    vision: bool = False
    tools: bool = True
    reasoning: Sequence[str] = ()
    """The settings it lists, the first of them its default; empty: it lists none."""
    max_context_length: int = 32768
    context_length: int = 4096
    """The context that an instance is loaded with, unless the load asked for another. A prompt of so many words, or
    more, does not fit."""
    parallel: int = 4
    """How many requests each instance answers at once; the others wait."""
    dimensions: int = 8
    """How many numbers its vectors have, if it is for embeddings."""
    publisher: str = "neuroroute"
    architecture: str = "llama"
    quantization: str = "Q4_K_M"
    format: Literal["gguf", "mlx"] = "gguf"
    loaded_on_request: bool = False
    """It was loaded by a request for it: such a one makes room for the next."""
    load_seconds: float = 0.0
    """How long a load takes; ``math.inf``: until ``simulator.load(key)`` ends it."""
    load_fails: Fail | ErrorCase | str | None = None
    """What ends every load instead of success; a string: the server's reason, in the envelope of version and route."""
    prefill_tokens_per_second: float | None = None
    """How fast it reads a prompt, in words; None: at once."""
    tokens_per_second: float | None = None
    """How fast it answers, in deltas of the stream; None: at once."""
    _missing: set[int] = field(default_factory=set[int], init=False, repr=False)
    _configs: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Any], init=False, repr=False)
    _loading_since: float | None = field(default=None, init=False, repr=False)

    @property
    def instance_ids(self) -> list[str]:
        """The ids of its loaded instances; none when it is not loaded."""
        if not self.loaded:
            return []
        numbers = [n for n in range(1, self.instances + len(self._missing) + 1) if n not in self._missing]
        return [self._id(number) for number in numbers]

    @property
    def load_progress(self) -> float | None:
        """How far its load is, from 0 to 1; None: it is not being loaded."""
        if self._loading_since is None:
            return None
        if not self.load_seconds:
            return 1.0
        return min(1.0, (time.monotonic() - self._loading_since) / self.load_seconds)

    def config(self, instance: str) -> dict[str, Any]:
        """What an instance is loaded with, as the native listing tells it."""
        config: dict[str, Any] = {"context_length": self.context_length}
        if self.type == "llm":
            config["parallel"] = self.parallel
        if self.type == "llm" and self.format == "gguf":
            config |= {
                "eval_batch_size": 512,
                "flash_attention": True,
                "num_experts": 0,
                "offload_kv_cache_to_gpu": True,
            }
        asked = self._configs.get(instance, {})
        config |= {name: value for name, value in asked.items() if name in config}
        if "context_length" in asked:
            config["context_length"] = min(asked["context_length"], self.max_context_length)
        return config

    def load_begins(self) -> None:
        """From now on ``load_progress`` tells of a load."""
        self._loading_since = time.monotonic()

    def load_ends(self) -> None:
        """No load is under way any more."""
        self._loading_since = None

    def add_instance(self, config: Mapping[str, Any]) -> str:
        """Loads it once more; returns the new instance's id."""
        if not self.loaded:
            self.loaded, self.instances = True, 1
            self._missing.clear()
            number = 1
        elif self._missing:
            number = min(self._missing)
            self._missing.remove(number)
            self.instances += 1
        else:
            self.instances += 1
            number = self.instances
        self._configs[self._id(number)] = config
        return self._id(number)

    def drop_instance(self, instance: str) -> None:
        """Unloads one instance; without its last one the model is not loaded."""
        self._configs.pop(instance, None)
        if len(self.instance_ids) == 1:
            self.loaded = self.loaded_on_request = False
            self.instances = 1
            self._missing.clear()
            return
        self._missing.add(1 if instance == self.key else int(instance.rpartition(":")[2]))
        self.instances -= 1

    def _id(self, number: int) -> str:
        return self.key if number == 1 else f"{self.key}:{number}"


def default_models() -> list[SimulatedModel]:
    """One model of each kind: a loaded one, one on disk, one for embeddings."""
    return [
        SimulatedModel("llama3", loaded=True),
        SimulatedModel(
            "qwen3-8b", reasoning=("on", "off"), max_context_length=40960, architecture="qwen3", publisher="qwen"
        ),
        SimulatedModel(
            "text-embedding-nomic-embed-text-v1.5",
            type="embedding",
            tools=False,
            max_context_length=2048,
            context_length=2048,
            architecture="nomic-bert",
            publisher="nomic-ai",
        ),
    ]


def resolve(
    models: Sequence[SimulatedModel], asked: str, *, jit: bool, profile: Profile, lonely: bool = True
) -> tuple[SimulatedModel, str | None]:
    """Finds which of the models of one type answers a request.

    Args:
        models: Those of that type.
        asked: A key, in any case, or an instance's id.
        jit: Whether one that is not loaded may be.
        profile: The version of the server.
        lonely: Whether the only one that is loaded answers for what is unknown.

    Returns:
        The model, and the id of the instance that answers; None: it has to be loaded first.

    Raises:
        Refused: No model answers, in the words of that version.
    """
    loaded = [model for model in models if model.loaded]
    for model in loaded:
        if asked in model.instance_ids:
            return model, asked
    known = next((model for model in models if model.key.lower() == asked.lower()), None)
    if known and known.loaded:
        return known, known.instance_ids[0]
    if known and jit:
        return known, None
    if lonely and len(loaded) == 1:
        return loaded[0], loaded[0].instance_ids[0]
    if loaded:
        raise Refused(profile.unknown_model(asked, [model.key for model in models]))
    raise Refused(profile.no_models_loaded)
