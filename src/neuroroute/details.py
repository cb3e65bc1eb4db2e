"""What models a server has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

import msgspec

from neuroroute.capabilities import CAPABILITIES, Capability, detected
from neuroroute.responses import Note

ModelKind: TypeAlias = Literal["llm", "embedding", "unknown"]
ListingSource: TypeAlias = Literal["v1", "v0", "openai"]


class ModelInstance(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of a model in memory."""

    id: str
    """The id to ask for this very copy; the first has the model's key, others ``key:2`` and so on."""
    context_length: int | None = None
    """Tokens that it was loaded with."""
    parallel: int | None = None
    """Requests that it answers at once."""
    config: dict[str, Any] = {}
    """All that the server lists of how it was loaded; what that is depends on the engine."""
    host: str = ""
    """Name of the host that has it, where there are several hosts."""


class ModelDetails(msgspec.Struct, frozen=True, kw_only=True):
    """One model, as far as the server tells; one type over every listing that LM Studio has."""

    key: str
    """The id to ask for."""
    source: ListingSource | Literal["id"]
    """Who told: ``/api/v1/models``, ``/api/v0/models``, ``/v1/models``, or nobody but the model's id."""
    kind: ModelKind = "unknown"
    """``llm``, ``embedding``, or ``unknown`` where the listing does not tell."""
    display_name: str = ""
    publisher: str = ""
    architecture: str = ""
    """Such as ``llama`` or ``qwen3``."""
    quantization: str = ""
    """Such as ``Q4_K_M``."""
    format: str = ""
    """``gguf`` or ``mlx``."""
    parameters: str = ""
    """Their number as the publisher writes it, such as ``7B``."""
    size_bytes: int | None = None
    """On disk."""
    max_context_length: int | None = None
    """Tokens that the model could be loaded with."""
    loaded: bool | None = None
    """None where the listing does not tell."""
    instances: tuple[ModelInstance, ...] = ()
    """Its copies in memory."""
    reasoning_options: tuple[str, ...] = ()
    """The settings that ``reasoning`` may have; empty where the listing does not tell."""
    capabilities: frozenset[Capability] = frozenset()
    """What it can do."""
    hosts: tuple[str, ...] = ()
    """Names of the hosts that have it, where there are several hosts."""
    told: frozenset[Capability] = frozenset()
    """Those capabilities of which the server says whether the model has them; the others were detected from its id."""

    @classmethod
    def listed(cls, *, key: str, told: Mapping[Capability, bool], **more: Any) -> Self:
        """What a listing says of a model, with what its id says of all that the listing does not.

        Args:
            key: the model's.
            told: of which capabilities the listing says whether the model has them.
            **more: the other fields.
        """
        if told.get("embedding"):
            told = {**dict.fromkeys(CAPABILITIES, False), **told}
        guess = detected(key)
        can = frozenset[Capability](name for name in CAPABILITIES if told.get(name, name in guess))
        return cls(key=key, capabilities=can, told=frozenset(told), **more)

    @property
    def state(self) -> Literal["loaded", "not_loaded", "unknown"]:
        """Whether it is in memory; ``unknown`` where the listing does not tell."""
        return "unknown" if self.loaded is None else "loaded" if self.loaded else "not_loaded"

    @property
    def capabilities_source(self) -> Literal["server", "id"]:
        """Whether the server said anything of what it can do; which, is in ``told``."""
        return "server" if self.told else "id"

    def lacks(self, capability: Capability) -> bool:
        """Whether the server says that the model cannot do this; what only its id suggests is no such word."""
        return capability in self.told and capability not in self.capabilities

    @property
    def context_length(self) -> int | None:
        """Tokens that fit: the smallest context that a copy was loaded with, else the most that one could have."""
        loaded = [instance.context_length for instance in self.instances if instance.context_length]
        return min(loaded) if loaded else self.max_context_length

    def answers_to(self, model_id: str) -> bool:
        """Whether a request for this id is a request for this model: keys match in any case, instance ids exactly."""
        return same_model(model_id, self.key) or any(instance.id == model_id for instance in self.instances)


def merged(listings: Mapping[str, Sequence[ModelDetails]]) -> list[ModelDetails]:
    """The models of several hosts as if they were one: each once, with all its copies in memory.

    It can do what it can do on one of them. What else differs, such as the quantization, is told as the first has it
    that has the model loaded.

    Args:
        listings: the models of each host, by its name.
    """
    found: dict[str, list[tuple[str, ModelDetails]]] = {}
    for host, models in listings.items():
        for model in models:
            found.setdefault(model.key.casefold(), []).append((host, model))
    return [_of_several(everywhere) for everywhere in found.values()]


def _of_several(everywhere: list[tuple[str, ModelDetails]]) -> ModelDetails:
    first = next((model for _, model in everywhere if model.loaded), everywhere[0][1])
    states = {model.loaded for _, model in everywhere}
    return msgspec.structs.replace(
        first,
        loaded=True if True in states else (None if None in states else False),
        instances=tuple(
            msgspec.structs.replace(copy, host=host) for host, model in everywhere for copy in model.instances
        ),
        capabilities=frozenset[Capability]().union(*(model.capabilities for _, model in everywhere)),
        told=first.told.intersection(*(model.told for _, model in everywhere)),
        reasoning_options=tuple(dict.fromkeys(one for _, model in everywhere for one in model.reasoning_options)),
        hosts=tuple(host for host, _ in everywhere),
    )


class Surface(msgspec.Struct, frozen=True, kw_only=True):
    """Which of LM Studio's APIs a server has."""

    listing: ListingSource
    """The listing that tells most of those that it has."""
    lm_studio: bool
    """Whether it is an LM Studio: it has a native API, or says so at ``/lmstudio-greeting``."""


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is in memory now."""

    key: str
    """The model's."""
    instance_id: str
    """The id to ask for this very copy."""
    host: str = ""
    """Name of the host that has it."""
    context_length: int | None = None
    """Tokens that it was really loaded with; None where the server does not tell."""
    config: dict[str, Any] = {}
    """All that the server lists of how it was loaded."""
    seconds: float = 0.0
    """How long the load took; 0: it was loaded already."""
    notes: tuple[Note, ...] = ()
    """What is not as asked."""


class DownloadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is on the server's disk now."""

    model: str
    """As it was asked for."""
    size_bytes: int | None = None
    """None where the server does not tell."""
    already: bool = False
    """It was there before."""


Phase: TypeAlias = Literal["downloading", "paused", "downloaded", "loading", "loaded", "processing_prompt"]


class ModelProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a download, a load, or the reading of a prompt is."""

    model: str
    phase: Phase
    fraction: float | None = None
    """0 to 1, where a ``native`` stream tells it; of downloads there are the bytes."""
    done_bytes: int | None = None
    """None where the server does not tell; it never does of a load."""
    total_bytes: int | None = None
    bytes_per_second: float | None = None


def same_model(asked: str, answered: str) -> bool:
    """Whether the model that answered is the one asked for.

    It is, too, when it is an instance of it (``key:2``), or when only the publisher before the key was left out.
    """
    asked, answered = asked.casefold(), answered.casefold()
    if asked == answered:
        return True
    key, _, instance = answered.rpartition(":")
    if instance.isdecimal() and same_model(asked, key):
        return True
    return "/" not in asked and answered.endswith(f"/{asked}")
