"""The measuring, against simulators with known pacing: what is measured is what was set."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bench.simulated import PLAN, as_much_as_may_come, in_no_time, means, measured, paced, simulator
from neuroroute.bench import Benchmark, Report, Step, find_targets
from neuroroute.bench.asking import Means
from neuroroute.simulator import Answer, Fail, StreamFault, Unknowns
from neuroroute.simulator.profiles import PROFILES

if TYPE_CHECKING:
    from neuroroute.bench import Plan
    from neuroroute.simulator import Simulator


def of_one(made: Simulator, plan: Plan = PLAN, model: str = "m") -> Any:
    """The report of the only model."""

    async def run() -> Report:
        async with made:
            return await measured(made.url, [model], plan)

    return in_no_time(run).models[0]


def test_what_is_measured_is_the_pace_that_was_set() -> None:
    """Time to first token, speeds and time between tokens are those of the server's pacing."""
    model = of_one(simulator(paced()))
    first = 100 / 200 + 1 / 50  # the prompt is read, and a token is made
    assert model.prompt_tokens == model.prompt_tokens.__class__(median=100, low=100, high=100, count=16)
    assert model.ttft_ms.median == pytest.approx(first * 1000, rel=1e-6)
    assert model.prompt_tokens_per_second.median == pytest.approx(100 / first, rel=1e-6)
    assert model.generation_tokens_per_second.median == pytest.approx(50, rel=1e-6)
    assert (model.gap_ms.p50, model.gap_ms.p99) == pytest.approx((20, 20), rel=1e-6)
    assert model.gap_ms.count == 4 * 39
    assert (model.sent, model.failed, model.estimated, model.pieces_per_token) == (18, 0, False, 1.0)


def test_throughput_grows_until_the_server_is_full() -> None:
    """Two at once are twice as fast on a server with two slots; four are no faster, and half of them wait: there."""
    one, two, four = of_one(simulator(paced())).levels
    whole = 100 / 200 + 40 / 50
    assert [level.concurrency for level in (one, two, four)] == [1, 2, 4]
    assert one.tokens_per_second.median == pytest.approx(40 / whole, rel=1e-6)
    assert two.tokens_per_second.median == pytest.approx(80 / whole, rel=1e-6)
    assert four.tokens_per_second.median == pytest.approx(80 / whole, rel=1e-6)
    assert (four.ttft_ms.low, four.ttft_ms.high) == pytest.approx((520, 520 + whole * 1000), rel=1e-6)
    assert (four.ttft_ms.count, four.tokens_per_second.count) == (8, 2)


def test_no_queue_of_ours_is_measured() -> None:
    """Where the server takes all at once, all begin at once, however many slots it lists."""
    plan = msgspec.structs.replace(PLAN, concurrency=(16,))
    made = simulator(paced(parallel=16))
    _, sixteen = of_one(made, plan).levels
    assert sixteen.ttft_ms.high == pytest.approx(520, rel=1e-6)


def test_a_load_is_told_apart() -> None:
    """A model that loads with the first request: its load is in the warm-up, and in no figure."""
    model = of_one(simulator(paced("other"), paced(loaded=False, load_seconds=30.0)))
    assert model.warmup.was_loaded is False
    assert model.warmup.first_answer_ms > 30_000
    assert model.ttft_ms.high == pytest.approx(520, rel=1e-6)


def test_a_model_that_is_evicted_between_its_turns_is_back_before_it_is_measured() -> None:
    """Two models that displace each other load again and again, and none of it is in a figure."""
    models = [paced("a", loaded=False, load_seconds=5.0), paced("b", loaded=False, load_seconds=5.0)]

    async def run() -> Report:
        async with simulator(*models) as made:
            return await measured(made.url, ["a", "b"])

    for model in in_no_time(run).models:
        assert model.ttft_ms.high == pytest.approx(520, rel=1e-6)
        assert model.failed == 0


def test_rounds_are_interleaved() -> None:
    """In each round all have their turn, and the one that begins changes, so that drift hits all alike."""

    async def run() -> list[str]:
        async with simulator(paced("a"), paced("b")) as made:
            steps: list[Step] = []
            async with find_targets(made.url, ["a", "b"], PLAN) as found:
                await Benchmark(found.targets, PLAN, means=means(), on_step=steps.append).measure()
            assert [step.done for step in steps] == list(range(steps[0].total))
            return [step.model for step in steps if step.what.endswith("(1 of 2)")]

    assert in_no_time(run) == ["a", "b", "b", "a"]


