"""Why an answer takes its time is told on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuroroute import BackingOff, BreakerChanged, ModelLoading, ModelReloaded, ModelUnavailableError
from neuroroute.cli.waits import said
from neuroroute.simulator import Fail

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from neuroroute.simulator import Simulator


def test_what_a_person_waits_for_is_told():
    """Loading, loading again and trying again are told in a sentence; what costs no time is not."""
    place = {"host": "h:1", "model": "m"}
    assert said(ModelLoading(**place)) == "h:1 is loading m ..."
    assert said(ModelReloaded(**place)) == "m was gone from h:1, and is loaded again."
    failed = BackingOff(**place, error=ModelUnavailableError("Crashed."), attempt=2, delay_ms=1234.0)
    assert said(failed) == "Attempt 2 failed: Crashed. Trying again in 1.2 s."
    assert said(BreakerChanged(**place, before="closed", after="open", cause=None)) is None


def test_a_retry_is_told_beside_the_answer(run_here: Callable[..., Result], lmstudio: Simulator):
    """Stdout has the answer alone; stderr says what it waited for, and with --json nothing."""
    unloaded = Fail(400, {"error": "Model unloaded."}, headers={"retry-after-ms": "1"})
    lmstudio.fail(unloaded)
    told = run_here("ask", "hi", "--model", "llama3", "--plain")
    assert told.stdout == "You said: hi\n"
    assert "Attempt 1 failed: Model unloaded. Trying again in" in told.stderr
    lmstudio.fail(unloaded)
    assert "Attempt" not in run_here("ask", "hi", "--model", "llama3", "--json").output
