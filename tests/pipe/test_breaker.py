from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from conftest import FakeClock
from neuroroute import (
    BreakerPolicy,
    CircuitOpenError,
    LMStudioError,
    MalformedResponseError,
    ModelAuthenticationError,
    ModelBusyError,
    ModelContextLengthError,
    ModelEmptyResponseError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelRateLimitedError,
    ModelResponse,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    StreamInterruptedError,
    TokenUsage,
)
from neuroroute.pipe.breaker import Breaker, Permit

COUNTED = [
    NetworkError("refused"),
    ModelUnavailableError("crashed"),
    ModelTimeoutError("late"),
    StreamInterruptedError("cut"),
    MalformedResponseError("<html>"),
]
UNCOUNTED = [
    ModelRateLimitedError("429"),
    ModelInvalidRequestError("400"),
    ModelAuthenticationError("401"),
    ModelNotFoundError("404"),
    ModelContextLengthError("too long"),
    ModelEmptyResponseError("empty"),
    ModelBusyError("full"),
    ModelUnavailableError("loading", details={"reason": "loading"}),
]
DOWN = COUNTED[0]


class Ends(Random):
    """A source of jitter that gives the end of each range, and notes the range."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.ranges.append((a, b))
        return b


class Made:
    """A breaker, and all that it was given."""

    def __init__(self, **policy: Any) -> None:
        self.clock = FakeClock()
        self.random = Ends()
        self.changes: list[tuple[str, str, LMStudioError | None]] = []
        self.breaker = Breaker(
            BreakerPolicy(**policy), self.clock.monotonic, self.random, lambda *change: self.changes.append(change)
        )

    def attempts(self, ends: str) -> Breaker:
        """Makes attempts one after the other: S succeeds, F fails, s is slow, f is slow and fails, x is left."""
        for end in ends:
            permit = self.breaker.admit()
            permit.slow = end in "sf"
            if end == "x":
                self.breaker.give_back(permit)
            else:
                self.breaker.judge(permit, DOWN if end in "Ff" else None)
        return self.breaker

    def refusal(self) -> CircuitOpenError:
        with pytest.raises(CircuitOpenError) as caught:
            self.breaker.admit()
        return caught.value


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        ("FFFF", "closed"),
        ("FFFFF", "open"),
        ("SSFFF", "open"),
        ("SSSFF", "closed"),
        ("SSSFFF", "open"),
        ("SSSSFFF", "closed"),
        ("SSSSFFFF", "open"),
        ("FFFxxxx", "closed"),
        ("FFFS", "closed"),
        ("FFFSS", "closed"),
        ("FFFSSF", "open"),
        ("fffff", "open"),
        ("sssss", "open"),
        ("ssss", "closed"),
        ("SSsss", "open"),
        ("sssSS", "closed"),
        ("SSSss", "closed"),
        ("SSSsss", "open"),
        ("SSfsf", "closed"),
    ],
)
def test_half_of_five_open_it(ends: str, state: str) -> None:
    """It opens with a failure that makes half of at least five attempts fail; slow answers are counted likewise."""
    made = Made()
    assert made.attempts(ends).state == state


def test_ratios_are_the_policy_s() -> None:
    """Where all must fail, one success keeps it closed."""
    assert Made(failure_ratio=1).attempts("SFFFFFFFF").state == "closed"
    assert Made(failure_ratio=1).attempts("FFFFF").state == "open"
    assert Made(failure_ratio=1, slow_ratio=0.2, minimum_calls=6).attempts("SFFFFs").state == "closed"
    assert Made(failure_ratio=1, slow_ratio=0.2, minimum_calls=5).attempts("SFFFs").state == "open"
    assert Made(minimum_calls=1).attempts("F").state == "open"


@pytest.mark.parametrize("error", COUNTED, ids=lambda error: error.code)
def test_the_server_s_failures_count(error: LMStudioError) -> None:
    """Unavailable, late, unreachable, broken off or malformed: each counts, and is told as the cause."""
    made = Made(minimum_calls=1)
    made.breaker.judge(made.breaker.admit(), error)
    assert made.breaker.state == "open"
    assert type(made.refusal().__cause__) is type(error)


@pytest.mark.parametrize("error", UNCOUNTED, ids=lambda error: error.message)
def test_the_caller_s_mistakes_do_not_count(error: LMStudioError) -> None:
    """A mistake, a 429, an empty answer, a full queue, a model that loads: none is the server's failure."""
    made = Made(minimum_calls=1)
    made.breaker.judge(made.breaker.admit(), error)
    assert repr(made.breaker) == "<Breaker closed, 0 of 0 failed>"


