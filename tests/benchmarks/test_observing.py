from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KINDS = ["nobody", "a function that does nothing", "logging, at INFO", "Prometheus", "OpenTelemetry, without an SDK"]
OBSERVING = Path(__file__).parents[2] / "benchmarks" / "observing.py"


def test_what_observers_cost_can_be_measured() -> None:
    """A short run gives a row for each kind of observer, with what it costs and how much more than nobody that is."""
    command = [sys.executable, "-W", "error", OBSERVING, "--rounds", "3", "--calls", "20"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    rows = {line[:32].strip(): line[32:].split() for line in done.stdout.splitlines()[1:]}
    assert list(rows) == KINDS
    costs = {name: float(cost) for name, (cost, _) in rows.items()}
    assert all(cost > 1 for cost in costs.values())
    for name, (_, more) in rows.items():
        assert float(more) == pytest.approx(costs[name] - costs["nobody"], abs=0.11)
