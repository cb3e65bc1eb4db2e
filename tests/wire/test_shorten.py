from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from neuroroute import AnyMessage, AssistantMessage, ModelContextLengthError, SystemMessage, UserMessage
from neuroroute.responses import estimate_message_tokens
from neuroroute.wire.shorten import shortened


def history(turns: int, words: int = 100) -> list[AnyMessage]:
    said: list[AnyMessage] = [SystemMessage(content="Be brief.")]
    for number in range(turns):
        said += [UserMessage(content=f"{number} " * words), AssistantMessage(content="yes " * words)]
    return [*said, UserMessage(content="and now?")]


def overflow(prompt_tokens: int | None = None) -> ModelContextLengthError:
    return ModelContextLengthError("too long", details={"prompt_tokens": prompt_tokens} if prompt_tokens else {})


@given(st.integers(1, 12), st.integers(1, 4000), st.integers(-1, 4000), st.none() | st.integers(1, 20_000))
def test_what_is_left_fits_as_far_as_anybody_can_tell(
    turns: int, context: int, max_tokens: int, counted: int | None
) -> None:
    """The rest and its answer are within the context by the server's own measure; the last turn and the system stay."""
    messages = history(turns)
    left = shortened(messages, overflow(counted), context, max_tokens)
    if left is None:
        return
    assert left.dropped
    assert left.messages[0] == messages[0]
    assert left.messages[-1] == messages[-1]
    if left.fits:
        measure = (counted or 0) / sum(map(estimate_message_tokens, messages)) or 1.0
        tokens = sum(map(estimate_message_tokens, left.messages)) * measure
        room = context - (context // 2 if max_tokens < 1 else min(max_tokens, context // 2))
        assert tokens <= room


def test_the_servers_count_puts_the_estimate_right() -> None:
    """A prompt that the server counted twice as long as estimated loses about twice as much."""
    messages = history(10)
    estimated = sum(map(estimate_message_tokens, messages))
    plain = shortened(messages, overflow(estimated), estimated // 2 + 100, 100)
    twice = shortened(messages, overflow(2 * estimated), estimated // 2 + 100, 100)
    assert plain is not None
    assert twice is not None
    assert (plain.dropped, twice.dropped) == (6, 8)


def test_no_limit_for_the_answer_keeps_half_for_it() -> None:
    """With max_tokens=-1 half of the context is kept free; a limit that is larger than that does not count."""
    messages = history(10)
    context = sum(map(estimate_message_tokens, messages))
    assert shortened(messages, overflow(), context, -1) == shortened(messages, overflow(), context, 10**9)


def test_nothing_to_drop_is_none() -> None:
    """A single turn cannot be shortened, nor is a history cut that fits already."""
    assert shortened(history(0), overflow(), 5, 1) is None
    assert shortened(history(1), overflow(), 10**6, 1) is None
