"""Where a model may be asked, and in which order."""

from __future__ import annotations

from conftest import FakeClock
from fleet.fleets import LOADED, Fleet, listed
from neuroroute import NetworkError
from neuroroute.details import ModelDetails, ModelInstance
from neuroroute.pipe.places import MOST_NAMES, Places, copies, tiers_of

NOT_LOADED = listed()
OTHER = listed(ModelInstance(id="other"), key="other")


async def nothing(_: object) -> None:
    """Is never asked."""


async def fleet(clock: FakeClock, listings: dict[str, list[ModelDetails]]) -> Fleet:
    return await Fleet(dict.fromkeys(listings, nothing), listings, clock=clock).listed()


def names(made: Fleet, model: str = "m") -> list[list[str]]:
    return [[place.host.name for place in tier.places] for tier in tiers_of(made.hosts.all, model)]


async def test_hosts_are_told_apart_by_what_they_have(clock: FakeClock) -> None:
    """Loaded before on disk before unknown before down; who lists only others is asked where there is nobody else."""
    made = await fleet(clock, {"a": [NOT_LOADED], "b": [LOADED], "c": [OTHER], "d": [LOADED], "e": [LOADED]})
    made.hosts.all[4].not_seen(NetworkError("refused"), down=True)
    assert names(made) == [["b", "d"], ["a"], ["e"]]
    made.hosts.all[3].has_listed, made.hosts.all[3].listings.last = False, []
    made.hosts._places.changed()
    assert names(made) == [["b"], ["a"], ["d"], ["e"]]
    assert names(made, "other") == [["c"], ["d"]]
    assert names(await fleet(clock, {"a": [OTHER], "b": []})) == [["a", "b"]]


async def test_a_drained_host_is_no_place(clock: FakeClock) -> None:
    """A host that is drained is not among them, whatever it has."""
    made = await fleet(clock, {"a": [LOADED], "b": [NOT_LOADED]})
    made.hosts.all[0].drain()
    assert names(made) == [["b"]]
    made.hosts.all[1].drain()
    assert names(made) == []


async def test_what_is_listed_anew_is_seen(clock: FakeClock) -> None:
    """Places are remembered until a host lists something else; the same listing again changes nothing."""
    made = await fleet(clock, {"a": [NOT_LOADED], "b": [NOT_LOADED]})
    before = made.hosts._places.of("m")
    assert len(before) == 1
    await made.listed()
    assert made.hosts._places.of("m") is before
    made.listings["b"] = [LOADED]
    await made.listed()
    assert [place.host.name for place in made.hosts._places.of("m")[0].places] == ["b"]


def test_made_up_names_do_not_fill_the_memory() -> None:
    """So many names are remembered, and then all are forgotten."""
    places = Places()
    for number in range(3 * MOST_NAMES):
        places.of(str(number))
    assert len(places._known) <= MOST_NAMES


def test_copies_are_pooled_if_they_are_as_good() -> None:
    """A key means all its copies with as much context as the first has; a copy that is named means itself."""
    several = listed(
        ModelInstance(id="m", context_length=8),
        ModelInstance(id="m:2", context_length=8),
        ModelInstance(id="m:3", context_length=16),
        ModelInstance(id="m:4", context_length=4),
        ModelInstance(id="m:5"),
    )
    assert copies(several, "m") == ["m", "m:2", "m:3"]
    assert copies(several, "M") == ["M", "m:2", "m:3"]
    assert copies(several, "m:4") == ["m:4"]
    assert copies(listed(ModelInstance(id="m")), "m") == ["m"]
    assert copies(listed(ModelInstance(id="m:2")), "m") == ["m:2"]
    assert copies(listed(), "m") == ["m"]


async def test_a_model_is_loaded_where_it_is_or_where_there_is_room(clock: FakeClock) -> None:
    """To load a model, hosts that have it loaded come first, then those that have it on disk, the emptiest first."""
    other = listed(ModelInstance(id="other"), key="other")
    made = await fleet(
        clock, {"full": [NOT_LOADED, other], "has": [LOADED, other], "empty": [NOT_LOADED], "no": [OTHER]}
    )
    assert [host.name for host in made.hosts.hosts_for("m")] == ["has", "empty", "full"]


async def test_hosts_that_are_down_are_not_asked_what_they_have(clock: FakeClock) -> None:
    """A listing of all is that of the hosts in service; only where there is none are the others asked."""
    made = await fleet(clock, {"a": [LOADED], "b": [LOADED]})
    made.hosts.all[0].not_seen(NetworkError("refused"), down=True)
    assert [model.hosts for model in await made.hosts.models()] == [("b",)]
    made.hosts.all[1].drain()
    assert [model.hosts for model in await made.hosts.models()] == [("a", "b")]
