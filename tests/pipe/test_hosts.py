from __future__ import annotations

import asyncio
import threading

import pytest

from neuroroute import CircuitOpenError, LMStudioAdapter, SyncLMStudioAdapter
from neuroroute.pipe import host as host_module
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator


async def busy(adapter: LMStudioAdapter, calls: int) -> None:
    await asyncio.gather(*(adapter.generate_completion("hi") for _ in range(calls)))


async def test_slots_are_as_many_as_the_server_lists(lmstudio: Simulator) -> None:
    """Once a second request comes, the server is asked how many it answers at once, and so many are sent."""
    lmstudio.models[0].parallel = 9
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        gate = adapter._core.hosts.all[0].model("llama3").gate
        await adapter.generate_completion("hi")
        await adapter.generate_completion("hi")
        assert (gate.slots, len(lmstudio.requests)) == (4, 2)
        await busy(adapter, 2)
        await asyncio.sleep(0.05)
        assert gate.slots == 9
        await busy(adapter, 12)
    assert sum(received.path == "/api/v1/models" for received in lmstudio.requests) == 1


async def test_fewer_slots_are_learnt_while_all_are_taken(lmstudio: Simulator) -> None:
    """A server that answers one at a time is not sent more, from the moment that this is known."""
    lmstudio.models[0].parallel = 1
    lmstudio.answer(Answer("hello", delay=0.03), times=8)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        await busy(adapter, 8)
        assert repr(adapter._core.hosts.all[0].model("llama3").gate) == "<Gate 0 of 1 slots taken, 0 waiting>"


async def test_slots_that_were_given_are_not_asked_for(lmstudio: Simulator) -> None:
    """With slots= the listing is of no interest."""
    lmstudio.models[0].parallel = 9
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, slots=2) as adapter:
        await busy(adapter, 5)
        assert adapter._core.hosts.all[0].model("llama3").gate.slots == 2
    assert len(lmstudio.requests) == 5


async def test_an_instance_has_slots_of_its_own(lmstudio: Simulator) -> None:
    """A request for ``key:2`` goes by the slots of that copy."""
    lmstudio.models[0] = SimulatedModel("llama3", loaded=True, instances=2, parallel=6)
    async with LMStudioAdapter("llama3:2", base_url=lmstudio.url) as adapter:
        await busy(adapter, 3)
        await asyncio.sleep(0.05)
        assert adapter._core.hosts.all[0].model("llama3:2").gate.slots == 6


async def test_made_up_names_do_not_fill_the_memory(lmstudio: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that nothing is to be remembered of are forgotten; an open breaker is not."""
    monkeypatch.setattr(host_module, "MOST_MODELS", 4)
    async with LMStudioAdapter("bad", base_url=lmstudio.url) as adapter:
        adapter.breaker.force_open()
        host = adapter._core.hosts.all[0]
        for number in range(50):
            host.model(f"made-up-{number}")
        assert len(host._models) <= 5
        with pytest.raises(CircuitOpenError):
            await adapter.generate_completion("hi")


def test_a_breaker_is_opened_from_another_thread(lmstudio: Simulator) -> None:
    """force_open() from any thread sends the queue of the adapter's own event loop away."""
    lmstudio.fail(Fail(silent="hang"))
    ends: list[BaseException] = []
    with SyncLMStudioAdapter("llama3", base_url=lmstudio.url, slots=1, timeout_ms=5000) as adapter:

        def ask() -> None:
            try:
                adapter.generate_completion("hi")
            except Exception as error:
                ends.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        asyncio.run(lmstudio.wait_for_requests(1))
        gate = next(iter(adapter._core.hosts.all[0].model("llama3")._gates.values()))
        while gate.queue_length < 2:
            pass
        adapter.breaker.force_open()
        for _ in range(200):
            if len(ends) == 2:
                break
            threading.Event().wait(0.01)
        assert [type(end) for end in ends] == [CircuitOpenError] * 2
        adapter.close()
        for thread in threads:
            thread.join()
        adapter.breaker.reset()
        assert adapter.generate_completion("hi").text == "You said: hi"
