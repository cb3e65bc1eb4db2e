"""Our speed beside our peers', in one interleaved run: ``make measure``.

CPU is the user and system time of the client's process. Every contender holds one process for the whole run; in each
round each scenario is run by each contender in turn, in an order that changes from round to round; a ratio is taken
within a round, then the median over the rounds. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from contenders import ENTRIES
from footprint import IMPORTS, import_ms, packages
from processes import ContenderError, Server, Worker, server, two_cores
from report import Results, gates, markdown
from workload import SCENARIOS

FOOTPRINTS = ("import", "packages", "cancel")
CANCELLATIONS = 60
MOST_CALLS = 8000


def main() -> None:
    options = _options()
    began = time.monotonic()
    before = _load_average()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:4.0f} s  {what}", file=sys.stderr, flush=True)

    results: Results = {"rounds": options.rounds, "scenarios": options.scenarios, "failures": [], "cpu_us": {}}
    left_out = {name: why for name in options.only if (why := ENTRIES[name].missing())}
    names = [name for name in options.only if name not in left_out]
    server_core, client_core = two_cores()
    with server(options.server, server_core) as target:
        results["about"] = _about(target, left_out)
        if "import" in options.scenarios:
            tell("imports")
            wanted = [name for name in IMPORTS if name.partition(",")[0] in names]
            results["import_ms"] = import_ms(wanted, options.imports)
        if "packages" in options.scenarios:
            results["packages"] = {name: packages(_package(name)) for name in names if _package(name)}
        if "cancel" in options.scenarios:
            tell("cancellations")
            results["cancelling"] = _cancelling(names, target, client_core, results["failures"])
        if any(scenario in SCENARIOS for scenario in options.scenarios):
            Rounds(names, target, client_core, options, results).run(tell)
    results["load"] = before + _load_average()
    results["gates"] = [gate._asdict() for gate in gates(results)]
    print(markdown(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.check and (results["failures"] or not all(gate["met"] for gate in results["gates"])):
        sys.exit(1)


class Rounds:
    """The interleaved measurements of CPU."""

    def __init__(
        self, names: list[str], target: Server, core: int | None, options: argparse.Namespace, results: Results
    ) -> None:
        self._names = names
        self._target = target
        self._core = core
        self._rounds: int = options.rounds
        self._seconds: float = options.seconds
        self._scenarios = [name for name in options.scenarios if name in SCENARIOS]
        self._failures: list[str] = results["failures"]
        self._found: dict[str, dict[str, list[float]]] = results["cpu_us"]
        self._calls: dict[tuple[str, str], int] = {}

    def run(self, tell: Any) -> None:
        """Warms everyone up, then goes round."""
        with ExitStack() as stack:
            workers = []
            for name in self._names:
                try:
                    workers.append(worker := Worker(name, self._target.base, self._core))
                except ContenderError as error:
                    self._failures.append(str(error))
                    continue
                stack.callback(worker.end)
                self._found[name] = {}
                for scenario in self._scenarios:
                    self._warm_up(worker, scenario)
            for number in range(self._rounds):
                tell(f"round {number + 1} of {self._rounds}")
                for place, scenario in enumerate(self._scenarios):
                    turn = (number * 5 + place) % len(workers)
                    order = workers[turn:] + workers[:turn]
                    for worker in reversed(order) if number % 2 else order:
                        self._measure(worker, scenario)

    def _warm_up(self, worker: Worker, scenario: str) -> None:
        """Finds how many calls fill the time of a measurement."""
        at_once = SCENARIOS[scenario].at_once
        try:
            trial: dict[str, Any] = {}
            for _ in range(2):  # the second is warm
                trial = worker.ask(scenario=scenario, calls=max(at_once, 2))
            fill = int(self._seconds / trial["wall_s"] * trial["calls"])
        except ContenderError as error:
            self._failures.append(f"{error} ({scenario})")
            return
        self._calls[worker.name, scenario] = max(1, min(fill, MOST_CALLS) // at_once) * at_once
        self._found[worker.name][scenario] = []

    def _measure(self, worker: Worker, scenario: str) -> None:
        calls = self._calls.get((worker.name, scenario))
        if calls is None:
            return
        at_once = SCENARIOS[scenario].at_once
        try:
            # connections that idled away come back here, uncounted
            worker.ask(scenario="c64" if at_once > 1 else "c1", calls=at_once * 2)
            self._found[worker.name][scenario].append(worker.ask(scenario=scenario, calls=calls)["cpu_us"])
        except ContenderError as error:
            self._failures.append(f"{error} ({scenario})")
            del self._calls[worker.name, scenario]


def _cancelling(names: list[str], target: Server, core: int | None, failures: list[str]) -> dict[str, Any]:
    """Each in a fresh process, so that no idle connection is taken for one that should have closed."""
    found = {}
    for name in names:
        if name in ("floor", "reference", "prototype"):  # they know nothing of cancellations
            continue
        try:
            worker = Worker(name, target.base, core)
            try:
                found[name] = worker.ask(cancel=CANCELLATIONS)
            finally:
                worker.end()
        except ContenderError as error:
            failures.append(str(error))
    return found


def _package(name: str) -> str:
    package = ENTRIES[name].package
    return package if package and package != "orjson" else ""


def _about(target: Server, left_out: dict[str, str]) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "server": target.kind,
        "left_out": left_out,
    }


def _load_average() -> list[float]:
    """Processes that want a core, over the last minute, where the system counts them; our own two are among them."""
    return [os.getloadavg()[0]] if hasattr(os, "getloadavg") else []


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="default: 11")
    parser.add_argument("--only", type=_among(ENTRIES), default=[*ENTRIES], help="contenders: " + ",".join(ENTRIES))
    everything = [*SCENARIOS, *FOOTPRINTS]
    parser.add_argument("--scenarios", type=_among(everything), default=everything, help=",".join(everything))
    parser.add_argument("--quick", action="store_true", help="a few seconds, and as rough as that")
    parser.add_argument("--server", choices=["auto", "c", "python"], default="auto", help="C where it can be built")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a gate is missed or could not be judged")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 11)
    options.seconds = 0.05 if options.quick else 0.4
    options.imports = 3 if options.quick else 11
    return options


def _among(known: Any) -> Any:
    def names(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",")]
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"no such name: {', '.join(unknown)}; there are {', '.join(known)}")
        return chosen

    return names


if __name__ == "__main__":
    main()
