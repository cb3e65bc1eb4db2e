"""The results of a run as Markdown, and the gates that they must pass."""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

from contenders import ENTRIES
from footprint import import_ratio
from workload import SCENARIOS

CPU_GATES = {"chunk": 1.5, "s32": 1.3, "tools": 1.6, "hist": 1.7, "c1": 3.5, "c64": 5.0}
"""CPU of ours, as a ratio to the floor in the same run."""

IMPORT_GATE = 0.25
PACKAGES_GATE = 12
CLOSED_MS_GATE = 100.0

Results = dict[str, Any]
"""What run.py gathers, and ``--json`` writes; a kind of measurement that was not made is not in it."""


class Gate(NamedTuple):
    """A limit and what was measured; None: something that it needs was not."""

    name: str
    limit: str
    measured: float | None
    met: bool

    @property
    def verdict(self) -> str:
        """In a word; what could not be judged is not met, but not missed either."""
        return "met" if self.met else "**not judged**" if self.measured is None else "**missed**"


def ratios(results: Results, name: str, scenario: str) -> list[float]:
    """Each round's CPU of a contender to the floor's in that round."""
    floor = results["cpu_us"].get("floor", {}).get(scenario, [])
    ours = results["cpu_us"].get(name, {}).get(scenario, [])
    return [mine / least for mine, least in zip(ours, floor, strict=False)]


def gates(results: Results) -> list[Gate]:
    """Every gate that this run was to judge."""
    judged = [
        _at_most(f"{scenario}, to the floor", CPU_GATES[scenario], _median(ratios(results, "ours", scenario)))
        for scenario in results["scenarios"]
        if scenario in CPU_GATES
    ]
    if "import_ms" in results:
        ours, theirs = results["import_ms"].get("ours"), results["import_ms"].get("openai")
        judged.append(
            _at_most("import, to openai's", IMPORT_GATE, import_ratio(ours, theirs) if ours and theirs else None)
        )
    if "packages" in results:
        judged.append(_at_most("packages installed", PACKAGES_GATE, len(results["packages"]["ours"])))
    if "cancelling" in results:
        found = results["cancelling"].get("ours")
        judged.append(_at_most("cancellations swallowed", 0, found and found["swallowed"]))
        judged.append(_at_most("server sees the close, ms", CLOSED_MS_GATE, found and max(found["closed_ms"])))
    return judged


def _at_most(name: str, limit: float, measured: float | None) -> Gate:
    return Gate(name, f"≤ {limit:g}", measured, measured is not None and measured <= limit)


def _median(values: list[float]) -> float | None:
    return median(values) if values else None


def markdown(results: Results) -> str:
    """The whole report."""
    about = results["about"]
    machine = f"Python {about['python']}, {about['system']}, {about['cores']} cores"
    parts = [
        f"{machine}; server: {about['server']}; {results['rounds']} rounds; {_load(results)}.",
        *(f"Left out: {name}: {why}." for name, why in about["left_out"].items()),
        *(f"Failed: {failure}." for failure in results["failures"]),
    ]
    if results["cpu_us"]:
        parts += ["Client CPU in µs per call or chunk, and in brackets the ratio to the floor.", _cpu_table(results)]
        parts += _same_floor(results)
    if (rest := _rest_table(results)) is not None:
        parts.append(rest)
    rows = [[gate.name, gate.limit, _number(gate.measured), gate.verdict] for gate in gates(results)]
    if rows:
        parts.append(_table(["gate", "limit", "measured", ""], rows))
    return "\n\n".join(parts)


def _load(results: Results) -> str:
    load = results["load"]
    return f"load {load[0]:.1f} before, {load[1]:.1f} after" if load else "load unknown"


def _cpu_table(results: Results) -> str:
    scenarios = [scenario for scenario in results["scenarios"] if scenario in SCENARIOS]
    rows = []
    for name, measured in results["cpu_us"].items():
        row = [ENTRIES[name].label()]
        for scenario in scenarios:
            ratio = _median(ratios(results, name, scenario))
            cpu = _number(_median(measured.get(scenario, [])))
            row.append(cpu if ratio is None else f"{cpu} ({ratio:.2f})")
        rows.append(row)
    return _table(["client", *(f"{name}/{SCENARIOS[name].unit}" for name in scenarios)], rows)


def _same_floor(results: Results) -> list[str]:
    found = {
        scenario: ratio
        for scenario in results["scenarios"]
        if (ratio := _median(ratios(results, "reference", scenario))) is not None
    }
    if not found:
        return []
    within = all(1 / 1.1 <= ratio <= 1.1 for ratio in found.values())
    listed = ", ".join(f"{scenario} {1 / ratio:.2f}" for scenario, ratio in found.items())
    return [f"Our floor to that of the wider comparison: {listed}: {'' if within else 'NOT '}within 10 %."]


def _rest_table(results: Results) -> str | None:
    kinds = [kind for kind in ("import_ms", "packages", "cancelling") if kind in results]
    names = [name for name in ENTRIES if any(name in results[kind] for kind in kinds)]
    if not names:
        return None
    rows = []
    for name in names:
        row = [ENTRIES[name].label()]
        for kind in kinds:
            found = results[kind].get(name)
            row += ["-"] * len(_HEADS[kind]) if found is None else _cells(kind, found)
        rows.append(row)
    table = _table(["client", *(head for kind in kinds for head in _HEADS[kind])], rows)
    later = results.get("import_ms", {}).get("ours, first call")
    return table if not later else f"{table}\n\nOurs with what its first call loads: {median(later):.0f} ms."


_HEADS = {
    "import_ms": ["import, CPU ms"],
    "packages": ["packages"],
    "cancelling": ["cancellations swallowed", "server sees the close: median, worst ms"],
}


def _cells(kind: str, found: Any) -> list[str]:
    if kind == "import_ms":
        return [f"{median(found):.0f}"]
    if kind == "packages":
        return [str(len(found))]
    closed = found["closed_ms"]
    return [f"{found['swallowed']} of {found['times']}", f"{median(closed):.1f}, {max(closed):.0f}"]


def _number(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
