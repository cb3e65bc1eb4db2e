"""Which of several places a request goes to: a decision over what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from neuroroute.pipe.hostedmodel import HostedModel

Fit: TypeAlias = "Callable[[HostedModel], bool]"
Cost: TypeAlias = "Callable[[HostedModel], tuple[bool, float]]"
"""Whether a request would have to wait for a slot, and in how many seconds it would be answered."""

ALL_LOOKED_AT = 8
"""Of so many places each is looked at; of more, two at a time that were drawn (the power of two choices)."""

_DRAWS = 4


def cost_of(place: HostedModel, now: float, usual: float) -> tuple[bool, float]:
    """What a request that comes now would find there, as far as the past tells.

    Args:
        place: where.
        now: the time of the clock that its pace was learnt by.
        usual: seconds that an answer takes, where of this place nothing is known.

    Returns:
        Whether it would have to wait for a slot, and the seconds until it is answered, the less the more weight is.
    """
    gate = place.gate
    ahead = gate.taken + gate.queue_length
    pace = place.pace.seconds(now)
    seconds = (usual if pace is None else pace) * (1 + ahead / gate.slots)
    return gate.taken >= gate.slots, seconds / place.host.settings.weight


def best(places: Sequence[HostedModel], cost: Cost, fit: Fit, random: Random) -> HostedModel | None:
    """The place that costs least, of those that are fit.

    Of many places a few are drawn: what a choice takes does not grow with their number, unless hardly one is fit.
    """
    if len(places) <= ALL_LOOKED_AT:
        return _cheapest(places, cost, fit, random)
    fallback: HostedModel | None = None
    for _ in range(_DRAWS):
        drawn = _cheapest(random.sample(places, 2), cost, fit, random)
        if drawn is not None and not cost(drawn)[0]:
            return drawn
        fallback = fallback or drawn
    return fallback or _cheapest(places, cost, fit, random)


def _cheapest(places: Sequence[HostedModel], cost: Cost, fit: Fit, random: Random) -> HostedModel | None:
    fitting = [place for place in places if fit(place)]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    # Of those that cost the same, any: a fleet that idles is used evenly.
    return min(fitting, key=lambda place: (cost(place), random.random()))
