from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from neuroroute import AssistantMessage, LMStudioAdapter, ModelInvalidRequestError, ModelResponse, UserMessage
from neuroroute.simulator import Answer, Fail, Simulator, StreamFault

if TYPE_CHECKING:
    from neuroroute.options import Api

APIS = ("responses", "native")
CRASH = Fail(400, {"error": "The model has crashed without additional information. (Exit code: null)"})


def codes(response: ModelResponse) -> list[str]:
    return [note.code for note in response.notes]


def new(sent: Any) -> Any:
    """What is new in a body: its input, and what it goes on from."""
    given = sent["input"]
    if isinstance(given, list):
        given = [item["content"][0]["text"] for item in given]
    return given, sent.get("previous_response_id")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streaming", [False, True])
async def test_only_what_is_new_is_sent(
    adapter: LMStudioAdapter, lmstudio: Simulator, api: Api, streaming: bool
) -> None:
    """After an answer with an id, the next request has its id and the new message alone; the history is whole."""
    first = await adapter.generate_completion("one", api=api)
    stream = adapter.stream("two", api=api, previous=first)
    second = await (stream.whole() if streaming else adapter.generate_completion("two", api=api, previous=first))
    alone = "two" if api == "native" else ["two"]
    assert new(lmstudio.requests[-1].json) == (alone, first.response_id)
    assert [message.text for message in second.messages[1:]] == ["one", "You said: one", "two", "You said: two"]
    assert (second.notes, second.tokens.prompt > first.tokens.prompt) == ((), True)
    third = await adapter.generate_completion("three", api=api, previous=second)
    assert new(lmstudio.requests[-1].json)[1] == second.response_id
    assert len(third.messages) == 7


@pytest.mark.parametrize("api", APIS)
async def test_messages_that_begin_as_the_answer_go_on_from_it(
    adapter: LMStudioAdapter, lmstudio: Simulator, api: Api
) -> None:
    """With messages, the history is theirs: gone on from if it begins with the answer's, else sent whole."""
    first = await adapter.generate_completion("one", api=api)
    given = [*first.messages, UserMessage(content="two")]
    response = await adapter.generate_completion(api=api, previous=first, messages=given)
    assert (new(lmstudio.requests[-1].json)[1], response.notes) == (first.response_id, ())
    for changed in ([first.messages[0], *given[2:]], given[:2], [UserMessage(content="other"), *given[1:]]):
        response = await adapter.generate_completion(api=api, previous=first, messages=changed)
        assert new(lmstudio.requests[-1].json)[1] is None
        assert "HISTORY_SENT_WHOLE" in codes(response)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streaming", [False, True])
async def test_what_was_forgotten_is_sent_whole_at_once(
    adapter: LMStudioAdapter, lmstudio: Simulator, api: Api, streaming: bool
) -> None:
    """A stale id costs one refused request and no attempt: the history is sent whole, with a note."""
    first = await adapter.generate_completion("one", api=api)
    assert first.response_id is not None
    lmstudio.forget(first.response_id)
    stream = adapter.stream("two", api=api, previous=first, max_retries=0)
    response = await (
        stream.whole() if streaming else adapter.generate_completion("two", api=api, previous=first, max_retries=0)
    )
    assert "You said: one" in lmstudio.requests[-1].body.decode().replace("\\", "")
    assert new(lmstudio.requests[-1].json)[1] is None
    assert (response.attempts, len(response.messages)) == (1, 5)
    expected = ["HISTORY_SENT_WHOLE", "HISTORY_AS_TRANSCRIPT"] if api == "native" else ["HISTORY_SENT_WHOLE"]
    assert codes(response) == expected
    await adapter.generate_completion("three", api=api, previous=response)
    assert new(lmstudio.requests[-1].json)[1] == response.response_id


