from __future__ import annotations

from typing import Any

import pytest

from neuroroute import BreakerPolicy, LMStudioAdapter, ModelInvalidRequestError, RetryPolicy

NUMBERS = [float("nan"), True, "5", None]
"""What is no number."""


def test_the_defaults_are_the_contract_s() -> None:
    """Half of five in a minute opens a breaker for 30 s, for two minutes at most; ten retries are free."""
    assert RetryPolicy() == RetryPolicy(max_backoff=30_000, budget=10)
    assert BreakerPolicy() == BreakerPolicy(
        failure_ratio=0.5,
        minimum_calls=5,
        window=60_000,
        open_for=30_000,
        max_open_for=120_000,
        probe_lease=60_000,
        slow_first_chunk=None,
        slow_ratio=0.5,
    )


def refused(policy: type[RetryPolicy | BreakerPolicy], **values: Any) -> str:
    with pytest.raises(ModelInvalidRequestError) as caught:
        policy(**values)
    return caught.value.message


@pytest.mark.parametrize("value", [-0.001, float("inf"), *NUMBERS])
def test_a_wrong_retry_policy_is_refused(value: Any) -> None:
    """A policy that cannot be meant fails where it is made, and says which value and what would be right."""
    assert refused(RetryPolicy, max_backoff=value) == (
        "RetryPolicy.max_backoff must be a number of milliseconds of at least 0"
    )
    assert refused(RetryPolicy, budget=value) == "RetryPolicy.budget must be a number of retries of at least 0"


@pytest.mark.parametrize("value", [0, 0.5, 1e300])
def test_a_retry_policy_may_be_nothing(value: float) -> None:
    """No back-off and no budget are policies, too."""
    assert RetryPolicy(max_backoff=value, budget=value).budget == value


@pytest.mark.parametrize("name", ["failure_ratio", "slow_ratio"])
def test_ratios_are_shares(name: str) -> None:
    """A ratio lies over 0 and is at most 1."""
    for value in (0, -0.1, 1.001, *NUMBERS):
        assert refused(BreakerPolicy, **{name: value}) == (
            f"BreakerPolicy.{name} must be a number over 0 and at most 1"
        )
    for value in (0.001, 1, 1.0):
        BreakerPolicy(**{name: value})


def test_minimum_calls_is_a_count() -> None:
    """At least one call must have failed before a breaker may open."""
    for value in (0, -1, 2.0, *NUMBERS):
        assert refused(BreakerPolicy, minimum_calls=value) == (
            "BreakerPolicy.minimum_calls must be a whole number of at least 1"
        )
    BreakerPolicy(minimum_calls=1)


@pytest.mark.parametrize("name", ["window", "open_for", "max_open_for", "probe_lease"])
def test_times_are_milliseconds(name: str) -> None:
    """A time is over 0 and ends some day."""
    for value in (0, -1, 1e12 + 1, float("inf"), *NUMBERS):
        assert refused(BreakerPolicy, **{name: value}) == (
            f"BreakerPolicy.{name} must be a number of milliseconds over 0"
        )
    BreakerPolicy(**{"open_for": 0.001, "max_open_for": 1e12, name: 0.001 if name != "max_open_for" else 1e12})


def test_slow_is_off_or_a_time() -> None:
    """slow_first_chunk is None, or milliseconds over 0."""
    for value in (0, -1, 1e12 + 1, float("nan"), True, "5"):
        assert refused(BreakerPolicy, slow_first_chunk=value) == (
            "BreakerPolicy.slow_first_chunk must be a number of milliseconds over 0, or None"
        )
    for value in (0.001, 1e12, None):
        BreakerPolicy(slow_first_chunk=value)


def test_the_longest_time_is_no_shorter_than_the_first() -> None:
    """max_open_for may be open_for, then it never doubles, but not less."""
    assert refused(BreakerPolicy, open_for=10, max_open_for=9) == "BreakerPolicy.max_open_for must be at least open_for"
    BreakerPolicy(open_for=10, max_open_for=10)


def test_policies_are_kept_as_they_are() -> None:
    """A policy is shared by siblings, so it cannot be changed; its values are given by name."""
    with pytest.raises(AttributeError):
        RetryPolicy().budget = 5  # type: ignore[misc]
    with pytest.raises(AttributeError):
        BreakerPolicy().window = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        BreakerPolicy(0.5)  # type: ignore[misc]


@pytest.mark.parametrize(("name", "wrong"), [("retry", BreakerPolicy()), ("breaker", RetryPolicy()), ("breaker", 5)])
def test_an_adapter_takes_each_policy_in_its_place(name: str, wrong: Any) -> None:
    """What is no policy of this kind is refused where the adapter is made."""
    with pytest.raises(ModelInvalidRequestError, match=f"{name} must be of type"):
        LMStudioAdapter("llama3", **{name: wrong})
