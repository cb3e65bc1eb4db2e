from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute import (
    LMStudioError,
    MalformedResponseError,
    ModelUnavailableError,
    Stats,
    StreamingChunk,
    StreamInterruptedError,
    TokenUsage,
)
from neuroroute.responses import fold
from neuroroute.wire.decode import AnswerDecoder


def decoder() -> tuple[AnswerDecoder, list[StreamingChunk]]:
    chunks: list[StreamingChunk] = []
    return AnswerDecoder(chunks.append), chunks


def event(delta: dict[str, Any] | None = None, **fields: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": fields.pop("finish", None)}]
    return json.dumps(
        {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": choices, **fields}
    ).encode()


def test_a_stream_in_the_documented_shape() -> None:
    """Role, content, finish reason, usage and [DONE] are each read from where LM Studio puts them."""
    answer, chunks = decoder()
    answer.events([event({"role": "assistant"}), event({"content": "Hel"}), event({"content": "lo"})])
    assert [chunk.chunk for chunk in chunks] == ["Hel", "lo"]
    assert not answer.complete
    answer.events([event({}, finish="stop"), event(usage={"prompt_tokens": 3, "completion_tokens": 2}), b"[DONE]"])
    assert (answer.model, answer.finish_reason, answer.ended) == ("m", "stop", True)
    assert answer.usage == TokenUsage(prompt=3, completion=2, total=5)
    assert len(chunks) == 2


def test_a_role_alone_has_not_begun() -> None:
    """A delta without text, reasoning or a call is no beginning, so that what follows may still be retried."""
    answer, chunks = decoder()
    answer.events([event({"role": "assistant", "content": ""}), event({})])
    assert (answer.began, chunks) == (False, [])


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_in_a_field_of_its_own(key: str) -> None:
    """Reasoning is kept apart from the text, whichever field it comes in, and raw shows it in that field."""
    answer, chunks = decoder()
    answer.events([event({key: "think "}), event({key: "hard"}), event({"content": "42"}), event({}, finish="stop")])
    answer.finish()
    folded = fold(chunks)
    assert (folded.text, folded.reasoning) == ("42", "think hard")
    message = msgspec.json.decode(answer.raw(folded))["choices"][0]["message"]
    assert (message["content"], message[key]) == ("42", "think hard")


def test_reasoning_left_in_the_content() -> None:
    """A think block is reasoning in the chunks, and stays in the content of raw."""
    answer, chunks = decoder()
    answer.events([event({"content": part}) for part in ("<thi", "nk>hm", "m</think>", "\n\n4", "2")])
    answer.finish()
    folded = fold(chunks)
    assert (folded.text, folded.reasoning) == ("42", "hmm")
    assert msgspec.json.decode(answer.raw(folded))["choices"][0]["message"]["content"] == "<think>hmm</think>\n\n42"


def test_text_that_was_held_back_is_given_out_at_the_end() -> None:
    """An answer that ends in what might have been a tag loses nothing."""
    answer, chunks = decoder()
    answer.events([event({"content": "<th"}), b"[DONE]"])
    assert chunks == []
    answer.finish()
    assert (fold(chunks).text, answer.began) == ("<th", True)


def test_llama_cpp_timings_are_stats() -> None:
    """llama.cpp's timings and LM Studio's stats come as one type."""
    answer, _ = decoder()
    timings = {"prompt_per_second": 100.0, "predicted_per_second": 30.0, "prompt_ms": 500, "predicted_ms": 2000}
    answer.events([event({}, finish="stop", timings=timings)])
    expected = Stats(
        tokens_per_second=30.0, prompt_tokens_per_second=100.0, time_to_first_token=0.5, generation_time=2.0
    )
    assert answer.stats == expected


def test_an_error_event_before_the_first_chunk_of_no_known_kind() -> None:
    """An unknown error inside a success is malformed while nothing has come ..."""
    answer, _ = decoder()
    with pytest.raises(MalformedResponseError, match="kaboom"):
        answer.events([b'{"error":{"message":"kaboom"},"message":"kaboom"}'])


def test_an_error_event_after_the_first_chunk_of_no_known_kind() -> None:
    """... and an interrupted stream afterwards; the chunks before it are not lost."""
    answer, chunks = decoder()
    with pytest.raises(StreamInterruptedError, match="kaboom"):
        answer.events([event({"content": "a"}), b'{"error":{"message":"kaboom"},"message":"kaboom"}'])
    assert [chunk.chunk for chunk in chunks] == ["a"]


def test_an_error_event_of_a_known_kind() -> None:
    """A known error is itself wherever it comes."""
    answer, _ = decoder()
    with pytest.raises(ModelUnavailableError):
        answer.events([event({"content": "a"}), b'{"error":"Model unloaded."}'])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"<html>",
        b'{"choices":[{"message":{"content":5}}]}',
        b"\xff",
        b"[" * 99999,
    ],
)
def test_what_is_no_answer_is_malformed(body: bytes) -> None:
    """A success without an answer is an error, never an empty answer."""
    answer, _ = decoder()
    with pytest.raises(MalformedResponseError):
        answer.whole(body)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "choices",
                            "delta",
                            "message",
                            "content",
                            "error",
                            "usage",
                            "tool_calls",
                            "function",
                            "arguments",
                            "finish_reason",
                            "code",
                            "type",
                        ]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_arbitrary_payloads_raise_nothing_but_our_errors(payload: bytes) -> None:
    """Whatever a server sends as an event or an answer, only our own errors come out."""
    for read in (lambda answer: answer.events([payload]), lambda answer: answer.whole(payload)):
        answer, chunks = decoder()
        try:
            read(answer)
            answer.finish()
            answer.raw(fold(chunks))
        except LMStudioError:
            pass