@pytest.mark.parametrize("api", APIS)
async def test_a_stale_id_among_failures(adapter: LMStudioAdapter, lmstudio: Simulator, api: Api) -> None:
    """Attempts after a stale id send the whole history, and each note is there once."""
    first = await adapter.generate_completion("one", api=api)
    assert first.response_id is not None
    lmstudio.forget(first.response_id)
    outcomes = iter([CRASH, "hello"])
    lmstudio.script(lambda request: next(outcomes))
    response = await adapter.generate_completion("two", api=api, previous=first)
    ids = [new(request.json)[1] for request in lmstudio.requests if request.method == "POST"]
    assert ids == [None, first.response_id, None, None]
    assert (response.attempts, codes(response).count("HISTORY_SENT_WHOLE")) == (2, 1)


@pytest.mark.parametrize("api", APIS)
async def test_another_host_is_sent_everything(adapter: LMStudioAdapter, api: Api) -> None:
    """What one host remembers, another does not: it is sent the whole history, not the id."""
    first = await adapter.generate_completion("one", api=api)
    async with Simulator() as other, LMStudioAdapter("llama3", base_url=other.url) as elsewhere:
        response = await elsewhere.generate_completion("two", api=api, previous=first)
        assert new(other.requests[-1].json)[1] is None
        assert len(other.requests) == 1
    assert codes(response)[0] == "HISTORY_SENT_WHOLE"


async def test_without_an_id_it_is_a_history(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Previous of another route, or of an answer that was not to be stored, is the history and no more."""
    chat = await adapter.generate_completion("one")
    await adapter.generate_completion("two", previous=chat)
    assert [message["content"] for message in lmstudio.requests[-1].json["messages"]][1:] == [
        "one", "You said: one", "two",
    ]  # fmt: skip
    native = await adapter.generate_completion("one", api="native", store=False)
    assert native.response_id is None
    for previous in (chat, native):
        response = await adapter.generate_completion("two", api="native", previous=previous)
        assert new(lmstudio.requests[-1].json)[1] is None
        assert codes(response) == ["HISTORY_AS_TRANSCRIPT"]


async def test_nothing_new_is_nothing_to_send(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Previous alone asks nothing; it takes a prompt or messages."""
    first = await adapter.generate_completion("one", api="native")
    with pytest.raises(ModelInvalidRequestError, match="nothing to send"):
        await adapter.generate_completion(api="native", previous=first)
    assert len(lmstudio.requests) == 1


async def test_what_a_stream_left_behind_is_not_gone_on_from(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A broken answer has no id, so that what goes on from its text sends all of it."""
    lmstudio.answer(Answer("one two", stream_fault=StreamFault("end", 1)))
    stream = adapter.stream("hi", api="native")
    with pytest.raises(Exception, match="ended without"):
        await stream.whole()
    partial = stream.response
    assert partial.response_id is None
    response = await adapter.generate_completion("go on", api="native", previous=partial)
    assert codes(response) == ["HISTORY_AS_TRANSCRIPT"]


async def test_new_messages_of_others_are_a_transcript(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """On the native route only what is new is told as a transcript, if others than the user say something in it."""
    first = await adapter.generate_completion("one", api="native")
    given = [*first.messages, UserMessage(content="two"), AssistantMessage(content="2"), UserMessage(content="three")]
    response = await adapter.generate_completion(api="native", previous=first, messages=given)
    sent, previous_id = new(lmstudio.requests[-1].json)
    assert (previous_id, codes(response)) == (first.response_id, ["HISTORY_AS_TRANSCRIPT"])
    assert '{"role":"assistant","content":"2"}' in sent
    assert "You said: one" not in sent


async def test_a_server_that_remembers_nothing_is_asked_once(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """llama.cpp refuses any id on /v1/responses: from then on it is sent whole histories, and no id."""
    said = "llama.cpp does not support 'previous_response_id'."
    response = await adapter.generate_completion("one", api="responses")
    lmstudio.fail(Fail(400, {"error": {"code": 400, "message": said, "type": "invalid_request_error"}}))
    for prompt in ("two", "three", "four"):
        response = await adapter.generate_completion(prompt, api="responses", previous=response)
    ids = [new(request.json)[1] for request in lmstudio.requests if request.method == "POST"]
    assert [one is None for one in ids] == [True, False, True, True, True]
    assert len(response.messages) == 9
