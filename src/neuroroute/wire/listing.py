"""The listings of models: ``/api/v1/models``, ``/api/v0/models`` and ``/v1/models``, each in its own shape.

Source: https://lmstudio.ai/docs/developer/rest
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from neuroroute.capabilities import Capability
from neuroroute.details import ListingSource, ModelDetails, ModelInstance, ModelKind
from neuroroute.wire.failures import UNDECODABLE, failure_in_success


class _Quantization(msgspec.Struct):
    name: str | None = None


class _Instance(msgspec.Struct):
    id: str
    config: dict[str, Any] = {}

    def instance(self) -> ModelInstance:
        return ModelInstance(
            id=self.id,
            context_length=_count(self.config.get("context_length")),
            parallel=_count(self.config.get("parallel")),
            config=self.config,
        )


class _Reasoning(msgspec.Struct):
    allowed_options: list[str] = []


class _Capabilities(msgspec.Struct):
    vision: bool | None = None
    trained_for_tool_use: bool | None = None
    reasoning: _Reasoning | None = None

    def told(self) -> dict[Capability, bool]:
        told: dict[Capability, bool] = {}
        if self.vision is not None:
            told["vision"] = self.vision
        if self.trained_for_tool_use is not None:
            told["tool_use"] = self.trained_for_tool_use
        if self.reasoning is not None:  # older servers leave it out of models that reason, too
            told["reasoning"] = bool({*self.reasoning.allowed_options} - {"off"})
        return told


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
        told = self.capabilities.told() if self.capabilities else {}
        instances = tuple(one.instance() for one in self.loaded_instances)
        return ModelDetails.listed(
            key=self.key,
            told=_by_kind(_kind(self.type)) | told,
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
    capabilities: list[str] | None = None

    def details(self) -> ModelDetails:
        loaded = self.state == "loaded"
        told = _by_kind(_kind(self.type))
        if _kind(self.type) == "llm":
            told["vision"] = self.type == "vlm"
        if self.capabilities is not None:  # where it is missing, the server may be too old to say
            told["tool_use"] = "tool_use" in self.capabilities
        return ModelDetails.listed(
            key=self.id,
            told=told,
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
            return ModelDetails.listed(key=self.id, told={}, source="openai")
        return ModelDetails.listed(
            key=self.id,
            told={},
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

LISTINGS: dict[ListingSource, str] = {"v1": "/api/v1/models", "v0": "/api/v0/models", "openai": "/v1/models"}
"""Where to ask, the one that tells most first."""

_SHAPES: dict[ListingSource, type[Listing]] = {"v1": _V1, "v0": _V0, "openai": _OpenAI}


def decode_listing(body: bytes, source: ListingSource) -> list[ModelDetails]:
    """The models of a listing.

    Raises:
        LMStudioError: it is none; an unknown route answers 200 with an error (LM Studio #618).
    """
    try:
        return msgspec.json.decode(body, type=_SHAPES[source]).details()
    except UNDECODABLE as error:
        raise failure_in_success(body, why=str(error)) from error


GREETING = "/lmstudio-greeting"
"""Where LM Studio says that it is one."""


class _Greeting(msgspec.Struct):
    lmstudio: bool = False


def greets(status: int, body: bytes) -> bool:
    """Whether this is how an LM Studio greets at :data:`GREETING`."""
    try:
        return status == 200 and msgspec.json.decode(body, type=_Greeting).lmstudio
    except UNDECODABLE:
        return False


_KINDS: dict[str, ModelKind] = {"llm": "llm", "vlm": "llm", "embedding": "embedding", "embeddings": "embedding"}


def _kind(name: str) -> ModelKind:
    return _KINDS.get(name, "unknown")


def _by_kind(kind: ModelKind) -> dict[Capability, bool]:
    return {} if kind == "unknown" else {"chat": kind == "llm", "embedding": kind == "embedding"}


def _count(value: Any) -> int | None:
    return value if type(value) is int else None
