from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute import AssistantMessage, ContextBudget, ImagePart, TextPart, UserMessage
from neuroroute.estimates import TokenEstimate, TokenEstimates
from neuroroute.responses import estimate_message_tokens, estimate_tokens

TEXT = st.text(max_size=200)
LEARNT = st.lists(st.tuples(TEXT, st.integers(0, 10_000)), max_size=5)


def taught(pairs: list[tuple[str, int]]) -> TokenEstimate:
    estimate = TokenEstimate()
    for text, tokens in pairs:
        estimate.learn([UserMessage(content=text)], tokens)
    return estimate


@given(LEARNT, TEXT)
def test_it_stays_in_its_bounds(pairs: list[tuple[str, int]], text: str) -> None:
    """Whatever was counted, an estimate is between a quarter and four times the plain one."""
    estimate, plain = taught(pairs), estimate_tokens(text)
    assert 0.25 <= estimate.ratio <= 4
    assert round(plain / 4) <= estimate.text(text) <= plain * 4


@given(LEARNT, TEXT, TEXT)
def test_more_text_is_not_fewer_tokens(pairs: list[tuple[str, int]], one: str, other: str) -> None:
    """A longer text has at least as many tokens, whatever was learnt."""
    estimate = taught(pairs)
    assert estimate.text(one) <= estimate.text(one + other)


def test_what_was_counted_is_known() -> None:
    """After one count, the same text has about as many."""
    text = UserMessage(content="Der Mond ist aufgegangen, die goldnen Sternlein prangen. " * 10)
    estimate = TokenEstimate()
    estimate.learn([text], 200)
    assert estimate.message(text) == pytest.approx(200, abs=2)


def test_long_prompts_tell_more_than_short_ones() -> None:
    """A short prompt, half of which is the template, hardly moves what a long one has taught."""
    estimate = TokenEstimate()
    estimate.learn([UserMessage(content="x" * 4000)], 1500)
    learnt = estimate.ratio
    estimate.learn([UserMessage(content="hi")], 30)
    assert estimate.ratio == pytest.approx(learnt, rel=0.05)


def test_what_is_new_wins() -> None:
    """When what is counted changes for good, the estimate follows."""
    estimate = TokenEstimate()
    message = UserMessage(content="x" * 4000)
    for _ in range(10):
        estimate.learn([message], 1000)
    for _ in range(10):
        estimate.learn([message], 2000)
    assert estimate.message(message) == pytest.approx(2000, rel=0.15)


def test_nothing_teaches_nothing() -> None:
    """No count, and no message, leave the estimate as it is."""
    estimate = TokenEstimate()
    estimate.learn([], 100)
    estimate.learn([UserMessage(content="hi")], 0)
    assert (estimate.ratio, estimate.text("eight by"), estimate.text("")) == (1.0, 2, 0)


def test_one_estimate_for_all_of_a_model() -> None:
    """Who asks for a model's estimate has the same one, and a budget goes by it."""
    estimates = TokenEstimates()
    budget = ContextBudget(100, estimates.of("a"))
    message = UserMessage(content="x" * 400)
    before = budget.estimate(message)
    estimates.of("a").learn([message], 208)
    estimates.of("b").learn([message], 50)
    assert (before, budget.estimate(message)) == (105, 209)


def test_an_estimate_is_made_once() -> None:
    """A message's plain estimate is kept with it, and is no part of it: neither shown, sent nor compared."""
    parts = [TextPart(text="abcd"), ImagePart.of(b"\x89PNG\r\n\x1a\n")]
    message, other = UserMessage(content=parts), UserMessage(content=parts)
    assert estimate_message_tokens(message) == estimate_message_tokens(message) == 1 + 4 + 800
    assert (message, repr(message)) == (other, repr(other))
    assert estimate_message_tokens(AssistantMessage(content="abcd")) == 5
