"""The measuring: warm-up, then rounds in which every model has its turn."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from neuroroute.bench.asking import Asker, Means, failed
from neuroroute.bench.plan import ALONE, TOKENS_PER_WORD, Plan, turns, words_for
from neuroroute.bench.report import Report, report_of
from neuroroute.bench.samples import Failure, Warmup, Wave, tokens_per_word
from neuroroute.bench.toolcases import Verdict, cases_of, judged, mended
from neuroroute.errors import LMStudioError

if TYPE_CHECKING:
    from neuroroute.adapter import LMStudioAdapter
    from neuroroute.details import ModelDetails

_IN_VAIN = 3
"""Warm-ups or waves of which nothing came, one after the other, after which a model is asked no more."""

_TOOL_TOKENS = 512
"""Most tokens of an answer that is to be a call; a model may think before."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model on one host."""

    adapter: LMStudioAdapter
    """Asks this model on this host, with as many slots as requests are sent at once."""
    host: str
    """The host's name."""
    details: ModelDetails | None = None
    """What the host's listing says of the model."""

    @property
    def model(self) -> str:
        """The model's id."""
        return self.adapter.model_id


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured next. Told between measurements, never while a clock runs."""

    done: int
    """How many measurements were made."""
    total: int
    """How many there are to be."""
    model: str
    host: str
    what: str
    """In words."""


OnStep: TypeAlias = Callable[[Step], object]


@dataclass(slots=True)
class Run:
    """What was measured of a target so far."""

    target: Target
    asker: Asker
    words: int
    """Of a prompt."""
    warmup: Warmup | None = None
    waves: list[Wave] = field(default_factory=list[Wave])
    verdicts: Counter[Verdict] = field(default_factory=Counter[Verdict])
    mended: int = 0
    """Answers whose calls had to be put right."""
    failures: list[Failure] = field(default_factory=list[Failure])
    """Of requests that belong to no wave: the warm-up's, the tools'."""
    tool_requests: int = 0
    uncounted: int = 0
    """Requests that warmed it up, at the beginning and between turns."""
    in_vain: int = 0
    given_up: Failure | None = None
    """Why it is asked no more."""


class Benchmark:
    """Measures models, and can say at any time what was measured so far.

    Args:
        targets: what is measured.
        plan: how much.
        means: clocks and chance, for tests.
        on_step: is told what comes next; it must not wait.
    """

    def __init__(
        self, targets: Sequence[Target], plan: Plan, *, means: Means | None = None, on_step: OnStep | None = None
    ) -> None:
        self._plan = plan
        self._means = means or Means()
        self._on_step = on_step
        words = words_for(plan.prompt_tokens, TOKENS_PER_WORD)
        self._runs = [Run(target, Asker(target.adapter, self._means), words) for target in targets]
        self._last_at: dict[str, Run] = {}
        self._done = 0
        self._each = ALONE + len(plan.levels) - 1 + (1 if plan.tools else 0)
        self._total = len(targets) * (1 + plan.rounds * self._each)
        self._started_at = time.time()
        self._began = self._means.clock()
        self._finished = False

    async def measure(self) -> Report:
        """Measures everything. A model that does not answer is in the report with its failure."""
        for run in self._runs:
            self._tell(run, "warming up")
            await self._warm_up(run)
        for number in range(self._plan.rounds):
            for place in turns(number, len(self._runs)):
                await self._turn(self._runs[place], number)
        self._finished = True
        return self.report()

    def report(self) -> Report:
        """What was measured so far."""
        seconds = self._means.clock() - self._began
        return report_of(self._runs, self._plan, self._started_at, seconds, finished=self._finished)

    async def _warm_up(self, run: Run) -> None:
        for _ in range(_IN_VAIN):
            try:
                await self._warmed_up(run)
            except LMStudioError as error:
                run.failures.append(failed(error))
            else:
                break
        else:
            run.given_up = run.failures[-1]
        self._last_at[run.target.host] = run

    async def _warmed_up(self, run: Run) -> None:
        details = run.target.details
        began = self._means.clock()
        run.uncounted += 1
        first = await run.asker.one(run.words, 2)
        run.warmup = Warmup(
            first_answer_ms=(self._means.clock() - began) * 1000, was_loaded=details.loaded if details else None
        )
        ratio = tokens_per_word([first], [run.words])
        run.words = words_for(self._plan.prompt_tokens, ratio or TOKENS_PER_WORD)
        run.uncounted += 1
        await run.asker.one(run.words, 2)

    async def _turn(self, run: Run, number: int) -> None:
        """One round of one target."""
        done = self._done
        if run.given_up is None and self._last_at.get(run.target.host) is not run:
            await self._back(run)
        for place in range(ALONE):
            await self._wave(run, 1, f"round {number + 1}, one alone ({place + 1} of {ALONE})")
        for level in self._plan.levels[1:]:
            await self._wave(run, level, f"round {number + 1}, {level} at once")
        if self._plan.tools and run.given_up is None:
            self._tell(run, f"round {number + 1}, tool calls")
            await self._tools(run, number)
        self._done = done + self._each

    async def _back(self, run: Run) -> None:
        """An uncounted request after another model had its turn: the server may have evicted this one meanwhile."""
        self._last_at[run.target.host] = run
        run.uncounted += 1
        try:
            await run.asker.one(1, 2)
        except LMStudioError as error:
            run.failures.append(failed(error))

    async def _wave(self, run: Run, concurrency: int, what: str) -> None:
        if run.given_up is not None:
            return
        self._tell(run, what)
        wave = await run.asker.wave(concurrency, run.words, self._plan.max_tokens)
        run.waves.append(wave)
        run.in_vain = 0 if wave.samples else run.in_vain + 1
        if run.in_vain == _IN_VAIN:
            run.given_up = wave.failures[-1]

    async def _tools(self, run: Run, number: int) -> None:
        for case in cases_of(number, self._plan.rounds):
            run.tool_requests += 1
            try:
                response = await run.target.adapter.generate_completion(
                    case.question, tools=case.offered, temperature=0, max_tokens=_TOOL_TOKENS
                )
            except LMStudioError as error:
                run.failures.append(failed(error))
                continue
            run.verdicts[judged(case, response)] += 1
            run.mended += mended(response)

    def _tell(self, run: Run, what: str) -> None:
        if self._on_step is not None:
            target = run.target
            self._on_step(Step(done=self._done, total=self._total, model=target.model, host=target.host, what=what))
        self._done += 1
