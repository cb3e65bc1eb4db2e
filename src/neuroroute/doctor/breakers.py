"""PURE: what the circuit breaker makes of failures, and what breakers are like now."""

from __future__ import annotations

from collections.abc import Sequence

from neuroroute.doctor.failed import code_of
from neuroroute.doctor.findings import Finding, found
from neuroroute.errors import LMStudioError
from neuroroute.fleet.status import HostStatus
from neuroroute.pipe.breaker import counts
from neuroroute.pipe.policies import BreakerPolicy


def of_failures(errors: Sequence[LMStudioError]) -> list[Finding]:
    """What a breaker would do about what the trials met, and where to look for its cause.

    Args:
        errors: how the trials failed, oldest first; empty: none did.
    """
    policy = BreakerPolicy()
    counted = [error for error in errors if counts(error)]
    if not counted:
        return [found("breaker-closed", "breaker", "nothing here would open the circuit breaker")]
    what = (
        f"after {policy.minimum_calls} such requests in {policy.window / 1000:.0f} s the circuit breaker opens "
        f"for {policy.open_for / 1000:.0f} s"
    )
    findings = [found("breaker-would-open", "breaker", what)]
    if len(counted) > 1:
        first = counted[0]
        cause = f"the first of {len(counted)} failures was {first.code} ({code_of(first)})"
        findings.append(found("root-cause", "breaker", cause))
    return findings


def of_hosts(hosts: Sequence[HostStatus]) -> list[Finding]:
    """The circuit breakers of a running adapter: give it ``adapter.hosts``.

    Args:
        hosts: how the hosts stand.
    """
    open_ones = [
        found("breaker-open", "breaker", f"the circuit breaker of {model.name} at {host.name} is {model.breaker}")
        for host in hosts
        for model in host.models
        if model.breaker != "closed"
    ]
    return open_ones or [found("breaker-closed", "breaker", "all circuit breakers are closed")]
