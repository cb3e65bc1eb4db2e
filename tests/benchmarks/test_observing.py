from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OBSERVING = Path(__file__).parents[2] / "benchmarks" / "observing.py"


def test_what_observers_cost_can_be_measured() -> None:
    """A short run gives a row for each kind of observer, and whoever listens costs more than nobody."""
    command = [sys.executable, "-W", "error", OBSERVING, "--rounds", "3", "--calls", "20"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    rows = {line[:32].strip(): line[32:].split() for line in done.stdout.splitlines()[1:]}
    assert rows["nobody"][1] == "0.0"
    assert float(rows["a function that does nothing"][1]) > 0
