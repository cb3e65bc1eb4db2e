from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from conftest import FakeClock
from neuroroute.pipe.retrybudget import RetryBudget


def spent(budget: RetryBudget, most: int = 1000) -> int:
    """How many tokens can be taken now."""
    count = 0
    while count < most and budget.spend():
        count += 1
    return count


@pytest.mark.parametrize(("reserve", "free"), [(0, 0), (0.9, 0), (1, 1), (3, 3), (2.5, 2), (10, 10), (500, 500)])
def test_the_reserve_is_free(clock: FakeClock, reserve: float, free: int) -> None:
    """A new budget has its reserve, all of it and no more."""
    assert spent(RetryBudget(reserve, clock.monotonic)) == free


def test_five_successes_pay_for_a_retry(clock: FakeClock) -> None:
    """A success earns a fifth of a token: four pay for nothing, five for one retry."""
    budget = RetryBudget(0, clock.monotonic)
    for _ in range(4):
        budget.earn()
    assert not budget.spend()
    budget.earn()
    assert budget.spend()
    assert not budget.spend()


@pytest.mark.parametrize("successes", [10, 15, 35, 100, 499])
def test_every_five_successes_pay_for_a_retry(clock: FakeClock, successes: int) -> None:
    """However many succeed before: a fifth of them are paid for, to the last one."""
    budget = RetryBudget(0, clock.monotonic)
    for _ in range(successes):
        budget.earn()
    assert spent(budget) == successes // 5


def test_the_reserve_comes_back_within_a_minute(clock: FakeClock) -> None:
    """An empty reserve of ten has a token again after six seconds, all ten after sixty, and never more."""
    budget = RetryBudget(10, clock.monotonic)
    assert spent(budget) == 10
    clock.now = 5.9
    assert not budget.spend()
    clock.now = 6
    assert spent(budget) == 1
    clock.now = 66
    assert spent(budget) == 10
    clock.now = 1000
    assert spent(budget) == 10


def test_time_gives_no_more_than_the_reserve(clock: FakeClock) -> None:
    """What was earned beyond the reserve stays, and grows by successes only."""
    budget = RetryBudget(2, clock.monotonic)
    for _ in range(5):
        budget.earn()
    clock.now = 600
    assert repr(budget) == "<RetryBudget 3.0 retries left>"
    assert spent(budget) == 3
    clock.now = 615
    assert repr(budget) == "<RetryBudget 0.5 retries left>"


def test_time_that_passed_while_it_was_full_is_not_saved_up(clock: FakeClock) -> None:
    """The reserve refills from when it was used, not from when it was last looked at."""
    budget = RetryBudget(10, clock.monotonic)
    clock.now = 6000
    assert spent(budget) == 10
    assert repr(budget) == "<RetryBudget 0.0 retries left>"


@pytest.mark.parametrize(("reserve", "most"), [(10, 100), (250, 250)])
def test_earnings_have_an_end(clock: FakeClock, reserve: float, most: int) -> None:
    """A long good time pays for a hundred retries, or for the reserve where that is more."""
    budget = RetryBudget(reserve, clock.monotonic)
    for _ in range(2000):
        budget.earn()
    assert spent(budget) == most


@pytest.mark.parametrize("look", [RetryBudget.__repr__, RetryBudget.earn, RetryBudget.spend])
def test_looking_takes_and_gives_nothing(clock: FakeClock, look: Callable[[RetryBudget], object]) -> None:
    """How often the budget is asked in between does not change what time gives back."""
    budget = RetryBudget(10, clock.monotonic)
    spent(budget)
    tokens = Fraction(0)
    for _ in range(3):
        clock.now += 1.2  # a fifth of a token
        look(budget)
        tokens += Fraction(1, 5) + (Fraction(1, 5) if look is RetryBudget.earn else 0)
    assert repr(budget) == f"<RetryBudget {float(tokens):.1f} retries left>"


class BudgetMachine(RuleBasedStateMachine):
    """Retries, successes and time in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.spent = 0
        self.successes = 0

    @initialize(reserve=st.one_of(st.integers(0, 200), st.floats(0, 200)))
    def begin(self, reserve: float) -> None:
        self.reserve = reserve
        self.budget = RetryBudget(reserve, self.clock.monotonic)

    @rule(times=st.integers(1, 30))
    def retry(self, times: int) -> None:
        self.spent += spent(self.budget, times)

    @rule(times=st.integers(1, 300))
    def succeed(self, times: int) -> None:
        for _ in range(times):
            self.budget.earn()
        self.successes += times

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def tokens_are_within_bounds(self) -> None:
        repr(self.budget)  # brings it up to date
        assert 0 <= self.budget._tokens <= max(self.reserve, 100)

    @invariant()
    def no_more_was_spent_than_there_ever_was(self) -> None:
        earned = self.reserve + 0.2 * self.successes + self.reserve * self.clock.now / 60
        assert self.spent <= earned + 1e-6


BudgetMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBudget = BudgetMachine.TestCase


@given(st.integers(1, 50), st.lists(st.booleans(), max_size=400))
def test_retries_are_a_fifth_of_what_succeeds(reserve: int, calls: list[bool]) -> None:
    """Whoever retries whatever fails makes at most a fifth more calls than succeed, beside the reserve."""
    budget, retries = RetryBudget(reserve, lambda: 0.0), 0
    for succeeds in calls:
        if succeeds:
            budget.earn()
        else:
            retries += budget.spend()
    assert retries <= reserve + 0.2 * sum(calls)