def test_an_attempt_counts_for_a_minute() -> None:
    """Failures are forgotten when the window has passed over them."""
    made = Made()
    made.attempts("FFFF")
    made.clock.now = 59.99
    assert repr(made.breaker) == "<Breaker closed, 4 of 4 failed>"
    made.clock.now = 60
    assert repr(made.breaker) == "<Breaker closed, 0 of 0 failed>"
    assert made.attempts("F").state == "closed"


def test_open_it_refuses() -> None:
    """While it is open nothing goes through, and the error says how long still; from 30 s on, one probe goes."""
    made = Made()
    made.attempts("FFFFF")
    assert made.breaker.refuses
    assert made.refusal().retry_after_ms == 30_000
    with pytest.raises(CircuitOpenError):
        made.breaker.check()
    made.clock.now = 29.5
    error = made.refusal()
    assert (error.retry_after_ms, error.retryable, error.attempts) == (500, False, 0)
    assert error.message == "circuit breaker open: too many of its last answers failed"
    assert error.hint == "After retry_after_ms one request is let through to see whether the server is back."
    made.clock.now = 30
    assert not made.breaker.refuses
    made.breaker.check()
    assert made.breaker.state == "open"
    assert made.breaker.refusal().retry_after_ms == 0
    assert made.breaker.admit().probe
    assert made.breaker.state == "half_open"


def test_one_probe_at_a_time() -> None:
    """While a probe is out, all others are refused, and told to come back soon; its success closes the breaker."""
    made = Made()
    made.attempts("FFFFF")
    made.clock.now = 31
    probe = made.breaker.admit()
    assert made.refusal().retry_after_ms == 1000
    assert isinstance(made.refusal().__cause__, NetworkError)
    made.breaker.judge(probe, None)
    assert repr(made.breaker) == "<Breaker closed, 0 of 0 failed>"
    assert not made.breaker.admit().probe


def test_failed_probes_make_it_wait_longer() -> None:
    """The first time is fixed; then it doubles with jitter, never below the first nor above the cap; closed, anew."""
    made = Made(open_for=30_000, max_open_for=300_000)
    made.attempts("FFFFF")
    waits = []
    for _ in range(5):
        waits.append(made.refusal().retry_after_ms)
        made.clock.now += waits[-1] / 1000  # type: ignore[operator]
        made.attempts("F")
    assert waits == [30_000, 60_000, 120_000, 240_000, 300_000]
    assert made.random.ranges == [(30, 60), (60, 120), (120, 240), (150, 300), (150, 300)]
    made.clock.now += 300
    assert made.attempts("S").state == "closed"
    made.attempts("FFFFF")
    assert made.refusal().retry_after_ms == 30_000
    assert len(made.random.ranges) == 5


def test_a_server_that_is_down_for_ever() -> None:
    """However many probes fail, the wait stays a number within the cap."""
    made = Made()
    made.attempts("FFFFF")
    for _ in range(1200):
        made.clock.now += 120
        made.attempts("F")
    assert made.refusal().retry_after_ms == 120_000
    assert set(made.random.ranges[1:]) == {(60, 120)}


