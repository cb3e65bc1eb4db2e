from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from neuroroute import (
    AnyMessage,
    AssistantMessage,
    FunctionCall,
    LMStudioAdapter,
    ModelResponse,
    StructuredOutputError,
    TokenUsage,
    ToolCall,
    UserMessage,
)
from neuroroute.engine import EmbeddedEngine
from neuroroute.shapes import AnswerShape
from neuroroute.shapes.answers import set_parsed
from neuroroute.simulator import Answer, Simulator
from neuroroute.structured import ask_typed


class Point(msgspec.Struct):
    x: int
    y: int = 0


class Person(msgspec.Struct):
    name: str
    home: tuple[str, int]
    age: int | None = None


POINT = AnswerShape.of(Point)


def answer(text: str, **fields: Any) -> ModelResponse:
    fields = {"finish_reason": "stop", "tokens": TokenUsage(total=len(text)), **fields}
    return ModelResponse(text=text, model="llama3", processing_time=0.1, messages=[], **fields)


class Model:
    """Gives these answers one after the other, and keeps what it was asked."""

    def __init__(self, *answers: ModelResponse, shape: AnswerShape | None = None) -> None:
        self.answers = list(answers)
        self.shape = shape or POINT
        self.asked: list[Sequence[AnyMessage]] = []

    async def ask(self, extra: Sequence[AnyMessage]) -> ModelResponse:
        self.asked.append(copy.copy(extra))
        response = self.answers.pop(0)
        set_parsed(response, self.shape)
        return response


def codes(response: ModelResponse) -> list[str]:
    return [note.code for note in response.notes]


async def test_a_right_answer_is_asked_for_once() -> None:
    """The first answer of the right type is returned, typed, without a note."""
    model = Model(answer('{"x": 1}'))
    response = await ask_typed(model.ask, POINT, reask=3)
    assert (response.parsed, response.notes, model.asked) == (Point(1), (), [()])


async def test_a_wrong_answer_is_asked_for_again() -> None:
    """The model is shown its answer, what is wrong with it and the schema; the note tells how often it was asked."""
    model = Model(answer('{"x": "one"}'), answer("x is 1"), answer('{"x": 1}'))
    response = await ask_typed(model.ask, POINT, reask=2)
    assert response.parsed == Point(1)
    assert response.tokens.total == len('{"x": 1}')
    assert codes(response) == ["STRUCTURED_REASKED"]
    assert "2 times" in response.notes[0].message
    first, second, third = model.asked
    assert first == ()
    assert second[0] == AssistantMessage(content='{"x": "one"}')
    assert isinstance(second[1], UserMessage)
    assert "at $.x: expected `int`, got `str`" in second[1].text
    assert second[1].text.endswith(msgspec.json.encode(AnswerShape.of(Point).wire["json_schema"]["schema"]).decode())  # type: ignore[index]
    assert (third[0].text, len(third)) == ("x is 1", 2)


@pytest.mark.parametrize("reask", [0, 1])
async def test_asking_is_bounded(reask: int) -> None:
    """After so many wrong answers the error is raised, with the last answer in it."""
    answers = [answer("a"), answer("b")][: reask + 1]
    model = Model(*answers)
    with pytest.raises(StructuredOutputError, match="valid JSON") as caught:
        await ask_typed(model.ask, POINT, reask=reask)
    assert caught.value.partial is answers[-1]
    assert caught.value.model == "llama3"
    assert len(model.asked) == reask + 1


async def test_an_answer_in_the_reasoning_is_told() -> None:
    """JSON that stands in the reasoning, with empty content, is taken, and a note says so (LM Studio #1698)."""
    model = Model(answer("", reasoning="not yet"), answer("", reasoning='so: {"x": 1}'))
    response = await ask_typed(model.ask, POINT, reask=1)
    assert response.parsed == Point(1)
    assert codes(response) == ["STRUCTURED_IN_REASONING", "STRUCTURED_REASKED"]
    assert "once" in response.notes[1].message
    assert model.asked[1][0].content  # an empty assistant message breaks some chat templates


@pytest.mark.parametrize(
    ("shape", "cut"),
    [
        (POINT, answer('{"x": 1', finish_reason="length")),
        (AnswerShape.of(int), answer("12", finish_reason="length")),
        (POINT, answer("", reasoning='is it {"x": 1}? I', finish_reason="length")),
    ],
)
async def test_a_cut_answer_is_not_asked_for_again(shape: AnswerShape, cut: ModelResponse) -> None:
    """An answer that max_tokens cut off, or may have, is an error that says so; asking again would not help."""
    model = Model(cut, shape=shape)
    with pytest.raises(StructuredOutputError, match="max_tokens") as caught:
        await ask_typed(model.ask, shape, reask=2)
    assert caught.value.partial is cut
    assert len(model.asked) == 1


async def test_a_whole_answer_at_the_limit_is_right() -> None:
    """An answer that is whole is taken, even if the limit was reached with its last token."""
    model = Model(answer('{"x": 1}  ', finish_reason="length"))
    assert (await ask_typed(model.ask, POINT, reask=0)).parsed == Point(1)


@pytest.mark.parametrize(
    "calls",
    [
        {"tool_calls": (ToolCall(id="1", function=FunctionCall(name="f")),)},
        {"function_call": FunctionCall(name="f")},
    ],
)
async def test_calls_come_before_the_answer(calls: dict[str, Any]) -> None:
    """An answer that asks for calls is no typed answer yet, and no wrong one."""
    model = Model(answer("", **calls))
    assert (await ask_typed(model.ask, POINT, reask=1)).parsed is None


