from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("module", "package"), [("otel", "opentelemetry"), ("prometheus", "prometheus_client")])
def test_what_is_missing_is_named(module: str, package: str) -> None:
    """Without its extra a module says how to get it; the rest of the package works."""
    code = f"import sys; sys.modules[{package!r}] = None; import neuroroute; import neuroroute.telemetry.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f'pip install "neuroroute[{module}]"' in done.stderr
