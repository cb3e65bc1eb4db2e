"""The benchmark runs, and measures what it says, without anything that only the group ``measure`` installs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), "--quick", "--server", "python", "--rounds", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)


def test_a_quick_run_measures_requests_and_streams_and_tells_who_did_not_fail(tmp_path: Path) -> None:
    """Two contenders answer rightly, each scenario has a number, and the table names both."""
    found = tmp_path / "found.json"
    done = run("--only", "ours,aiohttp", "--scenarios", "c1,chunk", "--json", str(found))
    assert done.returncode == 0, done.stderr
    results = json.loads(found.read_text(encoding="utf-8"))
    assert results["failures"] == []
    for name in ("ours", "aiohttp"):
        assert all(len(results["cpu_us"][name][scenario]) == 1 for scenario in ("c1", "chunk"))
    assert "neuroroute" in done.stdout
    assert "bare aiohttp" in done.stdout


def test_a_gate_that_cannot_be_judged_is_not_met() -> None:
    """Without the floor there is no ratio, and --check does not pass for want of one."""
    done = run("--only", "ours", "--scenarios", "c1", "--check")
    assert done.returncode == 1, done.stderr
    assert "not measured" in done.stdout


def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    """A mistyped contender ends the run at once, with the names there are."""
    done = run("--only", "urs")
    assert done.returncode == 2
    assert "ours" in done.stderr
