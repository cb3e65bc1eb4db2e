"""The models that the simulated server has, and its three listings of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from neuroroute.simulator import catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    """The context that an instance is loaded with."""
    parallel: int = 4
    publisher: str = "neuroroute"
    architecture: str = "llama"
    quantization: str = "Q4_K_M"
    format: Literal["gguf", "mlx"] = "gguf"
    loaded_on_request: bool = False
    """It was loaded by a request for it: such a one makes room for the next."""

    @property
    def instance_ids(self) -> list[str]:
        """The ids of its loaded instances; none when it is not loaded."""
        if not self.loaded:
            return []
        return [self.key, *(f"{self.key}:{number}" for number in range(2, self.instances + 1))]


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
            architecture="nomic-bert",
            publisher="nomic-ai",
        ),
    ]


def resolve(models: Sequence[SimulatedModel], asked: str, *, jit: bool) -> tuple[SimulatedModel, str]:
    """Finds who answers a chat request, loading it on request where the server does that.

    Returns:
        The model, and the id of the instance that answers.

    Raises:
        Unresolved: No model answers.
    """
    llms = [model for model in models if model.type == "llm"]
    loaded = [model for model in llms if model.loaded]
    for model in llms:
        if asked in model.instance_ids:
            return model, asked
    known = next((model for model in llms if model.key.lower() == asked.lower()), None)
    if known and not known.loaded and jit:
        _load_on_request(known, llms)
    if known and known.loaded:
        return known, known.key
    if len(loaded) == 1:
        return loaded[0], loaded[0].key
    if loaded:
        raise Unresolved(catalogue.unknown_model(asked, [model.key for model in llms]))
    raise Unresolved(catalogue.NO_MODELS_LOADED)


class Unresolved(Exception):  # noqa: N818 - a finding, not a fault
    """No model answers; ``case`` is what the server says then."""

    def __init__(self, case: catalogue.ErrorCase) -> None:
        super().__init__(case.name)
        self.case = case


def _load_on_request(wanted: SimulatedModel, models: Sequence[SimulatedModel]) -> None:
    for model in models:
        if model.loaded_on_request:
            model.loaded = model.loaded_on_request = False
    wanted.loaded = wanted.loaded_on_request = True


# ── The listings ────────────────────────────────────────────────────────────────────────────────────────────────────


def list_openai(models: Sequence[SimulatedModel], *, jit: bool) -> dict[str, Any]:
    """``GET /v1/models``: ids only."""
    data = [
        {"id": name, "object": "model", "owned_by": "organization_owner"}
        for model in models
        for name in _listed_names(model, jit=jit)
    ]
    return {"data": data, "object": "list"}


def list_v0(models: Sequence[SimulatedModel], *, jit: bool) -> dict[str, Any]:
    """``GET /api/v0/models``."""
    data = [_entry_v0(model, name) for model in models for name in _listed_names(model, jit=jit)]
    return {"data": data, "object": "list"}


def one_v0(models: Sequence[SimulatedModel], asked: str, *, jit: bool) -> dict[str, Any] | None:
    """``GET /api/v0/models/{model}``; None: there is no such model."""
    entries = list_v0(models, jit=jit)["data"]
    return next((entry for entry in entries if entry["id"].lower() == asked.lower()), None)


def list_v1(models: Sequence[SimulatedModel]) -> dict[str, Any]:
    """``GET /api/v1/models``: everything on disk, whatever is loaded."""
    return {"models": [_entry_v1(model) for model in models]}


def _listed_names(model: SimulatedModel, *, jit: bool) -> list[str]:
    return model.instance_ids or ([model.key] if jit else [])


def _entry_v0(model: SimulatedModel, name: str) -> dict[str, Any]:
    kind = "embeddings" if model.type == "embedding" else "vlm" if model.vision else "llm"
    entry: dict[str, Any] = {
        "id": name,
        "object": "model",
        "type": kind,
        "publisher": model.publisher,
        "arch": model.architecture,
        "compatibility_type": model.format,
        "quantization": model.quantization,
        "state": "loaded" if model.loaded else "not-loaded",
        "max_context_length": model.max_context_length,
    }
    if model.loaded:
        entry["loaded_context_length"] = model.context_length
    if model.tools:
        entry["capabilities"] = ["tool_use"]
    return entry


def _entry_v1(model: SimulatedModel) -> dict[str, Any]:
    config: dict[str, Any] = {"context_length": model.context_length, "parallel": model.parallel}
    if model.format == "gguf":
        config |= {"eval_batch_size": 512, "flash_attention": True, "num_experts": 0, "offload_kv_cache_to_gpu": True}
    entry: dict[str, Any] = {
        "type": model.type,
        "publisher": model.publisher,
        "key": model.key,
        "display_name": model.key,
        "architecture": model.architecture,
        "quantization": {"name": model.quantization, "bits_per_weight": 4},
        "size_bytes": 4_920_000_000,
        "params_string": "8B",
        "loaded_instances": [{"id": name, "config": config} for name in model.instance_ids],
        "max_context_length": model.max_context_length,
        "format": model.format,
        "description": None,
    }
    if model.type == "llm":
        entry["capabilities"] = _capabilities_v1(model)
    return entry


def _capabilities_v1(model: SimulatedModel) -> dict[str, Any]:
    listed: dict[str, Any] = {"vision": model.vision, "trained_for_tool_use": model.tools}
    if model.reasoning:
        listed["reasoning"] = {"allowed_options": list(model.reasoning), "default": model.reasoning[0]}
    return listed
