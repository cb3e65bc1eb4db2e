from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.bench.samples import Failure, Sample, Wave, tokens_per_word

steps = st.lists(st.floats(0.001, 1), min_size=1, max_size=30)


def sample(arrivals: list[float], began: float = 0.0, **more: int) -> Sample:
    tokens = {"prompt_tokens": 100, "completion_tokens": len(arrivals)}
    return Sample(began=began, arrivals=tuple(arrivals), **{**tokens, **more})


def at(found: list[float]) -> list[float]:
    """Times that grow by these steps."""
    return [sum(found[: place + 1]) for place in range(len(found))]


@given(steps, st.floats(0.5, 2))
def test_speeds_scale_with_time(found: list[float], factor: float) -> None:
    """An answer that takes so many times longer in all its parts is as many times slower, in each figure."""
    one, other = sample(at(found)), sample([time * factor for time in at(found)])
    assert other.first == pytest.approx(one.first * factor)
    assert other.gaps == pytest.approx([gap * factor for gap in one.gaps])
    assert one.prompt_speed == pytest.approx(factor * (other.prompt_speed or 0))
    if len(found) > 1:
        assert one.generation_speed == pytest.approx(factor * (other.generation_speed or 0))


@given(steps)
def test_an_answer_is_its_first_piece_and_its_gaps(found: list[float]) -> None:
    """The time to the first piece and the gaps together are the whole answer."""
    one = sample(at(found), began=5.0)
    assert one.first + sum(one.gaps) == pytest.approx(one.ended - 5.0)


def test_what_came_in_one_piece_has_no_speed() -> None:
    """A server that does not stream tells no speed of generation; a prompt that was known tells none of reading."""
    assert sample([1.0], completion_tokens=64).generation_speed is None
    assert sample([1.0], cached_tokens=100).prompt_speed is None
    assert sample([1.0], cached_tokens=60).prompt_speed == 40


def test_pieces_of_several_tokens_are_no_faster() -> None:
    """Four pieces of sixteen tokens each, one every 0.32 s, are fifty tokens a second, as 64 pieces would be."""
    assert sample([0.32, 0.64, 0.96, 1.28], completion_tokens=64).generation_speed == pytest.approx(50)
    assert sample([0.02 * at for at in range(1, 65)]).generation_speed == pytest.approx(50)


def test_a_wave_with_a_failure_has_no_throughput() -> None:
    """The tokens of all, from the first request to the last piece; none where one failed, or where nothing came."""
    samples = (sample([1.0, 2.0], began=0.0), sample([1.0, 4.0], began=1.0))
    assert Wave(concurrency=2, samples=samples).tokens_per_second == pytest.approx(4 / 5)
    failure = Failure(code="MODEL_TIMEOUT", message="too late")
    assert Wave(concurrency=3, samples=samples, failures=(failure,)).tokens_per_second is None
    assert Wave(concurrency=1, samples=(), failures=(failure,)).tokens_per_second is None


def test_a_model_tells_how_many_tokens_a_word_has() -> None:
    """Learnt from what the server counted; nothing is learnt where it counted nothing."""
    assert tokens_per_word([sample([1.0])], [50]) == 2.0
    assert tokens_per_word([sample([1.0], prompt_tokens=0)], [50]) is None