def test_jitter_is_the_seed_s() -> None:
    """Two breakers with the same seed wait as long, and with another seed otherwise."""

    def wait(seed: int) -> float | None:
        clock = FakeClock()
        breaker = Breaker(BreakerPolicy(minimum_calls=1), clock.monotonic, Random(seed), lambda *_: None)
        for _ in range(2):
            breaker.judge(breaker.admit(), DOWN)
            clock.now += 30
        clock.now -= 30
        return breaker.refusal().retry_after_ms

    assert wait(1) == wait(1) != wait(2)


def test_a_wait_without_doubling() -> None:
    """Where the longest wait is the first, all are as long."""
    made = Made(open_for=10_000, max_open_for=10_000, minimum_calls=1)
    made.attempts("F")
    made.clock.now = 10
    made.attempts("F")
    assert made.random.ranges == [(10, 10)]
    assert made.refusal().retry_after_ms == 10_000


@pytest.mark.parametrize("error", UNCOUNTED, ids=lambda error: error.message)
def test_a_probe_that_does_not_count_gives_its_permit_back(error: LMStudioError) -> None:
    """A probe that was refused for the caller's mistake says nothing of the server: the next attempt probes."""
    made = Made()
    made.attempts("FFFFF")
    made.clock.now = 30
    made.breaker.judge(made.breaker.admit(), error)
    assert repr(made.breaker) == "<Breaker half_open, no probe is out>"
    assert made.breaker.admit().probe


def test_a_probe_that_is_left_gives_its_permit_back() -> None:
    """A probe that was cancelled makes room for the next, and what is told of it later is ignored."""
    made = Made()
    made.attempts("FFFFF")
    made.clock.now = 30
    left = made.breaker.admit()
    assert repr(made.breaker) == "<Breaker half_open, a probe is out>"
    made.breaker.give_back(left)
    assert repr(made.breaker) == "<Breaker half_open, no probe is out>"
    probe = made.breaker.admit()
    made.breaker.give_back(left)
    made.breaker.judge(left, None)
    assert repr(made.breaker) == "<Breaker half_open, a probe is out>"
    made.breaker.judge(probe, None)
    assert made.breaker.state == "closed"


def test_a_probe_s_lease_ends() -> None:
    """A probe that is not heard of for a minute loses its turn; what it tells after that is ignored."""
    made = Made()
    made.attempts("FFFFF")
    made.clock.now = 30
    lost = made.breaker.admit()
    made.clock.now = 89.99
    assert made.breaker.refuses
    made.clock.now = 90
    assert not made.breaker.refuses
    assert repr(made.breaker) == "<Breaker half_open, no probe is out>"
    probe = made.breaker.admit()
    made.breaker.judge(lost, None)
    made.breaker.judge(lost, DOWN)
    assert repr(made.breaker) == "<Breaker half_open, a probe is out>"
    made.breaker.judge(probe, DOWN)
    assert made.breaker.state == "open"


def test_every_probe_is_told_apart() -> None:
    """Of several probes that lost their turn, and of an attempt from before, nothing is heard any more."""
    made = Made(minimum_calls=1)
    early = made.breaker.admit()
    made.attempts("F")
    probes = []
    for made.clock.now in (30, 90, 150, 210):
        probes.append(made.breaker.admit())
    for permit in (early, *probes[:3]):
        for end in (DOWN, None):
            made.breaker.judge(permit, end)
        assert repr(made.breaker) == "<Breaker half_open, a probe is out>"
    made.breaker.judge(probes[3], None)
    assert made.breaker.state == "closed"


def test_a_probe_that_fails_is_the_cause_from_then_on() -> None:
    """Whoever is refused sees the last failure, not the first."""
    made = Made(minimum_calls=1)
    made.attempts("F")
    made.clock.now = 30
    made.breaker.judge(made.breaker.admit(), ModelTimeoutError("late"))
    assert isinstance(made.refusal().__cause__, ModelTimeoutError)


