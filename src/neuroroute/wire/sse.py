"""Server-sent events out of bytes, however the network cut them.

One ``data:`` line ended by LF LF is what every server sends; it costs one split and one slice. All else that the
standard allows (CR, CRLF, comments, several data lines, other fields, a byte-order mark) goes the slow way.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

from neuroroute.errors import MalformedResponseError


class SSEParser:
    """Takes what came off the network, gives the data of every event that is whole."""

    __slots__ = ("_after_cr", "_limit", "_mark", "_parts", "_size")

    def __init__(self, max_event_bytes: int = 16 << 20) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = max_event_bytes
        self._after_cr = False
        self._mark: bytes | None = b""
        """The first bytes, while they may still be a byte-order mark; then None."""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that these bytes complete; an event without data gives nothing.

        Raises:
            MalformedResponseError: an event grew over the limit.
        """
        if self._mark is not None:
            data = self._mark + data
            if _MARK.startswith(data):
                self._mark = data
                return []
            self._mark = None
            data = data.removeprefix(_MARK)
        if self._after_cr or b"\r" in data:
            data = self._newlines(data)
        ends = b"\n\n" in data or (self._parts and self._parts[-1].endswith(b"\n") and data.startswith(b"\n"))
        if not ends:  # what came is joined once, when the end of an event comes
            self._keep(data)
            return []
        if self._parts:
            self._parts.append(data)
            data = b"".join(self._parts)
            self._parts.clear()
        self._size = 0
        if not data.endswith(b"\n\n"):
            data, _, rest = data.rpartition(b"\n\n")
            self._keep(rest)
            data += b"\n\n"
        if data.startswith(b"data: "):
            events = data[6:-2].split(b"\n\ndata: ")
            if data.count(b"\n") == 2 * len(events):  # each is one line of data, and nothing else came
                return events
        return [found for event in data.split(b"\n\n") if (found := _data_of(event)) is not None]

    def rest(self) -> list[bytes]:
        """The data of an event whose end never came: by the standard none, but it may tell how the answer ended."""
        found = _data_of(b"".join(self._parts))
        self._parts.clear()
        return [] if found is None else [found]

    def _keep(self, rest: bytes) -> None:
        self._size += len(rest)
        if self._size > self._limit:
            raise MalformedResponseError(f"an event of the stream is larger than {self._limit} bytes")
        if rest:
            self._parts.append(rest)

    def _newlines(self, data: bytes) -> bytes:
        if not data:
            return data
        after_cr, self._after_cr = self._after_cr, data.endswith(b"\r")
        if after_cr:  # the second half of a CRLF that the network cut
            data = data.removeprefix(b"\n")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


_MARK = b"\xef\xbb\xbf"


def _data_of(event: bytes) -> bytes | None:
    lines = [
        line[6:] if line.startswith(b"data: ") else line[5:]
        for line in event.split(b"\n")
        if line.startswith(b"data:") or line == b"data"
    ]
    return b"\n".join(lines) if lines else None
