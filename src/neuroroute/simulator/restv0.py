"""What the routes of ``/api/v0`` add to an answer: how fast it was, and what ran it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroroute.simulator.chat import Completion
    from neuroroute.simulator.delivery import Events

_STOPPED = {"length": "maxPredictedTokensReached", "tool_calls": "toolCalls"}
_RUNTIMES = {"gguf": "llama.cpp-linux-x86_64-avx2", "mlx": "mlx-llm-mac-arm64-apple-metal-advsimd"}


def added(completion: Completion, events: Events) -> dict[str, Any]:
    """The three fields; scripted stats win over those that are counted."""
    model, style = completion.source, completion.style
    stats = {
        "tokens_per_second": style.tokens_per_second,
        "time_to_first_token": style.first_token,
        "generation_time": round(style.delta * len(events.deltas), 3),
        "stop_reason": _STOPPED.get(completion.finish_reason, "eosFound"),
    }
    return {
        "stats": {**stats, **completion.answer.stats},
        "model_info": {
            "arch": model.architecture,
            "quant": model.quantization,
            "format": model.format,
            "context_length": completion.context,
        },
        "runtime": {"name": _RUNTIMES[model.format], "version": "1.3.0", "supported_formats": [model.format]},
    }