def test_a_permit_comes_back_early_in_the_day() -> None:
    """On a clock that has just begun, too, a probe that was left makes room at once."""
    made = Made(minimum_calls=1)
    made.attempts("F")
    made.breaker.probe_soon()
    made.breaker.give_back(made.breaker.admit())
    assert not made.breaker.refuses


def test_a_probe_may_come_late_while_nobody_took_its_turn() -> None:
    """The lease over, a probe still closes the breaker unless another has its turn."""
    made = Made()
    made.attempts("FFFFF")
    made.clock.now = 30
    probe = made.breaker.admit()
    made.clock.now = 500
    made.breaker.judge(probe, None)
    assert made.breaker.state == "closed"


def test_a_slow_probe_fails() -> None:
    """A server that is back but slow is left alone for longer; the cause is no failure then."""
    made = Made()
    made.attempts("FFFFF")
    made.clock.now = 30
    made.attempts("s")
    assert made.refusal().retry_after_ms == 60_000
    assert made.refusal().message == "circuit breaker open: too many of its last answers were slow"
    assert made.refusal().__cause__ is None


def test_late_results_are_ignored() -> None:
    """What an attempt tells that began before the breaker changed its state changes nothing."""
    made = Made()
    early = [made.breaker.admit() for _ in range(3)]
    made.attempts("FFFFF")
    made.breaker.judge(early[0], None)
    made.clock.now = 30
    made.breaker.judge(early[1], DOWN)
    probe = made.breaker.admit()
    made.breaker.judge(early[2], DOWN)
    assert made.breaker.state == "half_open"
    made.breaker.judge(probe, None)
    assert [change[:2] for change in made.changes] == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]


def test_an_attempt_is_judged_once() -> None:
    """Only what is told first of an attempt counts, even when its failure opened the breaker."""
    made = Made()
    permit = made.breaker.admit()
    made.breaker.judge(permit, DOWN)
    made.breaker.judge(permit, DOWN)
    made.breaker.give_back(permit)
    assert repr(made.breaker) == "<Breaker closed, 1 of 1 failed>"
    opening = Made(minimum_calls=1)
    permit = opening.breaker.admit()
    opening.breaker.judge(permit, DOWN)
    opening.clock.now = 10
    opening.breaker.judge(permit, DOWN)
    opening.breaker.judge(permit, None)
    assert repr(opening.breaker) == "<Breaker open, 20 s left>"


def test_what_was_given_back_is_not_judged() -> None:
    """An attempt that was left is forgotten."""
    made = Made()
    permit = made.breaker.admit()
    made.breaker.give_back(permit)
    made.breaker.judge(permit, DOWN)
    assert repr(made.breaker) == "<Breaker closed, 0 of 0 failed>"


def test_forced_open_only_a_reset_closes_it() -> None:
    """By force it stays open for ever; seeing the server up does not help; reset() closes it."""
    made = Made()
    early = made.breaker.admit()
    made.breaker.force_open()
    made.breaker.force_open()
    assert repr(made.breaker) == "<Breaker open, by force>"
    made.clock.now = 1e9
    made.breaker.probe_soon()
    made.breaker.judge(early, None)
    error = made.refusal()
    assert error.message == "circuit breaker open: it was opened by force"
    assert (error.hint, error.retry_after_ms) == ("Close it with adapter.breaker.reset().", None)
    assert error.__cause__ is None
    assert made.breaker.refuses
    made.breaker.reset()
    assert not made.breaker.admit().probe
    assert made.changes == [("closed", "open", None), ("open", "closed", None)]


@pytest.mark.parametrize("ends", ["", "FFFFF", "probing"])
def test_force_and_reset_lead_from_everywhere(ends: str) -> None:
    """In every state both are possible; a probe that was out then is ignored."""
    for act, state in (("force_open", "open"), ("reset", "closed")):
        made = Made()
        probe = Permit(-5, probe=True)
        made.attempts("FFFFF" if ends else "")
        if ends == "probing":
            made.clock.now = 30
            probe = made.breaker.admit()
        getattr(made.breaker, act)()
        made.breaker.judge(probe, None)
        made.breaker.give_back(probe)
        assert made.breaker.state == state
        assert made.breaker.refuses is (act == "force_open")


