"""Asking until the answer is of the type that was asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec

from neuroroute.errors import StructuredOutputError
from neuroroute.messages import AnyMessage, AssistantMessage, UserMessage
from neuroroute.responses import ModelResponse, Note
from neuroroute.shapes.shape import AnswerShape

Ask: TypeAlias = Callable[[Sequence[AnyMessage]], Awaitable[ModelResponse]]
"""Asks the model and reads its answer (``parsed``); the messages given come after the history."""


async def ask_typed(ask: Ask, shape: AnswerShape, reask: int = 0) -> ModelResponse:
    """Asks, and asks again with the validation error where the answer is not of its type.

    Each time the model is shown its last answer, what is wrong with it and the schema, which it has not seen before:
    servers use it for the grammar only. An answer that was cut off (finish reason ``length``) is not asked for again.

    Args:
        ask: Asks the model.
        shape: What the answer is to look like.
        reask: How often to ask again at most.

    Returns:
        The last response, with ``parsed``; its tokens, time and attempts are those of the last request alone. A note
        tells how often it was asked again.

    Raises:
        StructuredOutputError: the last answer is not what was asked for either; ``partial`` is its response.
    """
    extra: tuple[AnyMessage, ...] = ()
    reasked = 0
    while True:
        try:
            response = await ask(extra)
        except StructuredOutputError as error:
            faulty = error.partial
            if faulty is None or reasked == reask or faulty.finish_reason == "length":
                raise
            extra = _correction(faulty, shape, error)
            reasked += 1
            continue
        if reasked:
            often = "once" if reasked == 1 else f"{reasked} times"
            response.notes += (Note("STRUCTURED_REASKED", f"asked again {often} for an answer of the right type"),)
        return response


def _correction(response: ModelResponse, shape: AnswerShape, error: StructuredOutputError) -> tuple[AnyMessage, ...]:
    schema = msgspec.json.encode(shape.wire["json_schema"]["schema"]).decode() if shape.wire else ""
    said = response.text if response.text.strip() else "(no answer)"
    wanted = "Answer again with the corrected JSON only, nothing before or after it. It must match this JSON schema:"
    return (
        AssistantMessage(content=said),
        UserMessage(content=f"That is not right: {error.message}.\n{wanted}\n{schema}"),
    )
