"""How far the engine is with getting and loading its model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of the way to a running engine."""

    phase: Literal["download", "verify", "load"]
    """What is being done. Download and verify happen once in a machine's life."""
    done: int
    """Bytes behind us in this phase; never less than was said before."""
    total: int | None
    """Bytes of the whole phase; ``None`` if nobody knows."""


OnProgress: TypeAlias = Callable[[Progress], object]