def test_hosts_are_measured_apart() -> None:
    """Each host gets its own requests and its own figures."""

    async def run() -> Report:
        slow = paced(prefill_tokens_per_second=100, tokens_per_second=25)
        async with simulator(paced()) as one, simulator(slow) as other:
            report = await measured([one.url, other.url], ["m"])
            assert len(one.requests) == len(other.requests)
            return report

    fast, slow = in_no_time(run).models
    assert slow.ttft_ms.median == pytest.approx(2 * fast.ttft_ms.median, rel=1e-6)
    assert (fast.generation_tokens_per_second.median, slow.generation_tokens_per_second.median) == pytest.approx(
        (50, 25), rel=1e-6
    )


def test_failures_are_counted_and_change_no_figure() -> None:
    """What fails is counted by its code and text; it is in no median, and its wave tells no throughput."""
    made = simulator(paced())
    answers = iter(range(1000))

    def script(received: Any) -> Answer | Fail:
        number = next(answers)
        if number == 5:  # after the warm-up and the two alone: the second of two at once
            return Fail(500, {"error": "boom"})
        if number == 9:
            return replace(as_much_as_may_come(received), stream_fault=StreamFault("cut", after=3))
        return as_much_as_may_come(received)

    made.script(script)
    model = of_one(made)
    assert (model.sent, model.failed, model.given_up) == (18, 2, None)
    assert {failure.code: failure.count for failure in model.failures} == {
        "MODEL_UNAVAILABLE": 1,
        "STREAM_INTERRUPTED": 1,
    }
    assert [(level.failed, level.tokens_per_second.count) for level in model.levels] == [(0, 4), (1, 1), (1, 1)]
    assert model.ttft_ms.high == pytest.approx(520, rel=1e-6)


def test_a_server_that_fails_for_good_is_asked_no_more() -> None:
    """After three waves of which nothing came a model is left alone, with the reason; the others are measured on."""

    async def run() -> Report:
        async with simulator(paced("a"), paced("b")) as made:
            calls: list[str] = []

            def script(received: Any) -> Answer | Fail:
                calls.append(received.json["model"])
                if received.json["model"] == "a" and calls.count("a") > 2:
                    return Fail(503, {"error": "down"})
                return as_much_as_may_come(received)

            made.script(script)
            steps: list[Step] = []
            async with find_targets(made.url, ["a", "b"], PLAN) as found:
                report = await Benchmark(found.targets, PLAN, means=means(), on_step=steps.append).measure()
            assert (steps[-1].done, steps[-1].total) == (
                13,
                18,
            )  # its second round is passed over, as one that was made
            return report

    down, well = in_no_time(run).models
    assert (down.given_up.code, down.sent, down.failed) == ("MODEL_UNAVAILABLE", 7, 5)
    assert (down.ttft_ms, down.levels[0].tokens_per_second) == (None, None)
    assert (well.given_up, well.sent, well.failed) == (None, 19, 0)


def test_a_model_that_does_not_load_is_in_the_report() -> None:
    """Where the warm-up fails three times nothing is measured, and the failure is told."""
    model = of_one(simulator(paced(loaded=False, load_fails="insufficient system resources")))
    assert (model.given_up.code, model.sent, model.levels) == ("MODEL_UNAVAILABLE", 3, ())
    assert "insufficient" in model.failures[0].message


def test_a_warm_up_that_fails_once_is_made_again() -> None:
    """One failure in the warm-up is counted and told, and the model is measured all the same."""
    made = simulator(paced())
    made.fail("crash_null")
    model = of_one(made)
    assert (model.given_up, model.failed, model.warmup is not None) == (None, 1, True)
    assert len(model.levels) == 3


def test_tokens_that_the_server_does_not_count_are_marked() -> None:
    """A version that tells no usage in streams: tokens are estimates, and the report says so."""
    made = simulator(paced())
    made.profile = PROFILES["0.3.16"]
    assert of_one(made).estimated


def test_what_was_measured_so_far_can_be_had() -> None:
    """Stopped in the middle, the report has the rounds until then, and says that it is not all."""

    async def run() -> Report:
        async with simulator(paced()) as made, find_targets(made.url, ["m"], PLAN) as found:
            benchmark = Benchmark(found.targets, PLAN, means=means())
            task = asyncio.ensure_future(benchmark.measure())
            await asyncio.sleep(6)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return benchmark.report()

    report = in_no_time(run)
    assert not report.finished
    assert 0 < report.models[0].sent < 18
    assert report.models[0].ttft_ms.median == pytest.approx(520, rel=1e-6)


