"""``neuroroute bench``: how fast models and hosts are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from neuroroute.bench import Benchmark, Found, Plan, Report, find_targets
from neuroroute.bench.checks import check_picture
from neuroroute.bench.remarks import failures, how, remarks
from neuroroute.cli.benchscreen import Watching, print_report
from neuroroute.cli.blocks import printable
from neuroroute.cli.choice import choose, default_model
from neuroroute.cli.exits import FAILED, INTERRUPTED, OK, TERMINATED, Terminated
from neuroroute.cli.opening import Wish, can_embed, embedded, lm_studio_answers
from neuroroute.cli.streams import consoles, write_json
from neuroroute.errors import ConfigurationError
from neuroroute.hostlist import HostSettings
from neuroroute.settings import find_settings


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be measured, and where it goes."""

    wish: Wish
    """Who answers; its model is not looked at."""
    models: Sequence[str]
    plan: Plan
    plot: Path | None
    as_json: bool


def bench(order: Order) -> int:
    """Measures, and tells what it found; upon Ctrl-C or SIGTERM, what it has found so far.

    Returns:
        The exit code: 1 where a request failed, or something could not be measured.

    Raises:
        LMStudioError: nothing can be measured; nothing was.
    """
    if order.plot is not None:
        check_picture(order.plot)
    console, aside = consoles(quiet=order.as_json)
    measuring = _Measuring(order, aside)
    code = OK
    try:
        asyncio.run(measuring.run())
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit:
        code = TERMINATED
    report = measuring.report()
    if report is None:  # stopped before anything was measured
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        raise Terminated(code)
    _tell(report, measuring.missing, order, console, aside)
    incomplete = report.failed or measuring.missing
    return code or (FAILED if incomplete else OK)


class _Measuring:
    """The measuring of an order; what it has found outlives it."""

    def __init__(self, order: Order, aside: Console) -> None:
        self._order = order
        self._aside = aside
        self._benchmark: Benchmark | None = None
        self.missing: Sequence[str] = ()
        """What is left out, and why."""

    def report(self) -> Report | None:
        """What was measured so far; None: nothing was begun."""
        return self._benchmark.report() if self._benchmark else None

    async def run(self) -> None:
        """Measures."""
        order, aside = self._order, self._aside
        async with (
            _hosts(order, aside) as hosts,
            find_targets(hosts, order.models, order.plan, choose=default_model) as found,
        ):
            self.missing = found.missing
            self._announce(found)
            with Watching(aside) as watching:
                self._benchmark = Benchmark(found.targets, order.plan, on_step=watching.step)
                watching.report = self._benchmark.report
                await self._benchmark.measure()

    def _announce(self, found: Found) -> None:
        for sentence in found.missing:
            self._aside.print(Text(printable(sentence), style="yellow"))
        names = ", ".join(f"{target.model} on {target.host}" for target in found.targets)
        self._aside.print(Text(printable(f"Measuring {names}. Ctrl-C shows what was measured so far."), style="dim"))


@asynccontextmanager
async def _hosts(order: Order, aside: Console) -> AsyncGenerator[Sequence[HostSettings]]:
    """The hosts that are meant, the embedded engine among them, running."""
    wish = order.wish
    choice = choose(wish.engine, wish.url, os.environ, answers=lm_studio_answers, can_embed=can_embed)
    base_url = None if choice.engine == "embedded" else choice.base_url
    settings = find_settings(base_url=base_url, timeout_ms=None, api_token=None, app=None, environ=os.environ)
    if choice.engine == "lmstudio":
        yield settings.hosts
        return
    if len(order.models) > 1:
        raise ConfigurationError("the embedded engine has one model", hint="Name one model, or start LM Studio.")
    async with embedded(choice, next(iter(order.models), None), aside) as engine:
        yield [HostSettings(url=engine.url, name="embedded llama.cpp")]


def _tell(report: Report, missing: Sequence[str], order: Order, console: Console, aside: Console) -> None:
    if order.as_json:
        write_json(console, report)
    elif report.measured:
        print_report(console, report)
    aside.print(Text(printable(how(report)), style="dim"))
    for remark in remarks(report):
        aside.print(Text(printable(remark), style="yellow"))
    for failure in failures(report):
        aside.print(Text(printable(failure), style="red"))
    if order.plot is not None and report.measured:
        from neuroroute.bench.drawing import draw

        draw(report, order.plot)
        aside.print(Text(printable(f"Drawn into {order.plot}."), style="dim"))
