"""The three listings of the models that the simulated server has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neuroroute.simulator.models import SimulatedModel


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
        entry["loaded_context_length"] = model.config(name)["context_length"]
    if model.tools:
        entry["capabilities"] = ["tool_use"]
    return entry


def _entry_v1(model: SimulatedModel) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": model.type,
        "publisher": model.publisher,
        "key": model.key,
        "display_name": model.key,
        "architecture": model.architecture,
        "quantization": {"name": model.quantization, "bits_per_weight": 4},
        "size_bytes": 4_920_000_000,
        "params_string": "8B",
        "loaded_instances": [{"id": name, "config": model.config(name)} for name in model.instance_ids],
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