def test_the_clients_own_work_is_not_in_the_times() -> None:
    """What takes time before a request is sent, here a second for each prompt, is in no figure."""
    lost = [0.0]

    class Slow(Random):
        def getrandbits(self, k: int) -> int:
            lost[0] += k == 64  # once for each prompt
            return super().getrandbits(k)

    async def run() -> Report:
        loop = asyncio.get_running_loop()
        slow = Means(clock=lambda: loop.time() + lost[0], processor=lambda: 0.5 * lost[0], random=Slow(1))
        async with simulator(paced()) as made, find_targets(made.url, ["m"], PLAN) as found:
            return await Benchmark(found.targets, PLAN, means=slow).measure()

    model = in_no_time(run).models[0]
    assert lost[0] == 18
    assert model.ttft_ms.high == pytest.approx(520, rel=1e-6)
    assert model.levels[-1].tokens_per_second.median == pytest.approx(80 / 1.3, rel=1e-6)
    assert model.client_share == 0


@pytest.mark.parametrize("before_prefill", [True, False])
def test_headers_are_no_token(before_prefill: bool) -> None:
    """When a stream's headers are sent makes no difference: the first token is what is waited for."""
    made = simulator(paced())
    made.unknowns = Unknowns(headers_before_prefill=before_prefill)
    assert of_one(made).ttft_ms.median == pytest.approx(520, rel=1e-6)


def test_reasoning_is_an_answer_that_has_begun() -> None:
    """A model that thinks before it speaks has begun with its first thought."""
    made = simulator(paced())
    made.script(lambda _: Answer("four", reasoning="one two three", reasoning_form="reasoning_content"))
    model = of_one(made)
    assert model.ttft_ms.median == pytest.approx(520, rel=1e-6)
    assert model.gap_ms.p50 == pytest.approx(20, rel=1e-6)


def test_another_model_that_answers_is_a_failure() -> None:
    """A server that answers with its only loaded model instead is not measured under the other's name."""
    made = simulator(paced())
    made.script(lambda received: replace(as_much_as_may_come(received), model="another"))
    model = of_one(made)
    assert (model.given_up.code, model.ttft_ms) == ("MODEL_NOT_FOUND", None)


def test_no_breaker_hides_what_the_server_does() -> None:
    """Where three of four requests fail the server is asked all the same, as often as was planned."""
    made = simulator(paced())
    answers = iter(range(1000))

    def script(received: Any) -> Answer | Fail:
        return Fail(500, {"error": "boom"}) if next(answers) % 4 else as_much_as_may_come(received)

    made.script(
        lambda received: as_much_as_may_come(received) if received.json["max_tokens"] == 2 else script(received)
    )
    model = of_one(made, msgspec.structs.replace(PLAN, rounds=4))
    assert {(failure.code, failure.message, failure.count) for failure in model.failures} == {
        ("MODEL_UNAVAILABLE", "boom", 24)
    }
    assert model.sent == 2 + 4 * 8 == len([received for received in made.requests if received.method == "POST"])


def test_what_the_server_knew_of_a_prompt_is_in_no_speed() -> None:
    """Tokens that the server says it had in its cache are told, and not counted as read."""
    made = simulator(paced())
    usage = {"prompt_tokens": 100, "completion_tokens": 40, "prompt_tokens_details": {"cached_tokens": 48}}
    made.script(lambda received: replace(as_much_as_may_come(received), usage=usage))
    model = of_one(made)
    assert model.cached_tokens == 16 * 48
    assert model.prompt_tokens_per_second.median == pytest.approx(52_000 / model.ttft_ms.median, rel=1e-6)


def test_a_model_that_goes_in_the_middle_is_a_failure() -> None:
    """The request that meets an unloaded model fails; its load is in no figure."""
    made = simulator(paced(load_seconds=3.0))
    answers = iter(range(1000))

    def script(received: Any) -> Answer | Fail:
        if next(answers) == 3:
            made.models[0].loaded = False
            return Fail(400, {"error": "Model unloaded."})
        return as_much_as_may_come(received)

    made.script(script)
    model = of_one(made)
    assert [(failure.message, failure.count) for failure in model.failures] == [("Model unloaded.", 1)]
    assert model.ttft_ms.high == pytest.approx(520, rel=1e-6)
