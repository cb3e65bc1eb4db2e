from __future__ import annotations

import pytest

from neuroroute import LMStudioAdapter, ModelContextLengthError
from neuroroute.simulator import Fail, Simulator

OLD = [
    {"role": "user", "content": "first " * 30},
    {"role": "assistant", "content": "one " * 30},
    {"role": "user", "content": "second " * 30},
    {"role": "assistant", "content": "two " * 30},
]


def chats(lmstudio: Simulator) -> list[list[str]]:
    return [
        [message["content"].split()[0] for message in received.json["messages"]]
        for received in lmstudio.requests
        if received.method == "POST"
    ]


@pytest.mark.parametrize("profile", ["0.3.5", "0.4.0", "0.4.25"])
async def test_the_oldest_turns_go_until_the_rest_fits(profile: str) -> None:
    """Told of an overflow, with numbers or without, the adapter sends the history again without its oldest turns."""
    async with Simulator(profile=profile) as lmstudio:
        lmstudio.models[0].context_length = 120
        async with LMStudioAdapter("llama3", base_url=lmstudio.url, on_overflow="trim", max_tokens=20) as adapter:
            response = await adapter.generate_completion("third", messages=OLD)
        assert response.text == "You said: third"
        assert chats(lmstudio)[0] == ["You", "first", "one", "second", "two", "third"]
        assert chats(lmstudio)[1] in (["You", "second", "two", "third"], ["You", "third"])
        assert [message.text.split()[0] for message in response.messages[:-1]] == chats(lmstudio)[1]
        assert [note.code for note in response.notes] == ["HISTORY_TRIMMED"]
        assert "120 tokens" in response.notes[0].message


async def test_a_stream_recovers_too(lmstudio: Simulator) -> None:
    """An overflow is told before the first chunk, so who reads the stream sees the answer alone."""
    lmstudio.models[0].context_length = 120
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, on_overflow="trim", max_tokens=20) as adapter:
        async with adapter.stream("third", messages=OLD) as stream:
            assert "".join([chunk.chunk async for chunk in stream]) == "You said: third"
        assert [note.code for note in stream.response.notes] == ["HISTORY_TRIMMED"]


async def test_by_default_an_overflow_is_an_error(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Nothing of a history is left out unasked."""
    lmstudio.models[0].context_length = 120
    with pytest.raises(ModelContextLengthError):
        await adapter.generate_completion("third", messages=OLD)
    assert len(chats(lmstudio)) == 1


async def test_one_turn_alone_cannot_be_trimmed(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Where only the last turn is left, the server's own error comes out, with its numbers."""
    lmstudio.models[0].context_length = 20
    with pytest.raises(ModelContextLengthError):
        await adapter.generate_completion("word " * 50, on_overflow="trim")
    assert len(chats(lmstudio)) == 1


async def test_it_is_trimmed_once(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A second overflow is final."""
    lmstudio.models[0].context_length = 120
    lmstudio.fail("overflow_mid_2026", times=2)
    with pytest.raises(ModelContextLengthError):
        await adapter.generate_completion("third", messages=[*OLD, *OLD], on_overflow="trim")
    assert len(chats(lmstudio)) == 2


async def test_without_any_number_nothing_is_guessed(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Neither error nor listing tells what fits: the error comes out."""
    for path in ("/api/v1/models", "/api/v0/models", "/v1/models"):
        lmstudio.fail(Fail(500), path=path, times=5)
    lmstudio.fail("overflow_without_numbers")
    with pytest.raises(ModelContextLengthError):
        await adapter.generate_completion("third", messages=OLD, on_overflow="trim")


async def test_a_retry_after_trimming_is_a_retry(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """An overflow takes no attempt from those after it: the shorter history is retried as often as ever."""
    lmstudio.models[0].context_length = 120
    lmstudio.fail("overflow_mid_2026")
    lmstudio.fail("crash_null", times=3)
    response = await adapter.generate_completion("third", messages=[*OLD[:2], *OLD], on_overflow="trim")
    assert response.text == "You said: third"
    assert len(chats(lmstudio)) == 5
