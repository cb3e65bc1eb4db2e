"""How recorded exchanges are kept: a file of JSON lines, one exchange a line, without tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from neuroroute.simulator.received import Received

_SECRET_HEADERS = ("Authorization", "X-Api-Key")


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came in one read."""

    at: float
    """Seconds after the request."""
    text: str = ""
    data: bytes = b""
    """Instead of ``text``, where the bytes are none: a character may be cut in two."""

    @classmethod
    def of(cls, at: float, data: bytes) -> Chunk:
        """The chunk of these bytes, readable where possible."""
        try:
            return cls(round(at, 4), data.decode())
        except UnicodeDecodeError:
            return cls(round(at, 4), data=data)

    @property
    def content(self) -> bytes:
        """The bytes."""
        return self.data or self.text.encode()


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request, as far as its answer depends on it."""

    method: str
    path: str
    """With the query."""
    body: Any = None
    """Decoded; a body that is no JSON as text."""

    @classmethod
    def of(cls, received: Received) -> Asked:
        """What was asked, without the token that it was asked with."""
        body = redact(received.body, secrets_of(received.headers))
        path = f"{received.path}?{received.query}" if received.query else received.path
        try:
            return cls(received.method, path, msgspec.json.decode(body) if body else None)
        except msgspec.DecodeError:
            return cls(received.method, path, body.decode("utf-8", "replace"))

    @property
    def key(self) -> bytes:
        """The same for requests that differ in nothing but the order of their fields."""
        return msgspec.json.encode(self, order="sorted")


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request and the response that it got."""

    asked: Asked
    status: int
    headers: dict[str, str]
    headers_at: float
    """Seconds after the request."""
    chunks: list[Chunk]
    length: int | None = None
    """The Content-Length; None: it was chunked."""
    ending: Literal["clean", "cut", "hang"] = "clean"
    """``cut``: the server broke off. ``hang``: the client left before the end, so what would have come is not known."""


def secrets_of(headers: Mapping[str, str]) -> list[bytes]:
    """The values that must not be written."""
    given = [headers.get(name, "").removeprefix("Bearer ").strip() for name in _SECRET_HEADERS]
    return [value.encode() for value in given if value]


def redact(data: bytes, secrets: Iterable[bytes]) -> bytes:
    """The data without the secrets."""
    for secret in secrets:
        data = data.replace(secret, b"[token]")
    return data


def read(path: Path) -> list[Exchange]:
    """All exchanges of a file, oldest first."""
    return [msgspec.json.decode(line, type=Exchange) for line in path.read_bytes().splitlines() if line]


def append(path: Path, exchange: Exchange) -> None:
    """Adds one exchange to a file."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(exchange) + b"\n")