def test_plain_text_is_left_alone() -> None:
    """Where text was asked for, nothing is read into it."""
    response = answer("hi")
    set_parsed(response, AnswerShape.of({"type": "text"}))
    assert response == answer("hi")


# A real engine takes what is sent


async def real(engine: EmbeddedEngine, response_format: Any, prompt: str) -> Any:
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, temperature=0, max_tokens=200) as adapter:
        return (await adapter.generate_completion(prompt, response_format=response_format, reask=1)).parsed


@pytest.mark.engine
async def test_a_real_model_answers_in_types(engine: EmbeddedEngine) -> None:
    """llama.cpp takes what is sent for a type with tuples and optional members, and its answer is of the type."""
    assert isinstance(await real(engine, Person, "Ann Lee is 41, lives in Rome at number 5. Reply as JSON."), Person)


@pytest.mark.engine
async def test_a_real_model_answers_with_any_root(engine: EmbeddedEngine) -> None:
    """llama.cpp takes a schema whose root is a list, a number or any object."""
    assert all(isinstance(c, str) for c in await real(engine, list[str], 'Reply only: ["red"]'))
    assert isinstance(await real(engine, int, "How much is 6 * 7? Only the number."), int)
    assert isinstance(await real(engine, {"type": "json_object"}, 'Reply only: {"a": 1}'), dict)


@pytest.mark.engine
async def test_a_real_engine_takes_what_others_refuse(engine: EmbeddedEngine) -> None:
    """Schemas with what llama.cpp is known to refuse are sent so that it takes them."""
    properties = {
        "first": True,
        "code": {"type": "string", "pattern": r"\w"},
        "long": {"type": "string", "maxLength": 100_000},
        "maybe": {"type": ["integer", "null"]},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, True], "items": False},
    }
    schema = {"type": "object", "properties": properties, "required": ["code"]}
    assert isinstance(await real(engine, schema, "Ann Lee, code A, is 41. Reply as JSON."), dict)


# Through the adapter


async def test_an_answer_is_typed(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A type is sent as its schema, and the answer comes back as the type, whole and streamed alike."""
    lmstudio.answer('{"x": 1, "y": 2}', times=2)
    whole = await adapter.generate_completion("where?", response_format=Point)
    async with adapter.stream("where?", response_format=Point) as stream:
        await stream.whole()
    assert whole.parsed == stream.response.parsed == Point(1, 2)
    sent = lmstudio.requests[0].json["response_format"]
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", "Point")
    assert sent["json_schema"]["schema"]["required"] == ["x"]


async def test_json_object_is_rewritten(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What LM Studio refuses is sent as a schema that takes any object, and a note says so."""
    lmstudio.answer('{"anything": [1]}')
    response = await adapter.generate_completion("?", response_format={"type": "json_object"})
    assert response.parsed == {"anything": [1]}
    assert codes(response) == ["RESPONSE_FORMAT_REWRITTEN"]
    assert lmstudio.requests[0].json["response_format"]["type"] == "json_schema"


async def test_an_answer_in_the_reasoning_channel(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """JSON that a server put into the reasoning is found there (LM Studio #1698)."""
    lmstudio.answer(Answer("", reasoning='{"x": 7}'))
    response = await adapter.generate_completion("where?", response_format=Point)
    assert response.parsed == Point(7)
    assert codes(response) == ["STRUCTURED_IN_REASONING"]


async def test_the_adapter_asks_again_with_what_is_wrong(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """With reask= the model sees its answer and the error; without, the error has the answer, and that is all."""
    lmstudio.answer('{"x": "one"}')
    lmstudio.answer('{"x": 1}')
    response = await adapter.generate_completion("where?", response_format=Point, reask=1)
    assert response.parsed == Point(1)
    assert codes(response) == ["STRUCTURED_REASKED"]
    last = lmstudio.requests[1].json["messages"]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "user"]
    assert "at $.x" in last[-1]["content"]
    lmstudio.answer('{"x": "one"}')
    with pytest.raises(StructuredOutputError, match=r"at \$\.x") as caught:
        await adapter.generate_completion("where?", response_format=Point)
    assert caught.value.partial is not None
    assert (caught.value.partial.text, len(lmstudio.requests)) == ('{"x": "one"}', 3)


async def test_a_value_grows_while_it_streams(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What is certain of a typed answer can be seen before its end."""
    lmstudio.answer(Answer(chunks=['{"name": "An', 'n", "x', '": 1', "2}"]))
    seen: list[Any] = []
    async with adapter.stream("who?", response_format=dict[str, Any]) as stream:
        async for _ in stream:
            seen.append(copy.copy(stream.partial_value))
    assert seen == [
        {"name": "An"},
        {"name": "Ann"},
        {"name": "Ann"},
        {"name": "Ann", "x": 12},
        {"name": "Ann", "x": 12},
    ]


async def test_a_wrong_answer_ends_the_specification_s_stream_as_an_error(
    adapter: LMStudioAdapter, lmstudio: Simulator
) -> None:
    """In the form that never raises, an answer of another type is its last chunk."""
    lmstudio.answer("no JSON")
    last = [chunk async for chunk in adapter.generate_completion_stream("?", response_format=Point)][-1]
    assert (last.done, last.error) == (True, True)
    assert isinstance(last.exception, StructuredOutputError)
