"""What phases and machines are judged by, and how this machine is looked at."""

from __future__ import annotations

import pytest

from neuroroute.details import ModelDetails
from neuroroute.doctor import Phases
from neuroroute.doctor.machine import Machine, _available, this_machine
from neuroroute.doctor.speed import of_machine, of_phases
from neuroroute.doctor.streamcheck import of_stream, phases
from neuroroute.doctor.wirestream import StreamSeen

FAST = Phases(first_token_ms=200.0, total_ms=1200.0, tokens_per_second=80.0, prompt_tokens_per_second=900.0)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (FAST, []),
        (Phases(), None),
        (Phases(first_token_ms=1900.0, total_ms=2000.0, prompt_tokens_per_second=50.0), ["prompt-slow"]),
        (Phases(first_token_ms=1900.0, total_ms=9000.0, tokens_per_second=60.0), []),
        (
            Phases(first_token_ms=100.0, total_ms=9000.0, tokens_per_second=4.0),
            ["generation-slow", "streaming-advised"],
        ),
        (Phases(first_token_ms=100.0, total_ms=900.0, tokens_per_second=80.0, load_ms=9000.0), ["load-slow"]),
        (Phases(first_token_ms=100.0, total_ms=900.0, tokens_per_second=80.0, load_ms=200.0), []),
    ],
)
def test_slowness_is_judged_by_its_share(seen, expected):
    """What takes most of the time is told; what is fast, or was not seen, is not."""
    found = [one.code for one in of_phases(seen, 4096)]
    assert found == ([] if expected is None else ["speed", *expected])


def test_a_full_context_is_reckoned():
    """A slow reader is told how long a full context would take."""
    seen = Phases(first_token_ms=2000.0, total_ms=2100.0, prompt_tokens_per_second=50.0)
    assert "4096 tokens would take 82 s" in of_phases(seen, 4096)[1].what


@pytest.mark.parametrize(
    ("machine", "loaded", "expected"),
    [
        (Machine(), False, []),
        (Machine(cores=4, load=3.0, memory_total=16_000, memory_available=9_000), False, []),
        (Machine(cores=4, load=7.0), True, ["machine-busy"]),
        (Machine(memory_total=16_000, memory_available=5_000), False, ["memory-short"]),
        (Machine(memory_total=16_000, memory_available=5_000), True, []),
        (Machine(memory_total=16_000, memory_available=300), True, ["memory-tight"]),
    ],
)
def test_a_machine_is_judged_by_what_the_model_needs(machine, loaded, expected):
    """A model that is not loaded must fit into what is free; what is unknown is no fault."""
    model = ModelDetails(key="m", source="v1", loaded=loaded, size_bytes=5_000)
    assert [one.code for one in of_machine(machine, model)] == ["machine", *expected]


def test_this_machine_is_looked_at(tmp_path):
    """Cores and memory are told where the system tells them; what it does not tell is None."""
    seen = this_machine()
    assert (seen.cores or 0) >= 1
    assert seen.memory_total is None or seen.memory_available is None or seen.memory_available <= seen.memory_total
    told = tmp_path / "meminfo"
    told.write_text("MemTotal: 9 kB\nMemAvailable:    4 kB\n", encoding="ascii")
    assert (_available(told), _available(tmp_path / "none")) == (4096, None)


def test_a_stream_that_was_held_back():
    """Many pieces that come at once, late, were held back on the way; a whole answer was not streamed at all."""
    held = StreamSeen(
        is_stream=True, deltas=20, first_delta_ms=3000.0, last_delta_ms=3001.0, done=True, finish_reason="stop"
    )
    assert [one.code for one in of_stream(held)] == ["stream-works", "stream-not-streamed"]
    assert [one.code for one in of_stream(StreamSeen())] == ["stream-not-streamed"]
    took = phases(held, 1.0, None)
    assert (took.connect_ms, took.first_token_ms, took.answer_tokens) == (1.0, 3000.0, 20)
    assert took.tokens_per_second is None
    assert [one.code for one in of_stream(held, page_ms=2900.0)] == ["stream-works"]


def test_the_way_is_no_prompt():
    """What each page takes, too, is taken off; what came in one piece tells nothing of how fast it was made."""
    seen = StreamSeen(is_stream=True, prompt_tokens=100, answer_tokens=32, total_ms=3600.0)
    for ms in (2500.0, 2501.0, 3500.0):
        seen.take(b'{"choices":[{"delta":{"content":"a"}}]}', ms)
    near, far, farther = (phases(seen, 1.0, None, page) for page in (None, 1000.0, 2000.0))
    assert [one.prompt_tokens_per_second for one in (near, far, farther)] == [40.0, pytest.approx(100 / 1.5), None]
    assert near.tokens_per_second is None
    seen.answer_tokens = 5
    assert phases(seen, 1.0, None).tokens_per_second == 4.0
    assert "prompt-slow" in [one.code for one in of_phases(near, None)]
    assert "prompt-slow" not in [one.code for one in of_phases(farther, None)]
