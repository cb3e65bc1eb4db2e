"""The listings of models: ``/api/v1/models``, ``/api/v0/models`` and ``/v1/models``, each in its own shape.

Source: https://lmstudio.ai/docs/developer/rest
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from neuroroute.details import ModelDetails, ModelInstance, ModelKind
from neuroroute.wire.failures import UNDECODABLE, failure_in_success


class _Quantization(msgspec.Struct):
    name: str | None = None


class _Config(msgspec.Struct):
    context_length: int | None = None
    parallel: int | None = None


class _Instance(msgspec.Struct):
    id: str
    config: _Config = msgspec.field(default_factory=_Config)


class _Reasoning(msgspec.Struct):
    allowed_options: list[str] = []


class _Capabilities(msgspec.Struct):
    reasoning: _Reasoning | None = None


class _V1Model(msgspec.Struct):
    key: str
    type: str = ""
    publisher: str | None = None
    display_name: str | None = None
    architecture: str | None = None
    quantization: _Quantization | None = None
    size_bytes: int | None = None
    params_string: str | None = None
    loaded_instances: list[_Instance] = []
    max_context_length: int | None = None
    format: str | None = None
    capabilities: _Capabilities | None = None

    def details(self) -> ModelDetails:
        reasoning = self.capabilities and self.capabilities.reasoning
        instances = tuple(
            ModelInstance(id=one.id, context_length=one.config.context_length, parallel=one.config.parallel)
            for one in self.loaded_instances
        )
        return ModelDetails(
            key=self.key,
            source="v1",
            kind=_kind(self.type),
            display_name=self.display_name or "",
            publisher=self.publisher or "",
            architecture=self.architecture or "",
            quantization=(self.quantization and self.quantization.name) or "",
            format=self.format or "",
            parameters=self.params_string or "",
            size_bytes=self.size_bytes,
            max_context_length=self.max_context_length,
            loaded=bool(instances),
            instances=instances,
            reasoning_options=tuple(reasoning.allowed_options) if reasoning else (),
        )


class _V1(msgspec.Struct):
    models: list[_V1Model]

    def details(self) -> list[ModelDetails]:
        return [model.details() for model in self.models]


class _V0Model(msgspec.Struct):
    id: str
    type: str = ""
    publisher: str | None = None
    arch: str | None = None
    compatibility_type: str | None = None
    quantization: str | None = None
    state: str | None = None
    max_context_length: int | None = None
    loaded_context_length: int | None = None

    def details(self) -> ModelDetails:
        loaded = self.state == "loaded"
        return ModelDetails(
            key=self.id,
            source="v0",
            kind=_kind(self.type),
            publisher=self.publisher or "",
            architecture=self.arch or "",
            quantization=self.quantization or "",
            format=self.compatibility_type or "",
            max_context_length=self.max_context_length,
            loaded=loaded,
            instances=(ModelInstance(id=self.id, context_length=self.loaded_context_length),) if loaded else (),
        )


class _V0(msgspec.Struct):
    data: list[_V0Model]

    def details(self) -> list[ModelDetails]:
        return [model.details() for model in self.data]


class _Meta(msgspec.Struct):
    """llama.cpp's."""

    n_ctx: int | None = None
    n_ctx_train: int | None = None
    size: int | None = None
    ftype: str | None = None


class _OpenAIModel(msgspec.Struct):
    id: str
    meta: _Meta | None = None

    def details(self) -> ModelDetails:
        if self.meta is None:
            return ModelDetails(key=self.id, source="openai")
        return ModelDetails(
            key=self.id,
            source="openai",
            quantization=self.meta.ftype or "",
            size_bytes=self.meta.size,
            max_context_length=self.meta.n_ctx_train,
            loaded=True,
            instances=(ModelInstance(id=self.id, context_length=self.meta.n_ctx),),
        )


class _OpenAI(msgspec.Struct):
    data: list[_OpenAIModel]

    def details(self) -> list[ModelDetails]:
        return [model.details() for model in self.data]


Listing: TypeAlias = _V1 | _V0 | _OpenAI

LISTINGS: tuple[tuple[str, type[Listing]], ...] = (
    ("/api/v1/models", _V1),
    ("/api/v0/models", _V0),
    ("/v1/models", _OpenAI),
)
"""Where to ask, the one that tells most first."""


def decode_listing(body: bytes, shape: type[Listing]) -> list[ModelDetails]:
    """The models of a listing.

    Raises:
        LMStudioError: it is none; an unknown route answers 200 with an error (LM Studio #618).
    """
    try:
        return msgspec.json.decode(body, type=shape).details()
    except UNDECODABLE as error:
        raise failure_in_success(body, why=str(error)) from error


_KINDS: dict[str, ModelKind] = {"llm": "llm", "vlm": "llm", "embedding": "embedding", "embeddings": "embedding"}


def _kind(name: str) -> ModelKind:
    return _KINDS.get(name, "unknown")
