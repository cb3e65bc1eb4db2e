from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def test_a_short_soak_leaves_nothing_behind() -> None:
    """Callers, failures and cancellations for seconds: each call ends typed and in time, no socket or task is left."""
    command = [sys.executable, "-W", "error", str(SOAK), "--seconds", "3", "--calls", "300"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ends = ast.literal_eval(next(line for line in done.stdout.splitlines() if line.startswith("ends: "))[6:])
    assert ends["answer"] > ends["cancelled"] > 0
    assert {"MODEL_UNAVAILABLE", "STREAM_INTERRUPTED"} <= ends.keys()
