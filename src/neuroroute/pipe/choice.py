"""Which of several places a request goes to: a decision over what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from neuroroute.pipe.hostedmodel import HostedModel

Fit: TypeAlias = "Callable[[HostedModel], bool]"
Cost: TypeAlias = "Callable[[HostedModel], float]"
"""In how many seconds a request would be answered."""

ALL_LOOKED_AT = 8
"""Of so many places each is looked at; of more, two at a time that were drawn (the power of two choices)."""

CROWDING = 0.5
"""By which share of its length an answer is taken to be slower where every slot is taken beside it."""

SHORTEST_SECONDS = 0.001
"""No answer is taken to be shorter, so that of hosts that answer at once the less busy one is asked."""

_DRAWS = 4


def expected_seconds(place: HostedModel, now: float, usual: float) -> float:
    """Seconds until a request that comes now is answered there, as far as the past tells; less where more weight is.

    A slot that is free on a slow host may well be later than one that is taken on a fast one.

    Args:
        place: where.
        now: the time of the clock that its pace was learnt by.
        usual: seconds that an answer takes, where of this place nothing is known.
    """
    gate = place.gate
    ahead = gate.taken + gate.queue_length
    turns = 1 + max(ahead - gate.slots + 1, 0) / gate.slots + CROWDING * ahead / gate.slots
    pace = place.pace.seconds(now)
    return max(usual if pace is None else pace, SHORTEST_SECONDS) * turns / place.host.settings.weight


def has_free_slot(place: HostedModel) -> bool:
    """Whether a request would not have to wait."""
    gate = place.gate
    return gate.taken < gate.slots


def best(places: Sequence[HostedModel], cost: Cost, fit: Fit, random: Random) -> HostedModel | None:
    """The place that costs least, of those that are fit.

    Of many places a few are drawn: what a choice takes does not grow with their number, unless hardly one is fit.
    """
    if len(places) <= ALL_LOOKED_AT:
        return _cheapest(places, cost, fit, random)
    fallback: HostedModel | None = None
    for _ in range(_DRAWS):
        drawn = _cheapest(random.sample(places, 2), cost, fit, random)
        if drawn is not None and has_free_slot(drawn):
            return drawn
        fallback = fallback or drawn
    return fallback or _cheapest(places, cost, fit, random)


def _cheapest(places: Sequence[HostedModel], cost: Cost, fit: Fit, random: Random) -> HostedModel | None:
    fitting = [place for place in places if fit(place)]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    # Of those that cost the same, any: a fleet that idles is used evenly.
    return min(fitting, key=lambda place: (cost(place), random.random()))


def to_load_on(places: Sequence[HostedModel], can: Fit) -> Sequence[HostedModel]:
    """Of places that would have to load the model, those that do so already: one load is enough."""
    return [place for place in places if place.is_loading and can(place)] or places


def price_of_loading(place: HostedModel) -> float:
    """How many models a host has in memory: a load may throw one of them out."""
    return place.host.loaded_models
