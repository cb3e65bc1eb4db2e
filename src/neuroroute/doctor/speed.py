"""PURE: what the phases of an answer and the state of the machine say of slowness."""

from __future__ import annotations

from neuroroute.details import ModelDetails
from neuroroute.doctor.findings import Finding, Phases, found
from neuroroute.doctor.machine import Machine

_LONG_ANSWER = 500
"""Tokens of an answer that one would rather see being written."""
_PATIENCE_SECONDS = 10.0
_READING_SPEED = 7.0
"""Tokens per second: about five words, as fast as a person reads."""
_SHARE = 0.6
_WORTH_MS = 1500.0
_BUSY = 1.5
"""Programs that want to run, per core."""
_LEFT = 0.05
"""Of all memory."""
_BESIDE = 1.2
"""What a loaded model takes, beside its size on disk."""


def of_phases(phases: Phases, context_length: int | None) -> list[Finding]:
    """Where the time goes, judged by its shares.

    Args:
        phases: of one stream that was whole.
        context_length: what the model was loaded with.
    """
    if phases.total_ms is None or phases.first_token_ms is None:
        return []
    writing, reading = phases.tokens_per_second, phases.prompt_tokens_per_second
    told = [
        f"connect {_ms(phases.connect_ms)}" if phases.connect_ms is not None else "",
        f"first token {_ms(phases.first_token_ms)}",
        f"prompt {reading:.0f} tokens/s" if reading else "",
        f"answer {writing:.0f} tokens/s" if writing else "",
    ]
    findings = [found("speed", "speed", ", ".join(filter(None, told)))]
    way = phases.page_ms or 0.0
    waited, lasted = phases.first_token_ms - way, phases.total_ms - way
    if waited > max(_WORTH_MS, _SHARE * lasted):
        share = waited / lasted
        what = f"{share:.0%} of the time went by before the first token"
        if reading and context_length:
            what += f"; a full context of {context_length} tokens would take {context_length / reading:.0f} s to read"
        findings.append(found("prompt-slow", "speed", what))
    if writing and writing < _READING_SPEED:
        findings.append(found("generation-slow", "speed", f"it writes {writing:.1f} tokens per second"))
    if writing and _LONG_ANSWER / writing > _PATIENCE_SECONDS:
        what = (
            f"a long answer ({_LONG_ANSWER} tokens) takes {_LONG_ANSWER / writing:.0f} s whole; "
            f"streamed, it begins after {_ms(phases.first_token_ms)}"
        )
        findings.append(found("streaming-advised", "speed", what))
    if phases.load_ms is not None and phases.load_ms > max(_WORTH_MS, 2 * phases.total_ms):
        findings.append(found("load-slow", "speed", f"loading the model took {_ms(phases.load_ms)}"))
    return findings


def of_machine(machine: Machine, model: ModelDetails | None) -> list[Finding]:
    """Whether the machine has what the model needs.

    Args:
        machine: what was seen of it; it is the one that the server runs on.
        model: the one that would be asked.
    """
    free, total = machine.memory_available, machine.memory_total
    told = [
        f"{machine.cores} cores" if machine.cores else "",
        f"load {machine.load:.1f}" if machine.load is not None else "",
        f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free" if free and total else "",
    ]
    findings = [found("machine", "machine", ", ".join(filter(None, told)) or "nothing is known of it")]
    if machine.load is not None and machine.cores and machine.load > _BUSY * machine.cores:
        what = f"{machine.load:.1f} programs want to run on {machine.cores} cores"
        findings.append(found("machine-busy", "machine", what))
    size = model.size_bytes if model is not None else None
    if free is None or not total:
        return findings
    if model is not None and model.loaded is False and size and size * _BESIDE > free:
        what = f"{model.key} needs about {size * _BESIDE / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        findings.append(found("memory-short", "machine", what, level="warning"))
    elif free < _LEFT * total:
        findings.append(found("memory-tight", "machine", f"{free / 1e9:.1f} of {total / 1e9:.1f} GB memory are free"))
    return findings


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"
