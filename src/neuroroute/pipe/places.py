"""Where a model may be asked: the hosts that have it, in the order in which they are preferred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from neuroroute.details import ModelDetails
    from neuroroute.pipe.host import Host
    from neuroroute.pipe.hostedmodel import HostedModel


class Tier(NamedTuple):
    """Places that are alike; never none."""

    places: tuple[HostedModel, ...]
    members: frozenset[HostedModel]
    """The same, to look one up."""
    loads: bool = False
    """They would have to load the model."""
    absent: bool = False
    """They list all that they have, and not this model."""


Tiers: TypeAlias = tuple[Tier, ...]
"""The best first."""

MOST_NAMES = 256
"""Names of models for which the places are remembered."""


class Places:
    """The places of each model, found once and anew when something has changed."""

    def __init__(self) -> None:
        self.hosts: tuple[Host, ...] = ()
        self._known: dict[str, Tiers] = {}

    def of(self, model: str) -> Tiers:
        """Where this model may be asked."""
        tiers = self._known.get(model)
        if tiers is None:
            if len(self._known) >= MOST_NAMES:
                self._known.clear()
            tiers = self._known[model] = tiers_of(self.hosts, model)
        return tiers

    def changed(self) -> None:
        """A host lists other models, went down, came back, or is drained."""
        self._known.clear()


def tiers_of(hosts: Sequence[Host], model: str) -> Tiers:
    """Where a model is loaded; where it is on disk; hosts of which nothing is known; hosts that are down.

    Hosts that list other models only are asked where there is no other: they might answer with one of those.
    """
    loaded: list[HostedModel] = []
    loadable: list[HostedModel] = []
    unknown: list[HostedModel] = []
    down: list[HostedModel] = []
    missing: list[HostedModel] = []
    for host in hosts:
        if host.draining:
            continue
        details = host.details(model)
        if host.has_listed and details is None:
            missing.append(host.model(model))
        elif host.down:
            down.append(host.model(model))
        elif details is None:
            unknown.append(host.model(model))
        elif details.loaded is False:
            loadable.append(host.model(model))
        else:
            loaded += [host.model(name) for name in copies(details, model)]
    tiers = [Tier(tuple(tier), frozenset(tier), tier is loadable) for tier in (loaded, loadable, unknown, down) if tier]
    if not tiers and missing:
        tiers.append(Tier(tuple(missing), frozenset(missing), absent=all(map(_tells_all, missing))))
    return tuple(tiers)


def _tells_all(place: HostedModel) -> bool:
    """Whether its host lists all that it has; servers that are no LM Studio may answer to other names, too."""
    last = place.host.listings.last
    return bool(last) and last[0].source != "openai"


def copies(details: ModelDetails, asked: str) -> list[str]:
    """The ids to ask for to reach each copy of a loaded model that is as good as the one that was asked for.

    LM Studio answers for a key with its first copy, and leaves others (``llama3:2``) idle.
    """
    others = [copy for copy in details.instances if copy.id.casefold() != details.key.casefold()]
    if not others or any(copy.id == asked for copy in others):
        return [asked]
    first = next((copy for copy in details.instances if copy not in others), None)
    if first is None:
        return [copy.id for copy in others]
    room = first.context_length or 0
    return [asked, *(copy.id for copy in others if (copy.context_length or 0) >= room)]


def only(tiers: Tiers, suits: Callable[[HostedModel], bool]) -> Tiers:
    """The places that suit, in their tiers."""
    left = [(tuple(filter(suits, tier.places)), tier.loads) for tier in tiers]
    return tuple(Tier(places, frozenset(places), loads) for places, loads in left if places)
