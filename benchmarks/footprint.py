"""What a client brings along: the time that its import takes, and the packages that it installs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from statistics import median

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

IMPORTS = {
    "ours": "import neuroroute",
    "ours, first call": "import neuroroute.pipe.transport",
    "aiohttp": "import aiohttp",
    "openai": "import openai",
}
"""aiohttp loads with our first call, so what that adds is a row of its own."""

_TIMED = (
    "import time; wall, cpu = time.perf_counter(), time.process_time(); {}; "
    "print(time.process_time() - cpu, time.perf_counter() - wall)"
)


def import_ms(names: list[str], runs: int) -> dict[str, list[float]]:
    """CPU milliseconds of each import in fresh interpreters, which take turns; the first run, uncounted, compiles."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    for run in range(runs + 1):
        for name in names:
            code = _TIMED.format(IMPORTS[name])
            done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
            if run:
                taken[name].append(float(done.stdout.split()[0]) * 1e3)
    return taken


def import_ratio(ours: list[float], theirs: list[float]) -> float:
    """Our import to theirs: the median over the runs of each run's ratio."""
    return median(mine / other for mine, other in zip(ours, theirs, strict=True))


def packages(name: str) -> list[str]:
    """The distributions that ``pip install name`` brings here, itself included; found offline.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    wanted = [(name, "")]
    while wanted:
        one, extra = wanted.pop()
        one = canonicalize_name(one)
        if (one, extra) in seen:
            continue
        seen.add((one, extra))
        found.add(one)
        for line in distribution(one).requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                wanted += [(requirement.name, more) for more in ("", *requirement.extras)]
    return sorted(found)
