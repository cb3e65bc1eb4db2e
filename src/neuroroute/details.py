"""What models a server has."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

ModelKind: TypeAlias = Literal["llm", "embedding", "unknown"]


class ModelInstance(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of a model in memory."""

    id: str
    """The id to ask for this very copy; the first has the model's key, others ``key:2`` and so on."""
    context_length: int | None = None
    """Tokens that it was loaded with."""
    parallel: int | None = None
    """Requests that it answers at once."""


class ModelDetails(msgspec.Struct, frozen=True, kw_only=True):
    """One model, as far as the server tells; one type over every listing that LM Studio has."""

    key: str
    """The id to ask for."""
    source: Literal["v1", "v0", "openai"]
    """Which listing told: ``/api/v1/models``, ``/api/v0/models`` or ``/v1/models``."""
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

    @property
    def context_length(self) -> int | None:
        """Tokens that fit: the smallest context that a copy was loaded with, else the most that one could have."""
        loaded = [instance.context_length for instance in self.instances if instance.context_length]
        return min(loaded) if loaded else self.max_context_length

    def answers_to(self, model_id: str) -> bool:
        """Whether a request for this id is a request for this model: keys match in any case, instance ids exactly."""
        return same_model(model_id, self.key) or any(instance.id == model_id for instance in self.instances)


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