def test_reset_forgets() -> None:
    """Reset while closed, the failures and the attempts on their way are forgotten; it tells of no change."""
    made = Made()
    early = made.breaker.admit()
    made.attempts("FFFF")
    made.breaker.reset()
    made.breaker.judge(early, DOWN)
    assert repr(made.breaker) == "<Breaker closed, 0 of 0 failed>"
    assert made.changes == []
    made.attempts("FFFFF")
    made.clock.now = 30
    made.attempts("F")
    made.breaker.reset()
    made.attempts("FFFFF")
    assert made.refusal().retry_after_ms == 30_000


def test_the_server_was_seen_up() -> None:
    """Then an open breaker lets the next attempt probe; in other states nothing changes, nor does a second sight."""
    made = Made()
    made.breaker.probe_soon()
    assert made.breaker.state == "closed"
    made.attempts("FFFFF")
    made.clock.now = 3
    made.breaker.probe_soon()
    made.clock.now = 5
    made.breaker.probe_soon()
    assert repr(made.breaker) == "<Breaker open, the next request probes>"
    assert made.breaker.refusal().retry_after_ms == 0
    assert made.breaker.admit().probe
    made.breaker.probe_soon()
    assert made.breaker.refuses


def test_repr_tells_the_state() -> None:
    """Closed, what it has seen; open, how long still; half-open, whether a probe is out."""
    made = Made()
    assert repr(made.attempts("FFSx")) == "<Breaker closed, 2 of 3 failed>"
    made.attempts("FF")
    assert repr(made.breaker) == "<Breaker open, 30 s left>"
    made.clock.now = 29.4
    assert repr(made.breaker) == "<Breaker open, 1 s left>"
    made.clock.now = 30
    assert repr(made.breaker) == "<Breaker open, the next request probes>"


def test_the_cause_is_shown_without_what_was_another_caller_s() -> None:
    """Who is refused sees the last failure, but nothing of the answer, nor of the frames, of the call that failed."""
    made = Made(minimum_calls=1)
    failed = StreamInterruptedError("cut", status=200, details={"code": 5})
    failed.partial = ModelResponse(text="secret", tokens=TokenUsage(), model="m", processing_time=0, messages=[])
    permit = made.breaker.admit()
    try:
        raise failed
    except StreamInterruptedError as error:
        made.breaker.judge(permit, error)
    cause = made.refusal().__cause__
    assert isinstance(cause, StreamInterruptedError)
    assert (cause.message, cause.status, cause.details) == ("cut", 200, {"code": 5})
    assert (cause.partial, cause.__traceback__, cause.__context__) == (None, None, None)
    assert failed.partial.text == "secret"


def test_transitions_are_told_once_they_are_made() -> None:
    """Each change is told with its cause, when the breaker already refuses or admits accordingly."""
    seen: list[str] = []
    clock = FakeClock()
    breaker: Breaker = Breaker(
        BreakerPolicy(minimum_calls=1, open_for=500),
        clock.monotonic,
        Random(1),
        lambda before, after, cause: seen.append(f"{before}-{after} {cause and cause.message} {breaker!r}"),
    )
    breaker.judge(breaker.admit(), DOWN)
    clock.now = 0.5
    breaker.judge(breaker.admit(), None)
    breaker.force_open()
    breaker.reset()
    assert seen == [
        "closed-open refused <Breaker open, 0 s left>",
        "open-half_open refused <Breaker half_open, no probe is out>",
        "half_open-closed None <Breaker closed, 0 of 0 failed>",
        "closed-open None <Breaker open, by force>",
        "open-closed None <Breaker closed, 0 of 0 failed>",
    ]


