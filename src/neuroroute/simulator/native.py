"""``POST /api/v1/models/load`` and ``/unload``: what they take, refuse and answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from neuroroute.simulator.answers import Fail, Refused
from neuroroute.simulator.wordings import object_error

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from neuroroute.simulator.lifecycle import Lifecycle
    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.wordings import ErrorCase

_LOAD_CONFIG = ("context_length", "eval_batch_size", "flash_attention", "num_experts", "offload_kv_cache_to_gpu")
_LOAD_KEYS = ("model", "echo_load_config", *_LOAD_CONFIG)


async def load(body: Mapping[str, Any], models: Sequence[SimulatedModel], lifecycle: Lifecycle) -> dict[str, Any]:
    """Loads a model once more, whatever is loaded of it.

    Raises:
        Refused: The request is wrong, or the load failed.
    """
    check(body, required="model", known=_LOAD_KEYS)
    for name in ("context_length", "eval_batch_size", "num_experts"):
        if name in body and (not isinstance(body[name], int) or body[name] < 1):
            # that it is refused is a guess, and so are the words
            raise Refused(_invalid("native_value", f"Invalid value for '{name}'", "invalid_value", name))
    asked = str(body["model"])
    model = next((model for model in models if model.key.lower() == asked.lower()), None)
    if model is None:
        raise Refused(not_found(asked))
    began = time.monotonic()
    instance = await lifecycle.load(model, {name: body[name] for name in _LOAD_CONFIG if name in body})
    answer: dict[str, Any] = {
        "type": model.type,
        "instance_id": instance,
        "load_time_seconds": round(time.monotonic() - began, 3),
        "status": "loaded",
    }
    if body.get("echo_load_config"):
        answer["load_config"] = model.config(instance)
    return answer


def unload(body: Mapping[str, Any], models: Sequence[SimulatedModel], lifecycle: Lifecycle) -> dict[str, Any]:
    """Unloads one instance.

    Raises:
        Refused: The request is wrong, or there is no such instance.
    """
    check(body, required="instance_id", known=("instance_id",))
    asked = str(body["instance_id"])
    for model in models:
        if asked in model.instance_ids:
            lifecycle.unload(model, [asked])
            return {"instance_id": asked}
    raise Refused(not_found(asked))


def check(body: Mapping[str, Any], *, required: str, known: Collection[str]) -> None:
    """Sees to it that a native body has what it must have, and nothing else.

    Raises:
        Refused: It has not.
    """
    if required not in body:
        message = f'"{required}" is required'
        raise Refused(_invalid("native_missing_field", message, "missing_required_parameter", required))
    if unknown := [name for name in body if name not in known]:
        names = ", ".join(f"'{name}'" for name in unknown)
        message = f"Unrecognized key(s) in object: {names}"
        raise Refused(_invalid("native_unknown_key", message, "unrecognized_keys", None))


def not_found(asked: str) -> ErrorCase:
    """A model or an instance that is not there."""
    return object_error(
        "native_model_not_found",
        f'Model "{asked}" not found.',
        status=404,
        endpoint="native",
        type="model_not_found",
        code="model_not_found",
    )


def as_native(case: ErrorCase | Fail) -> ErrorCase | Fail:
    """A failure at run time in the envelope of the native routes; a failure given word for word stays as it is."""
    if isinstance(case, Fail) or case.endpoint == "native":
        return case
    return native_error(case.name, case.message)


def native_error(name: str, message: str) -> ErrorCase:
    """A failure at run time."""
    return object_error(name, message, status=500, endpoint="native", type="internal_error", code="unknown")


def _invalid(name: str, message: str, code: str, param: str | None) -> ErrorCase:
    return object_error(name, message, endpoint="native", type="invalid_request", code=code, param=param)
