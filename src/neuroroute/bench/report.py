"""What was measured, as values that go to JSON: ``msgspec.json.encode(report)``."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import msgspec

from neuroroute.bench.asking import count_of
from neuroroute.bench.figures import Spread, percentile, spread
from neuroroute.bench.plan import Plan
from neuroroute.bench.samples import Failure, Sample, Warmup, Wave

if TYPE_CHECKING:
    from neuroroute.bench.measure import Run

SHAPE: Final = 1
"""Version of the report's shape; a change that a reader must know raises it."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the measuring ran; the models may be elsewhere."""

    system: str
    cores: int
    python: str


class Gaps(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds between two pieces of an answer, over all answers to requests alone."""

    p50: float
    p99: float
    count: int


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests at once."""

    concurrency: int
    tokens_per_second: Spread | None
    """Of all answers together, from the first request to the last piece. Waves with a failure do not count."""
    ttft_ms: Spread | None
    """Milliseconds to the first piece of an answer."""
    sent: int
    failed: int


class ToolCalls(msgspec.Struct, frozen=True, kw_only=True):
    """How the model called tools."""

    trained: bool | None
    """Whether the server says that the model was trained for it; None: it does not tell."""
    asked: int
    """Questions that ask for a call."""
    valid: int
    """Answers that call an offered tool, the right one, with arguments that it takes."""
    no_call: int = 0
    unknown_tool: int = 0
    bad_arguments: int = 0
    other_tool: int = 0
    failed: int = 0
    """Requests that failed."""
    mended: int = 0
    """Answers whose calls NeuroRoute had to put right; they are judged as they were then."""


class FailureCount(msgspec.Struct, frozen=True, kw_only=True):
    """A failure, and how often it came."""

    code: str
    message: str
    count: int


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a model on a host. What could not be measured is None."""

    model: str
    host: str
    quantization: str
    parameters: str
    context_length: int | None
    warmup: Warmup | None
    """The first request; not counted."""
    ttft_ms: Spread | None
    """Milliseconds from a request, alone, to the first piece of its answer."""
    prompt_tokens_per_second: Spread | None
    """Tokens of the prompt until the first piece of the answer."""
    generation_tokens_per_second: Spread | None
    """Tokens of an answer after its first piece."""
    gap_ms: Gaps | None
    levels: tuple[Level, ...]
    """By how many requests were sent at once."""
    tools: ToolCalls | None
    prompt_tokens: Spread | None
    """How long the prompts were."""
    completion_tokens: Spread | None
    """How long the answers were."""
    cached_tokens: int
    """Tokens of prompts, all together, that the server says it had from earlier ones; not in the speed."""
    estimated: bool
    """The server did not count tokens: they, and speeds, are estimates."""
    pieces_per_token: float | None
    """1 where each token came as a piece of its own."""
    client_share: float | None
    """Processor time of the client itself, as a share of the time that was measured."""
    sent: int
    """All requests, with those that warmed it up."""
    failed: int
    """How many of them failed."""
    failures: tuple[FailureCount, ...]
    given_up: Failure | None
    """Why it was asked no more before the end."""
    ttft_samples_ms: tuple[float, ...]
    gap_samples_ms: tuple[float, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    shape: int
    """Version of this shape."""
    neuroroute: str
    """Version of NeuroRoute."""
    machine: Machine
    started: str
    """ISO 8601, UTC."""
    seconds: float
    finished: bool
    """Whether everything was measured that was planned."""
    plan: Plan
    models: tuple[ModelReport, ...]

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(model.failed for model in self.models)

    @property
    def measured(self) -> bool:
        """Whether there is anything to show."""
        return any(model.levels or model.tools for model in self.models)


def report_of(runs: Iterable[Run], plan: Plan, started_at: float, seconds: float, *, finished: bool) -> Report:
    """The report of what was measured so far.

    Args:
        runs: one for each model and host.
        plan: what was planned.
        started_at: seconds since 1970.
        seconds: how long it took.
        finished: whether it is all.
    """
    return Report(
        shape=SHAPE,
        neuroroute=version("neuroroute"),
        machine=Machine(
            system=f"{platform.system()} {platform.machine()}",
            cores=os.cpu_count() or 1,
            python=platform.python_version(),
        ),
        started=datetime.fromtimestamp(started_at, UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        finished=finished,
        plan=plan,
        models=tuple(_model(run, plan) for run in runs),
    )


def _model(run: Run, plan: Plan) -> ModelReport:
    details = run.target.details
    samples = [sample for wave in run.waves for sample in wave.samples]
    alone = [sample for wave in run.waves if wave.concurrency == 1 for sample in wave.samples]
    gaps = [gap * 1000 for sample in alone for gap in sample.gaps]
    firsts = [sample.first * 1000 for sample in alone]
    failures = [*run.failures, *(failure for wave in run.waves for failure in wave.failures)]
    return ModelReport(
        model=run.target.model,
        host=run.target.host,
        quantization=details.quantization if details else "",
        parameters=details.parameters if details else "",
        context_length=details.context_length if details else None,
        warmup=run.warmup,
        ttft_ms=spread(firsts),
        prompt_tokens_per_second=spread(sample.prompt_speed for sample in alone if sample.prompt_speed),
        generation_tokens_per_second=spread(sample.generation_speed for sample in alone if sample.generation_speed),
        gap_ms=Gaps(p50=percentile(gaps, 0.5), p99=percentile(gaps, 0.99), count=len(gaps)) if gaps else None,
        levels=tuple(level for concurrency in plan.levels if (level := _level(run.waves, concurrency))),
        tools=_tools(run),
        prompt_tokens=spread(sample.prompt_tokens for sample in samples),
        completion_tokens=spread(sample.completion_tokens for sample in samples),
        cached_tokens=sum(sample.cached_tokens for sample in samples),
        estimated=any(sample.estimated for sample in samples),
        pieces_per_token=_pieces_per_token(samples),
        client_share=_client_share(run.waves),
        sent=sum(len(wave.samples) + len(wave.failures) for wave in run.waves) + run.tool_requests + run.uncounted,
        failed=len(failures),
        failures=tuple(
            FailureCount(code=failure.code, message=failure.message, count=count)
            for failure, count in count_of(failures).items()
        ),
        given_up=run.given_up,
        ttft_samples_ms=tuple(round(first, 3) for first in firsts),
        gap_samples_ms=tuple(round(gap, 3) for gap in gaps),
    )


def _level(waves: Sequence[Wave], concurrency: int) -> Level | None:
    found = [wave for wave in waves if wave.concurrency == concurrency]
    if not found:
        return None
    failed = sum(len(wave.failures) for wave in found)
    return Level(
        concurrency=concurrency,
        tokens_per_second=spread(wave.tokens_per_second for wave in found if wave.tokens_per_second is not None),
        ttft_ms=spread(sample.first * 1000 for wave in found for sample in wave.samples),
        sent=failed + sum(len(wave.samples) for wave in found),
        failed=failed,
    )


def _tools(run: Run) -> ToolCalls | None:
    if not run.tool_requests:
        return None
    details = run.target.details
    told = details is not None and "tool_use" in details.told
    return ToolCalls(
        trained="tool_use" in details.capabilities if details is not None and told else None,
        asked=run.tool_requests,
        failed=run.tool_requests - run.verdicts.total(),
        mended=run.mended,
        valid=run.verdicts["valid"],
        no_call=run.verdicts["no_call"],
        unknown_tool=run.verdicts["unknown_tool"],
        bad_arguments=run.verdicts["bad_arguments"],
        other_tool=run.verdicts["other_tool"],
    )


def _pieces_per_token(samples: Sequence[Sample]) -> float | None:
    tokens = sum(sample.completion_tokens for sample in samples)
    return sum(len(sample.arrivals) for sample in samples) / tokens if tokens else None


def _client_share(waves: Sequence[Wave]) -> float | None:
    seconds = sum(wave.seconds for wave in waves)
    return sum(wave.client_seconds for wave in waves) / seconds if seconds > 0 else None
