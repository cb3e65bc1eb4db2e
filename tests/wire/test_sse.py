from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import cut
from neuroroute import MalformedResponseError
from neuroroute.wire.sse import SSEParser

EVENTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1).map(str.encode), min_size=1, max_size=6
)


def parse(pieces: list[bytes], limit: int = 1 << 20) -> list[bytes]:
    parser = SSEParser(limit)
    return [event for piece in pieces for event in parser.feed(piece)]


@given(EVENTS, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans(), st.lists(st.integers(0, 10_000)))
def test_any_split_gives_the_same_events(events: list[bytes], newline: bytes, mark: bool, cuts: list[int]) -> None:
    """However the network cuts the bytes, and whatever ends its lines, the events are the same."""
    body = b"".join(b"data: " + event + newline * 2 for event in events)
    assert parse(cut((b"\xef\xbb\xbf" if mark else b"") + body, cuts)) == events


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b": ping\n\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"event: error\ndata: a\nid: 7\nretry: 5\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data\n\n", [b""]),
        (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: unfinished\n", []),
        (b"database: a\n\n", []),
        (b"data: a\r\n\r\ndata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\ndata: b\rdata: c\r\n\n", [b"a\nb\nc"]),
        (b"data: a\n\ndata: b\n\ndata: c", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
    ],
)
def test_what_the_standard_allows(body: bytes, events: list[bytes]) -> None:
    """Comments, several data lines, other fields and blank lines are read as the standard says."""
    assert parse([body]) == events
    assert parse([bytes([byte]) for byte in body]) == events


@pytest.mark.parametrize("before", [b"", b"data: a\n\n", b"data: a\n\ndata: "])
def test_an_event_has_a_size_limit(before: bytes) -> None:
    """An event of just the limit is let in, the first as any other; one byte more is an error before memory fills."""
    parser = SSEParser(max_event_bytes=100)
    assert parser.feed(before) == ([b"a"] if before else [])
    held = len(before.rpartition(b"\n\n")[2])
    assert parser.feed(b"x" * (100 - held)) == []
    with pytest.raises(MalformedResponseError, match="larger than 100 bytes"):
        parser.feed(b"x")


def test_nothing_read_tells_nothing() -> None:
    """An empty read between the halves of a CRLF leaves them one line end."""
    assert parse([b"data: a\r", b"", b"\ndata: b\r", b"", b"\n\r\n"]) == [b"a\nb"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_plain_events_are_not_looked_through_line_by_line(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What every server sends costs one split: the slow way is not gone, be the last event whole or not."""
    monkeypatch.setattr("neuroroute.wire.sse._data_of", None)
    body = b"".join(b"data: %d\n\n" % number for number in range(count))
    assert parse([body]) == parse([body + b"da"]) == [b"%d" % number for number in range(count)]


def test_the_limit_is_for_one_event_not_for_all() -> None:
    """Many small events may be more than the limit together."""
    assert len(parse([b"data: 0123456789\n\n"] * 50, limit=40)) == 50


@given(EVENTS, st.lists(st.sampled_from([b": ping\n\n", b"event: x\n", b"data: more\n", b"\n", b""]), max_size=8))
def test_plain_events_among_others_are_the_same_as_alone(events: list[bytes], between: list[bytes]) -> None:
    """The quick way for plain events and the slow way for all others find the same, cut into bytes or at once."""
    pairs = zip(events, [*between, *[b""] * len(events)], strict=False)
    body = b"".join(other + b"data: " + event + b"\n\n" for event, other in pairs)
    assert parse([body]) == parse([body[at : at + 1] for at in range(len(body))])
    if not any(between):
        assert parse([body]) == events


def test_lines_without_an_end_cost_no_more_each() -> None:
    """A stream of lines that never ends an event is bounded by its limit, not by the square of its length."""
    parser = SSEParser(64 << 20)
    begun = time.perf_counter()
    for _ in range(8000):
        assert parser.feed(b"data: " + b"x" * 1000 + b"\n") == []
    assert time.perf_counter() - begun < 2
    assert len(parser.feed(b"\n")[0]) == 8000 * 1001 - 1


def test_what_is_left_of_a_body_that_ended() -> None:
    """The data of an event that was not ended can be looked at; then it is gone."""
    parser = SSEParser()
    assert parser.feed(b"data: a\n\ndata: b\n") == [b"a"]
    assert parser.feed(b"data: c") == []
    assert parser.rest() == [b"b\nc"]
    assert parser.rest() == []
