"""What passes when: the rules of one direction, without a network and without time."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.simulator.flow import End, Flow, Hold, Wait, Write
from neuroroute.simulator.toxics import (
    Bandwidth,
    Blackhole,
    Cut,
    Freeze,
    Latency,
    Reset,
    Slicer,
    SlowClose,
    Toxic,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def flow(seed: int = 1, struck: list[Toxic] | None = None) -> Flow:
    seen: list[Toxic] = [] if struck is None else struck
    return Flow("downstream", Random(seed), seen.append)


def played(subject: Flow, toxics: Sequence[Toxic], now: float = 0.0) -> tuple[list[tuple[float, bytes]], str]:
    """Everything that passes, with its times, until nothing more is due; and why not."""
    passed: list[tuple[float, bytes]] = []
    for _ in range(10_000):
        match subject.next(toxics, now):
            case Write(size):
                passed.append((round(now, 6), subject.take(size, toxics, now)))
            case Wait(None):
                return passed, "waits"
            case Wait(seconds):
                assert seconds is not None
                assert seconds > 0
                now += seconds
            case Hold():
                return passed, "holds"
            case End(how):
                return [*passed, (round(now, 6), b"")], how
    raise AssertionError("it never ends")


def test_without_faults_bytes_and_their_end_pass_at_once() -> None:
    """A flow without faults passes what comes, as it comes."""
    subject = flow()
    subject.receive(b"one", 0.0)
    assert played(subject, ()) == ([(0.0, b"one")], "waits")
    subject.receive(b"two", 1.0)
    subject.end(1.0)
    assert played(subject, (), 1.0) == ([(1.0, b"two"), (1.0, b"")], "pass")
    assert (subject.passed, subject.waiting) == (6, 0)


def test_latency_delays_and_does_not_limit() -> None:
    """Each packet and the end come so much later; two packets that came together leave together."""
    subject = flow()
    subject.receive(b"a", 0.0)
    subject.receive(b"b", 0.0)
    subject.receive(b"c", 0.1)
    subject.end(0.1)
    assert played(subject, [Latency(200)]) == ([(0.2, b"a"), (0.2, b"b"), (0.3, b"c"), (0.3, b"")], "pass")


@given(st.integers(), st.floats(0, 500), st.floats(0, 800), st.integers(1, 8))
def test_jitter_stays_in_its_range_and_keeps_the_order(seed: int, ms: float, jitter_ms: float, count: int) -> None:
    """A packet is late by ms ± jitter_ms and never early; bytes keep their order."""
    subject = flow(seed)
    for number in range(count):
        subject.receive(bytes([number]), 0.0)
    passed, _ = played(subject, [Latency(ms, jitter_ms)])
    assert b"".join(data for _, data in passed) == bytes(range(count))
    assert all(max(0, ms - jitter_ms) - 0.01 <= at * 1000 <= ms + jitter_ms + 0.01 for at, _ in passed)


def test_bandwidth_spreads_bytes_over_time() -> None:
    """A thousand bytes at a thousand a second take a second, in even pieces."""
    subject = flow()
    subject.receive(bytes(1000), 0.0)
    passed, _ = played(subject, [Bandwidth(1000)])
    assert [len(data) for _, data in passed] == [50] * 20
    assert passed[-1][0] == pytest.approx(0.95)


def test_a_slicer_tears_bytes_apart() -> None:
    """Pieces have at most so many bytes, with the pause between them."""
    subject = flow()
    subject.receive("añb".encode(), 0.0)
    passed, _ = played(subject, [Slicer(2, 10)])
    assert passed == [(0.0, b"a\xc3"), (0.01, b"\xb1b")]


@pytest.mark.parametrize(("fault", "how"), [(Cut(4), "cut"), (Reset(4), "reset"), (Freeze(4), "holds")])
def test_it_stops_after_exactly_so_many_bytes(fault: Toxic, how: str) -> None:
    """Exactly N bytes pass, whatever packets they come in, and the fault strikes without waiting for more."""
    struck: list[Toxic] = []
    subject = flow(struck=struck)
    subject.receive(b"one", 0.0)
    assert played(subject, [fault])[1] == "waits"
    assert struck == []
    subject.receive(b"two", 0.0)
    passed, ended = played(subject, [fault])
    assert (b"".join(data for _, data in passed), ended) == (b"t", how)
    assert set(struck) == {fault}


@pytest.mark.parametrize(("fault", "how"), [(Cut(0), "cut"), (Reset(), "reset"), (Freeze(), "holds")])
def test_with_zero_the_first_byte_does_not_pass(fault: Toxic, how: str) -> None:
    """With 0, a cut and a reset wait for the first byte, which does not pass."""
    subject = flow()
    assert played(subject, [fault]) == ([], "holds" if how == "holds" else "waits")
    subject.receive(b"one", 0.0)
    assert played(subject, [fault])[1] == how
    assert subject.passed == 0


def test_what_was_held_flows_on() -> None:
    """When a freeze is taken away, everything that was held passes, the end too."""
    subject = flow()
    subject.receive(b"one two", 0.0)
    subject.end(0.0)
    assert played(subject, [Freeze(3)]) == ([(0.0, b"one")], "holds")
    assert played(subject, [], 9.0) == ([(9.0, b" two"), (9.0, b"")], "pass")


def test_a_slow_close_slows_the_end_alone() -> None:
    """Bytes pass at once, their end so much later."""
    subject = flow()
    subject.receive(b"one", 0.0)
    subject.end(0.0)
    assert played(subject, [SlowClose(500)]) == ([(0.0, b"one"), (0.5, b"")], "pass")


def test_a_reset_of_the_sender_is_passed_on_behind_its_bytes() -> None:
    """What came before a reset passes before it."""
    subject = flow()
    subject.receive(b"one", 0.0)
    subject.end(0.0, reset=True)
    assert played(subject, ()) == ([(0.0, b"one"), (0.0, b"")], "reset")


def test_faults_of_the_other_direction_do_not_concern_it() -> None:
    """A fault for requests leaves answers alone; a black hole takes both."""
    subject = flow()
    subject.receive(b"one", 0.0)
    others: list[Toxic] = [Cut(0, direction="upstream"), Freeze(direction="upstream")]
    assert played(subject, others) == ([(0.0, b"one")], "waits")
    subject.receive(b"two", 0.0)
    assert played(subject, [Blackhole()]) == ([], "holds")


TOXICS = st.one_of(
    st.builds(Latency, st.integers(0, 50), st.integers(0, 50)),
    st.builds(Bandwidth, st.integers(1, 200)),
    st.builds(Slicer, st.integers(1, 5), st.integers(0, 5)),
    st.builds(SlowClose, st.integers(0, 50)),
    st.builds(Cut, st.integers(0, 60)),
    st.builds(Reset, st.integers(0, 60)),
    st.builds(Freeze, st.integers(0, 60)),
)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.lists(TOXICS, max_size=4))
def test_no_byte_is_lost_or_made_up(packets: list[bytes], toxics: list[Toxic]) -> None:
    """Whatever the faults: what passes is the beginning of what came, as long as the strictest of them allows."""
    subject = flow()
    for packet in packets:
        subject.receive(packet, 0.0)
    subject.end(0.0)
    passed, how = played(subject, toxics)
    sent, got = b"".join(packets), b"".join(data for _, data in passed)
    limits = [toxic.after_bytes for toxic in toxics if isinstance(toxic, (Cut, Reset, Freeze))]
    assert got == sent[: min(limits, default=len(sent))]
    assert (how == "pass") == (
        not [n for n in limits if n < len(sent) or (n == len(sent) and n)] and not freezes(toxics, sent)
    )


def freezes(toxics: Sequence[Toxic], sent: bytes) -> bool:
    return any(isinstance(toxic, Freeze) and toxic.after_bytes <= len(sent) for toxic in toxics)


@pytest.mark.parametrize("wrong", [lambda: Latency(-1), lambda: Bandwidth(0), lambda: Slicer(0), lambda: Cut(-1)])
def test_values_that_make_no_sense_are_refused(wrong) -> None:
    """A negative time or size, and a speed or piece of nothing, are errors where they are written."""
    with pytest.raises(ValueError, match="or more, not"):
        wrong()


def test_a_rate_is_a_share() -> None:
    """A rate above 1 or below 0 is an error."""
    for rate in (1.1, -0.1):
        with pytest.raises(ValueError, match="rate"):
            Blackhole(rate=rate)
