"""Where requests go among several hosts, and where to after one has failed them."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec
import pytest

from conftest import FakeClock
from fleet.fleets import LOADED, Fleet, Serve, listed, request
from neuroroute import (
    ConfigurationError,
    FailedOver,
    LMStudioError,
    ModelAuthenticationError,
    ModelCapabilityError,
    ModelContextLengthError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    StreamInterruptedError,
)
from neuroroute.details import ModelDetails, ModelInstance, Surface
from neuroroute.pipe.route import _judged, elsewhere
from neuroroute.wire.endpoints import NATIVE

NOT_LOADED = listed()


async def answers(_: object) -> None:
    """At once."""


def fails(error: LMStudioError | None = None) -> Serve:
    async def serve(_: object) -> None:
        raise error or NetworkError("refused")

    return serve


async def fleet(clock: FakeClock, serves: dict[str, Serve], listings: dict[str, Any] | None = None) -> Fleet:
    return await Fleet(serves, listings, clock=clock).listed()


async def test_a_failed_host_s_request_goes_to_another_at_once(clock: FakeClock) -> None:
    """What one host failed before its first chunk is sent to another, without a back-off, and that is told."""
    three = await fleet(clock, {"a": fails(), "b": fails(), "c": answers})
    for number in range(20):
        reply = await three.ask(str(number), max_retries=0)
        assert reply.host == "c"
    assert clock.slept == []
    told = [event for event in three.events if isinstance(event, FailedOver)]
    assert {event.host for event in told} == {"a", "b"}
    assert (three.asked["a"], three.asked["b"], three.asked["c"]) == (1, 1, 20)


async def test_every_host_is_tried_once_and_then_it_is_waited(clock: FakeClock) -> None:
    """When all have failed, the last error is raised to the retries, which wait and begin with all of them again."""
    two = await fleet(clock, {"a": fails(), "b": fails()})
    with pytest.raises(NetworkError) as caught:
        await two.ask(max_retries=3)
    assert dict(two.asked) == {"a": 4, "b": 4}
    assert (caught.value.attempts, len(clock.slept)) == (8, 3)


@pytest.mark.parametrize(
    ("error", "goes"),
    [
        (ModelNotFoundError("no"), True),
        (ModelAuthenticationError("no"), True),
        (ModelUnavailableError("no memory", retryable=False), True),
        (ModelInvalidRequestError("no"), False),
    ],
)
async def test_what_another_host_may_do_better_is_tried_there(
    clock: FakeClock, error: LMStudioError, *, goes: bool
) -> None:
    """What says something of one host alone goes elsewhere, even if it is not retryable; a wrong request does not."""
    assert elsewhere(error) is goes
    pair = await fleet(clock, {"a": fails(error), "b": fails(error)})
    with pytest.raises(type(error)):
        await pair.ask(max_retries=0)
    assert pair.asked.total() == (2 if goes else 1)


async def test_the_model_is_asked_where_it_is_loaded(clock: FakeClock) -> None:
    """A host that would have to load it, or that lists only others, is not asked while one has it in memory."""
    listings = {"a": [NOT_LOADED], "b": [LOADED], "c": [listed(ModelInstance(id="other"), key="other")]}
    mixed = await fleet(clock, dict.fromkeys("abc", answers), listings)
    for number in range(9):
        await mixed.ask(str(number))
    assert dict(mixed.asked) == {"b": 9}


async def test_a_load_that_fails_is_tried_elsewhere(clock: FakeClock) -> None:
    """Where no host has it loaded, one of those that have it on disk is asked; one that cannot load it, no more."""
    failure = ModelUnavailableError("no memory", retryable=False, details={"reason": "load_failed"})
    listings = {"a": [NOT_LOADED], "b": [NOT_LOADED], "c": []}
    pair = await fleet(clock, {"a": fails(failure), "b": answers, "c": answers}, listings)
    replies = [await pair.ask(str(number), max_retries=0) for number in range(8)]
    assert {reply.host for reply in replies} == {"b"}
    assert "c" not in pair.asked


async def test_while_a_host_loads_it_no_other_load_is_begun(clock: FakeClock) -> None:
    """A request that is told that the model is loading waits for that load, and makes no second host load it, too."""
    loading = ModelUnavailableError("loading", retryable=True, details={"reason": "loading"})
    left = [loading, loading]

    async def loads(_: object) -> None:
        if left:
            raise left.pop()

    pair = await fleet(clock, {"a": loads, "b": loads}, {"a": [NOT_LOADED], "b": [NOT_LOADED]})
    reply = await pair.ask()
    assert len(clock.slept) == 2
    assert reply.attempts == 3


async def test_a_longer_context_is_looked_for(clock: FakeClock) -> None:
    """A prompt that is too long for one host goes to those alone whose copy has more room."""
    room = {name: [listed(ModelInstance(id="m", context_length=size))] for name, size in (("a", 1), ("b", 1), ("c", 9))}
    too_long = fails(ModelContextLengthError("too long"))
    three = await fleet(clock, {"a": too_long, "b": too_long, "c": answers}, room)
    for number in range(8):
        assert (await three.ask(str(number))).host == "c"
    assert three.asked["a"] + three.asked["b"] <= 8


async def test_copies_of_a_model_are_all_used(clock: FakeClock) -> None:
    """A request for a key may be answered by any copy with as much context; each has its own slots and breaker."""
    sent: list[bytes] = []

    async def serve(asked: Any) -> None:
        sent.append(asked.body)
        if asked.model == "m":
            raise ModelUnavailableError("crashed", details={"reason": "engine"})

    copies = listed(
        ModelInstance(id="m", context_length=8),
        ModelInstance(id="m:2", context_length=8),
        ModelInstance(id="m:3", context_length=4),
    )
    one = await fleet(clock, {"a": serve}, {"a": [copies]})
    for number in range(12):
        made = request(str(number))
        one.hosts.assign(made)
        await one.send(made)
        assert (made.model, made.body) == ("m", request(str(number)).body)
    assert {body[:14] for body in sent} >= {b'{"model":"m:2"'}
    assert not any(b"m:3" in body for body in sent)
    assert (await one.ask(model="m:3")).host == "a"
    assert sent[-1].startswith(b'{"model":"m:3",')


async def test_the_conversation_stays_where_it_was(clock: FakeClock) -> None:
    """What goes on with a conversation goes to the host that answered it, while that has a free slot."""
    four = await fleet(clock, dict.fromkeys("abcd", answers))
    for text in ("one", "two", "three"):
        hosts = {(await four.ask(text)).host for _ in range(6)}
        assert len(hosts) == 1
    host = (await four.ask("one")).host
    place = next(one for one in four.hosts.all if one.name == host).model("m")
    entered = [await place.gate.enter() for _ in range(4)]
    assert (await four.ask("one")).host != host
    for when in entered:
        place.gate.leave(when)


async def test_fast_failures_attract_no_requests(clock: FakeClock) -> None:
    """A host that fails at once has free slots and short answers, and is asked less all the same."""

    async def crashes(_: object) -> None:
        raise ModelUnavailableError("crashed", details={"reason": "engine"})

    async def slowly(_: object) -> None:
        clock.now += 0.5

    pair = await fleet(clock, {"bad": crashes, "good": slowly})
    for number in range(200):
        assert (await pair.ask(str(number), max_retries=0)).host == "good"
    assert pair.asked["bad"] <= 8  # 100 s: after 1, 2, 4, 8, 16 and then every 30 s


async def test_of_breakers_that_are_all_open_the_one_due_soonest_is_tried(clock: FakeClock) -> None:
    """When every breaker is open, the request goes where the next probe is due, though it is not due yet."""
    pair = await fleet(clock, {"a": answers, "b": answers})
    a, b = (host.model("m") for host in pair.hosts.all)
    for place, at in ((b, 0.0), (a, 10.0)):
        clock.now = at
        while place.breaker.state == "closed":
            place.breaker.judge(place.breaker.admit(), NetworkError("x"))
    assert (await pair.ask()).host == "b"
    assert (a.breaker.state, b.breaker.state) == ("open", "closed")


async def test_a_drained_host_gets_nothing_new(clock: FakeClock) -> None:
    """Nothing goes to a host that is drained; when all are, the error says so."""
    pair = await fleet(clock, {"a": answers, "b": answers})
    a, b = pair.hosts.all
    a.drain()
    for number in range(5):
        await pair.ask(str(number))
    assert dict(pair.asked) == {"b": 5}
    b.drain()
    with pytest.raises(ModelUnavailableError, match="every host is drained"):
        await pair.ask()
    a.resume()
    assert (await pair.ask()).host == "a"


async def test_weights_are_honoured(clock: FakeClock) -> None:
    """Of hosts that are equally fast, the one with twice the weight is preferred until it is twice as busy."""
    weighted = Fleet({"a": answers, "b": answers}, clock=clock, settings={"a": {"weight": 2.0}})
    await weighted.listed()
    for number in range(6):
        await weighted.ask(str(number))
    assert dict(weighted.asked) == {"a": 6}


@pytest.mark.parametrize(
    "error",
    [
        ModelRateLimitedError("slow down"),
        ModelAuthenticationError("no"),
        ModelNotFoundError("no"),
        ConfigurationError("Unexpected endpoint or method"),
    ],
)
async def test_no_failure_attracts_requests(clock: FakeClock, error: LMStudioError) -> None:
    """Whatever a host fails with, others are preferred to it for a while, however fast it does so."""

    async def slowly(_: object) -> None:
        clock.now += 0.05

    pair = await fleet(clock, {"bad": fails(error), "good": slowly})
    for number in range(100):
        assert (await pair.ask(str(number), max_retries=0)).host == "good"
    assert pair.asked["bad"] <= 4


async def test_a_host_that_asks_for_time_gets_it(clock: FakeClock) -> None:
    """With Retry-After a host is left alone for so long, while another can answer."""
    limited = ModelRateLimitedError("slow down", retry_after_ms=30_000)
    pair = await fleet(clock, {"bad": fails(limited), "good": answers})
    for number in range(40):
        clock.now += 0.5
        await pair.ask(str(number))
    assert pair.asked["bad"] <= 1


@pytest.mark.parametrize("count", [1, 2, 4, 8])
async def test_a_larger_fleet_is_no_less_patient(clock: FakeClock, count: int) -> None:
    """However many hosts there are, a request that each of them fails once has its answer after a back-off."""
    failed: set[str] = set()

    async def once(asked: Any) -> None:
        if asked.host not in failed:
            failed.add(asked.host)
            raise ModelUnavailableError("Model reloaded.", details={"reason": "unloaded"})

    many = await fleet(clock, {str(number): once for number in range(count)})
    reply = await many.ask(max_retries=1)
    assert (reply.attempts, len(clock.slept)) == (count + 1, 1)


async def test_a_host_that_answers_with_another_model_is_left(clock: FakeClock) -> None:
    """An answer by another model is not taken while a host has the right one; where none has, it is told as ever."""
    answered = b'{"choices":[{"message":{"content":"no"},"finish_reason":"stop"}],"model":"other"}'
    other = listed(ModelInstance(id="other"), key="other")
    pair = await fleet(
        clock, {"wrong": answers, "right": answers}, {"wrong": [LOADED, other], "right": [LOADED, other]}
    )
    pair.answers["wrong"] = answered
    for number in range(10):
        assert (await pair.ask(str(number))).host == "right"
    pair.answers["right"] = answered
    assert (await pair.ask("last")).answer.model == "other"


async def test_a_model_that_no_host_has_is_asked_of_none(clock: FakeClock) -> None:
    """Where all hosts tell what they have, a name that is not among it is an error that says what is near."""
    pair = await fleet(clock, {"a": answers, "b": answers})
    with pytest.raises(ModelNotFoundError, match="the server has no model 'nix'"):
        await pair.ask(model="nix")
    assert not pair.asked
    pair.listings["b"] = [listed(ModelInstance(id="nix"), key="nix")]  # loaded since
    pair.hosts.all[1].listings._listed_at = -math.inf
    assert (await pair.ask(model="nix")).host == "b"


async def test_a_dead_host_is_tried_once_whatever_copies_it_has(clock: FakeClock) -> None:
    """When nobody answers at a host, its other copies are not tried, either."""
    copies = listed(*(ModelInstance(id=name, context_length=8) for name in ("m", "m:2", "m:3")))
    pair = await fleet(clock, {"a": fails(), "b": answers}, {"a": [copies], "b": [NOT_LOADED]})
    assert (await pair.ask()).host == "b"
    assert pair.asked["a"] == 1


async def test_a_host_that_can_is_asked_for_what_others_cannot(clock: FakeClock) -> None:
    """What a request needs is looked for among the hosts; with ``strict`` only where none has it, it is refused."""

    def seeing(*, sees: bool) -> list[Any]:
        return [
            ModelDetails.listed(key="m", told={"vision": sees}, source="v1", loaded=True, instances=LOADED.instances)
        ]

    pair = await fleet(clock, {"a": answers, "b": answers}, {"a": seeing(sees=False), "b": seeing(sees=True)})
    for number in range(10):
        reply = await pair.ask(str(number), needs=frozenset({"vision"}), strict=True)
        assert reply.host == "b"
    blind = await fleet(clock, {"a": answers}, {"a": seeing(sees=False)})
    with pytest.raises(ModelCapabilityError):
        await blind.ask(needs=frozenset({"vision"}), strict=True)


async def test_requests_move_from_a_host_that_goes_down(clock: FakeClock) -> None:
    """What a host had not begun to answer when it went down is sent to another; a cancellation of one's own is not."""
    begun = asyncio.Event()

    async def hang(_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    pair = await fleet(clock, {"a": hang, "b": answers}, {"b": [NOT_LOADED]})
    asked = asyncio.create_task(pair.ask())
    await begun.wait()
    pair.hosts.all[0].not_seen(NetworkError("refused"), down=True)
    assert (await asked).host == "b"
    pair.hosts.all[0].seen(Surface(listing="v1", lm_studio=True), 0.0)
    begun.clear()
    left = asyncio.create_task(pair.ask("another"))
    await begun.wait()
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_an_answer_proves_that_a_host_is_up(clock: FakeClock) -> None:
    """A host that is taken for down and answers is up from then on, and told as such."""
    pair = await fleet(clock, {"a": answers, "b": fails()})
    for host in pair.hosts.all:
        host.not_seen(NetworkError("refused"), down=True)
    assert (await pair.ask()).host == "a"
    assert [host.state for host in pair.hosts.all] == ["up", "down"]


async def test_a_broken_stream_is_trouble_and_an_answer_ends_it(clock: FakeClock) -> None:
    """A host that broke off an answer comes after others for a while, and an answer makes up for it."""
    pair = await fleet(clock, {"a": answers, "b": answers})
    place = pair.hosts.all[0].model("m")
    _judged(pair.hosts, place, 0.0, StreamInterruptedError("cut"))
    assert place.in_trouble(clock.monotonic())
    place.answers()
    assert not place.in_trouble(clock.monotonic())


async def test_a_refused_connection_is_the_trouble_of_the_whole_host(clock: FakeClock) -> None:
    """Where nobody answers for one model, others of that host come after those of other hosts, too."""
    pair = await fleet(clock, {"a": answers, "b": answers})
    first, second = (pair.hosts.all[0].model(name) for name in ("m", "n"))
    first.fails(NetworkError("refused"))
    assert second.in_trouble(clock.monotonic())
    first.answers()
    first.fails(ModelUnavailableError("crashed"))
    assert not second.in_trouble(clock.monotonic())


async def test_loads_go_where_least_is_in_memory(clock: FakeClock) -> None:
    """Of hosts that would have to load the model, the one with the fewest models loaded is asked."""
    other = listed(ModelInstance(id="other"), key="other")
    pair = await fleet(clock, {"full": answers, "empty": answers}, {"full": [NOT_LOADED, other], "empty": [NOT_LOADED]})
    assert {(await pair.ask(str(number))).host for number in range(6)} == {"empty"}


async def test_all_wait_for_the_host_that_loads_it(clock: FakeClock) -> None:
    """While one host loads the model for a request, the others go to that host, and wait; no second load is begun."""
    loaded = asyncio.Event()

    async def load(_: object) -> None:
        await loaded.wait()

    pair = await fleet(clock, {"a": load, "b": load}, {"a": [NOT_LOADED], "b": [NOT_LOADED]})
    asked = [asyncio.create_task(pair.ask(str(number))) for number in range(8)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert pair.asked.total() == 1
    loaded.set()
    assert len({reply.host for reply in await asyncio.gather(*asked)}) == 1


async def test_who_waits_for_a_slot_of_a_drained_host_goes_elsewhere(clock: FakeClock) -> None:
    """Draining sends away those that wait; those that are under way stay."""
    goes_on = asyncio.Event()

    async def slow(_: object) -> None:
        await goes_on.wait()

    pair = await fleet(clock, {"a": slow, "b": answers}, {"b": [NOT_LOADED]})
    asked = [asyncio.create_task(pair.ask(str(number))) for number in range(6)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert pair.hosts.all[0].model("m").waiting == 2
    pair.hosts.all[0].drain()
    for _ in range(5):
        await asyncio.sleep(0)
    goes_on.set()
    hosts = sorted(reply.host for reply in await asyncio.gather(*asked))
    assert hosts == ["a"] * 4 + ["b"] * 2


async def test_a_name_that_is_not_listed_is_another_name_of_the_model(clock: FakeClock) -> None:
    """A server that answers under a name of its own is not left for another that does the same."""
    pair = await fleet(clock, {"a": answers, "b": answers})
    for name in ("a", "b"):
        pair.answers[name] = b'{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"model":"/m.gguf"}'
    replies = [await pair.ask(str(number)) for number in range(4)]
    assert ([reply.attempts for reply in replies], pair.asked.total()) == ([1, 1, 1, 1], 4)


async def test_a_host_that_hangs_over_a_load_is_left(clock: FakeClock) -> None:
    """A host that is asked to load the model and does not answer comes after others, as after any failure."""

    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    pair = await fleet(clock, {"a": hang, "b": answers}, {"a": [NOT_LOADED], "b": [NOT_LOADED]})
    pair.hosts.all[1].trouble.fails(clock.now)  # so that a is asked first
    with pytest.raises(ModelTimeoutError):
        await pair.ask(timeout_ms=10.0, max_retries=0)
    assert not pair.hosts.all[0].is_loading
    pair.hosts.all[1].trouble.ends()
    assert (await pair.ask("another", timeout_ms=50.0)).host == "b"


async def test_settings_of_reasoning_are_those_of_the_host(clock: FakeClock) -> None:
    """What one host was sent for ``reasoning`` is not what the next is: each has its own words for it."""

    def thinking(*settings: str) -> list[Any]:
        return [msgspec.structs.replace(LOADED, reasoning_options=settings)]

    pair = await fleet(
        clock, {"a": fails(), "b": answers}, {"a": thinking("off", "low", "medium"), "b": thinking("on")}
    )
    pair.answers["b"] = b'{"model_instance_id":"m","output":[{"type":"message","content":"yes"}],"stats":{}}'
    pair.hosts.all[1].trouble.fails(clock.now)
    made = request("Hi", reasoning="on")
    made.endpoint = NATIVE
    pair.hosts.assign(made)
    assert (await pair.send(made)).host == "b"
    assert made.options["reasoning"] == "on"
