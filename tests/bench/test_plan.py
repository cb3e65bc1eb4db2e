from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.bench.plan import Plan, prompt, turns, words_for
from neuroroute.errors import ModelInvalidRequestError


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"rounds": True},
        {"prompt_tokens": 3},
        {"max_tokens": 1},
        {"concurrency": ()},
        {"concurrency": (1, 0)},
        {"concurrency": (1.5,)},
        {"concurrency": 4},
        {"timeout_ms": 0},
        {"timeout_ms": "1"},
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """What is wrong with a plan is told at once, by its name."""
    with pytest.raises(ModelInvalidRequestError, match=next(iter(wrong))):
        Plan(**wrong)


def test_one_alone_is_always_measured() -> None:
    """The levels are in order, each once, and 1 is among them; as many slots as the highest."""
    plan = Plan(concurrency=(8, 2, 8))
    assert (plan.levels, plan.slots) == ((1, 2, 8), 8)


@given(st.integers(1, 20), st.integers(1, 50))
def test_everyone_has_a_turn_in_each_round(count: int, rounds: int) -> None:
    """A round has each once, and over as many rounds as there are targets each begins as often as the others."""
    orders = [turns(number, count) for number in range(rounds)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert [order[0] for order in orders] == [number % count for number in range(rounds)]


@given(st.integers(20, 2000))
def test_no_two_prompts_begin_alike(words: int) -> None:
    """A prompt has the words that were asked for, and within its first 24 characters it is like no other."""
    random = Random(1)
    made = [prompt(words, random) for _ in range(20)]
    assert {len(one.split()) for one in made} == {words}
    assert len({one[:24] for one in made}) == 20
    assert all(re.match(r"Story [0-9a-f]{16},", one) for one in made)


def test_words_follow_the_tokens_that_a_model_makes_of_them() -> None:
    """A model with more tokens for a word gets fewer words."""
    assert (words_for(256, 1.0), words_for(256, 2.0), words_for(1, 5.0)) == (256, 128, 1)
