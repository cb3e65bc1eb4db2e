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
from neuroroute.structured import AnswerShape, ask_typed, set_parsed


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

    def __init__(self, *answers: ModelResponse) -> None:
        self.answers = list(answers)
        self.asked: list[Sequence[AnyMessage]] = []

    async def ask(self, extra: Sequence[AnyMessage]) -> ModelResponse:
        self.asked.append(copy.copy(extra))
        return self.answers.pop(0)


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
    model = Model(cut)
    with pytest.raises(StructuredOutputError, match="max_tokens") as caught:
        await ask_typed(model.ask, shape, reask=2)
    assert caught.value.partial is cut
    assert len(model.asked) == 1


async def test_a_whole_answer_at_the_limit_is_right() -> None:
    """An answer that is whole is taken, even if the limit was reached with its last token."""
    model = Model(answer('{"x": 1}  ', finish_reason="length"))
    assert (await ask_typed(model.ask, POINT)).parsed == Point(1)


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
    shape = AnswerShape.of(response_format)
    async with LMStudioAdapter(engine.model_id, base_url=engine.url, temperature=0, max_tokens=200) as adapter:

        async def ask(extra: Sequence[AnyMessage]) -> ModelResponse:
            messages = [UserMessage(content=prompt), *extra]
            return await adapter.generate_completion(messages=messages, extra={"response_format": shape.wire})

        return (await ask_typed(ask, shape, reask=1)).parsed


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
