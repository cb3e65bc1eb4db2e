"""What a look at servers found, as values to show, to write as JSON, and to branch on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from neuroroute.doctor.codes import RULES, Check, Level

_WORST_FIRST: Final[tuple[Level, ...]] = ("problem", "warning", "hint", "ok", "skipped")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found."""

    code: str
    """Stable, such as ``server-not-reachable``; docs/doctor.md lists them all."""
    check: Check
    """What was looked at."""
    level: Level
    """``problem``, ``warning``, ``hint``, ``ok``; ``skipped`` where it could not be looked at."""
    what: str
    """What was found; a phrase."""
    why: str = ""
    """Why it matters."""
    do: str = ""
    """What to do."""
    solutions: tuple[int, ...] = ()
    """Which of the specification's solutions it stands for, 1 to 17."""


def found(code: str, check: Check, what: str, *, do: str | None = None, level: Level | None = None) -> Finding:
    """A finding with what its code means.

    Args:
        code: one of :data:`~neuroroute.doctor.codes.RULES`.
        check: what was looked at.
        what: what was found.
        do: what to do. Default: the rule's.
        level: how bad it is here. Default: the rule's.
    """
    rule = RULES[code]
    return Finding(
        code=code,
        check=check,
        level=level or rule.level,
        what=what,
        why=rule.why,
        do=rule.do if do is None else do,
        solutions=rule.solutions,
    )


def skipped(checks: Sequence[Check], why: str) -> list[Finding]:
    """The checks that were not made, and why."""
    return [found("skipped", check, f"skipped, because {why}") for check in checks]


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of one streamed answer went; None: it was not seen. Times are milliseconds."""

    connect_ms: float | None = None
    """Until a connection was there."""
    page_ms: float | None = None
    """What the quickest answer took that no model makes; about as much of each answer is the way's, not the model's."""
    first_byte_ms: float | None = None
    """From the request until the answer's headers."""
    first_token_ms: float | None = None
    """From the request until the first token."""
    total_ms: float | None = None
    """From the request until its end."""
    load_ms: float | None = None
    """How long the model took to load, where the doctor had it loaded."""
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    prompt_tokens_per_second: float | None = None
    """How fast the prompt was read."""
    tokens_per_second: float | None = None
    """How fast the answer was made."""


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at one host."""

    name: str
    """What the host is called."""
    url: str
    """Its base URL."""
    model: str | None
    """The model that was tried; None: none was."""
    findings: tuple[Finding, ...]
    """In the order of the checks."""
    phases: Phases
    """Where the time went."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at all hosts, and in the tool definitions."""

    hosts: tuple[HostReport, ...]
    tools: tuple[Finding, ...] = ()
    """What was found in the definitions that were given."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them: host by host, then of the tools."""
        return (*(one for host in self.hosts for one in host.findings), *self.tools)

    @property
    def healthy(self) -> bool:
        """Nothing is a problem, nor a warning."""
        return not any(one.level in ("problem", "warning") for one in self.findings)

    def count(self, level: Level) -> int:
        """How many findings are of this level."""
        return sum(one.level == level for one in self.findings)

    @property
    def first(self) -> Finding | None:
        """What to see to first: the first of the worst; None where not even a hint was found."""
        for level in _WORST_FIRST[:3]:
            if (one := next((one for one in self.findings if one.level == level), None)) is not None:
                return one
        return None
