from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHOOSING = Path(__file__).parents[2] / "benchmarks" / "choosing.py"

SHORT = f"""
import sys
sys.path.insert(0, {str(CHOOSING.parent)!r})
import choosing
choosing.HOSTS, choosing.CHOICES, choosing.REQUESTS, choosing.LOADS, choosing.SLOWER = (1, 20), 50, 2000, (0.5,), (10,)
sys.argv = ["choosing.py"]
choosing.main()
"""


def test_the_figures_of_a_fleet_can_be_measured() -> None:
    """A short run of what docs/fleet.md quotes gives a row for each number of hosts and each load."""
    command = [sys.executable, "-W", "error", "-c", SHORT]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line and line.strip()[0].isdigit()]
    assert [row[0] for row in rows] == ["1", "20", "0.5"]
    assert float(rows[2][-2]) < 2  # p99 with the slow host, by p99 without