@pytest.mark.parametrize("odd", [{"usage": {"prompt_tokens": 1.5}}, {"stats": []}, {"timings": 5}, {"model": 5}])
def test_odd_words_beside_an_answer_do_not_spoil_it(odd: dict[str, Any]) -> None:
    """What is told beside an answer counts as not told where it is odd; the answer is good all the same."""
    answer, chunks = decoder()
    answer.events([event({"content": "hi"}, **odd), event({}, finish="stop")])
    assert [chunk.chunk for chunk in chunks] == ["hi"]
    assert (answer.usage, answer.stats) == (None, Stats())


@pytest.mark.parametrize("nothing", [None, False, ""])
def test_an_error_that_is_none_is_none(nothing: Any) -> None:
    """Servers that always send the field `error` answer all the same."""
    answer, chunks = decoder()
    answer.events([event({"content": "a"}, error=nothing), event({"content": "b"}, error=nothing)])
    assert [chunk.chunk for chunk in chunks] == ["a", "b"]


def test_the_same_reasoning_in_both_fields_is_read_once() -> None:
    """A server that tells its reasoning twice, for readers of either field, is not taken to think twice."""
    answer, chunks = decoder()
    answer.events([event({"reasoning": "R", "reasoning_content": "R"}), event({"content": "x"}, finish="stop")])
    assert fold(chunks).reasoning == "R"


@given(st.text(min_size=1), st.data())
def test_characters_that_a_stream_cut_in_two(text: str, data: st.DataObject) -> None:
    """A text that was cut between the halves of a character, as JavaScript counts them, arrives whole."""
    escaped = [f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")]
    cut = data.draw(st.integers(0, len(escaped)))
    answer, chunks = decoder()
    answer.events([event({"content": "_"})])
    for part in (escaped[:cut], escaped[cut:]):
        answer.events([event({"content": "@"}).replace(b"@", "".join(part).encode())])
    answer.events([event({}, finish="stop")])
    answer.finish()
    assert fold(chunks).text == "_" + text


@pytest.mark.parametrize("native_first", [True, False])
def test_a_call_that_came_twice_runs_once(native_first: bool) -> None:
    """A call in the text that the server also sent as a call is dropped, whatever came first; others are kept."""
    chunks: list[StreamingChunk] = []
    answer = AnswerDecoder(chunks.append, {"f": {}})
    native = [
        event({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": '{"a": 1,'}}]}),
        event({"tool_calls": [{"index": 0, "function": {"arguments": '"b": 2}'}}]}),
    ]
    texts = [
        event({"content": 'Hi <tool_call>{"name": "f", "arguments": {"b":2,"a":1}}</tool_call>'}),
        event({"content": '<tool_call>{"name": "f", "arguments": {"a":1}}</tool_call>'}),
    ]
    answer.events([*native, *texts] if native_first else [*texts, *native])
    answer.events([event({}, finish="tool_calls"), b"[DONE]"])
    answer.finish()
    answer.finish()
    found = fold(chunks)
    assert [call.function.arguments for call in found.tool_calls] == ['{"a": 1,"b": 2}', '{"a":1}']
    assert (found.text.strip(), answer.salvaged) == ("Hi", 1)


def test_whole_calls_of_one_id_stay_apart() -> None:
    """Two calls of a whole answer that have one id are two calls."""
    answer, chunks = decoder()
    calls = [{"index": 0, "id": "1", "function": {"name": "f", "arguments": text}} for text in ("{}", '{"a":1}')]
    answer.whole(json.dumps({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}).encode())
    assert [(call.id, call.function.arguments) for call in fold(chunks).tool_calls] == [
        ("1", "{}"),
        ("000000001", '{"a":1}'),
    ]
