"""What a chaos proxy does to connections: values, without I/O.

Times are milliseconds, sizes are bytes; bytes are counted in one direction, from the beginning of the connection.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["downstream", "upstream"]
"""``downstream``: what the server sends, its answers. ``upstream``: what the client sends, its requests."""

_AT_LEAST_ONE = ("bytes_per_second", "size", "times")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Toxic:
    rate: float = 1.0
    """The share of the connections that it is for, 0 to 1; drawn once for each."""
    times: int | None = None
    """For how many connections it is at most; None: for any number."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 1 if field.name in _AT_LEAST_ONE else 0
            if isinstance(value, (int, float)) and value < least:
                msg = f"{type(self).__name__}: {field.name} must be {least} or more, not {value}"
                raise ValueError(msg)
        if self.rate > 1:
            msg = f"{type(self).__name__}: rate is a share, from 0 to 1, not {self.rate}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneWay(_Toxic):
    direction: Direction = "downstream"


@dataclass(frozen=True, slots=True)
class Latency(_OneWay):
    """Bytes come late, in their order, and their end as well. It does not limit how many come in a second."""

    ms: float
    jitter_ms: float = 0.0
    """So much more or less, evenly drawn for each packet."""


@dataclass(frozen=True, slots=True)
class Bandwidth(_OneWay):
    """So many bytes pass in a second, on each connection, in about twenty pieces."""

    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Slicer(_OneWay):
    """Bytes come in small pieces, torn apart wherever it happens: inside lines, inside characters."""

    size: int
    """The most bytes of a piece."""
    delay_ms: float = 0.0
    """Between one piece and the next. With 0, several pieces may be there when the receiver looks."""


@dataclass(frozen=True, slots=True)
class Cut(_OneWay):
    """Both ends of the connection are closed, cleanly, when so many bytes have passed.

    With 0, when the first would: the request has reached the server then, and nothing of its answer the client.
    """

    after_bytes: int


@dataclass(frozen=True, slots=True)
class Reset(_OneWay):
    """A TCP reset to both ends, when so many bytes have passed; with 0, when the first would."""

    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Freeze(_OneWay):
    """No byte passes any more when so many have, nor the end; the connection stays open until the client leaves."""

    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SlowClose(_OneWay):
    """The end of the bytes is passed on late. What is cut or reset is not slowed."""

    ms: float


@dataclass(frozen=True, slots=True)
class Blackhole(_Toxic):
    """The connection is accepted, and no byte ever passes either way; a server that is not asked yet is not."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """New connections are refused, as where nothing listens; those already open go on."""


Toxic: TypeAlias = Latency | Bandwidth | Slicer | Cut | Reset | Freeze | SlowClose | Blackhole
"""What happens to a connection."""

NetworkFault: TypeAlias = Toxic | Refuse
"""What a chaos proxy can be told to do."""


def concerns(toxic: Toxic, direction: Direction) -> bool:
    """Whether it has to do with the bytes of this direction."""
    return isinstance(toxic, Blackhole) or toxic.direction == direction