class BreakerMachine(RuleBasedStateMachine):
    """Attempts begin, end, are left, told twice or too late, in any order, beside force and reset."""

    def __init__(self) -> None:
        super().__init__()
        self.made = Made()
        self.breaker = self.made.breaker
        self.permits: list[Permit] = []
        self.era = 0
        """Counts the states that the breaker was in."""
        self.born: dict[int, int] = {}
        """The era of each permit."""
        self.probe: Permit | None = None
        self.leased_until = 0.0
        self.forced = False

    @property
    def now(self) -> float:
        return self.made.clock.now

    def changed(self) -> bool:
        """Whether it went into another state since the last look."""
        changed, self.era = len(self.made.changes) != self.era, len(self.made.changes)
        return changed

    @rule(seconds=st.one_of(st.floats(0, 200), st.sampled_from([5.0, 30.0, 60.0, 120.0])))
    def wait(self, seconds: float) -> None:
        self.made.clock.now += seconds

    @rule()
    def begin(self) -> None:
        before, refused = self.breaker.state, self.breaker.refuses
        if before == "half_open":
            assert refused is (self.probe is not None and self.now < self.leased_until)
        try:
            permit = self.breaker.admit()
        except CircuitOpenError:
            assert refused
            assert before != "closed"
            return
        assert not refused
        assert not self.forced
        assert permit.probe is (before != "closed")
        self.changed()
        self.permits.append(permit)
        self.born[id(permit)] = self.era
        if permit.probe:
            assert self.probe is None or self.now >= self.leased_until
            self.probe, self.leased_until = permit, self.now + 60

    @precondition(lambda self: self.permits)
    @rule(
        which=st.integers(0, 1000),
        end=st.sampled_from([None, None, *COUNTED, *COUNTED, *UNCOUNTED]),
        slow=st.booleans(),
        left=st.booleans(),
    )
    def end(self, which: int, end: LMStudioError | None, slow: bool, left: bool) -> None:
        """Any attempt is told of, even one that was told of before: it stays in the list."""
        permit = self.permits[which % len(self.permits)]
        heard = self.born.pop(id(permit), None)
        timely = heard == self.era and (not permit.probe or permit is self.probe)
        before = repr(self.breaker)
        permit.slow = slow
        if left:
            self.breaker.give_back(permit)
        else:
            self.breaker.judge(permit, end)
        changed = self.changed()
        if not timely:
            assert (changed, repr(self.breaker)) == (False, before)
        elif permit.probe:
            self.probe = None
            counts = not left and (end is None or end in COUNTED)
            assert changed is counts
            assert self.breaker.state == ("half_open" if not counts else "open" if end or slow else "closed")
        elif left or end in UNCOUNTED:
            assert (changed, repr(self.breaker)) == (False, before)
        if changed:
            self.probe = None

    @rule()
    def force(self) -> None:
        self.breaker.force_open()
        self.probe, self.forced = None, True
        if not self.changed():  # it was open
            self.born.clear()

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.probe, self.forced = None, False
        if not self.changed():  # it was closed, and begins anew
            self.born.clear()

    @rule()
    def seen_up(self) -> None:
        self.breaker.probe_soon()
        assert self.breaker.refuses is (
            self.forced
            or (self.breaker.state == "half_open" and self.probe is not None and self.now < self.leased_until)
        )

    @invariant()
    def an_open_one_opens_again_within_its_cap(self) -> None:
        wait = self.breaker.refusal().retry_after_ms
        assert (wait is None) is self.forced
        assert wait is None or 0 <= wait <= 120_000

    def teardown(self) -> None:
        """Whatever happened, one attempt that succeeds brings it back, once all else is settled."""
        for permit in self.permits:
            self.breaker.give_back(permit)
        if self.forced:
            self.breaker.reset()
        assert self.breaker.state == "open" or not self.breaker.refuses
        self.made.clock.now += 120
        self.breaker.judge(self.breaker.admit(), None)
        assert self.breaker.state == "closed"


BreakerMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestBreaker = BreakerMachine.TestCase
