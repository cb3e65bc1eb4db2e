"""What a fleet does under load, in a time that jumps: minutes of requests in seconds."""

from __future__ import annotations

import pytest

from fleet.fleets import under_load

REQUESTS = 10_000


@pytest.mark.parametrize("utilisation", [0.3, 0.85])
def test_one_slow_host_of_eight_does_not_slow_the_others(utilisation: float) -> None:
    """With a tenth host-speed among eight, p99 over 10,000 requests stays within 1.5 of that without it."""
    seven = {f"fast{number}": 1.0 for number in range(7)}
    rate = utilisation * 7 * 4
    without, _ = under_load(seven, rate, REQUESTS)
    beside, fleet = under_load({**seven, "slow": 10.0}, rate, REQUESTS)
    p99 = int(REQUESTS * 0.99)
    assert beside[p99] <= 1.5 * without[p99]
    assert 0 < fleet.asked["slow"] < REQUESTS / 100  # tried now and then, so that it would be seen to be fast again


def test_shares_follow_speed() -> None:
    """When all are busy, a host that is twice as fast answers twice as many."""
    means = {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.25}
    _, fleet = under_load(means, 0.98 * 4 * sum(1 / mean for mean in means.values()), REQUESTS)
    whole = sum(1 / mean for mean in means.values())
    for name, mean in means.items():
        assert fleet.asked[name] / REQUESTS == pytest.approx(1 / mean / whole, rel=0.15)
