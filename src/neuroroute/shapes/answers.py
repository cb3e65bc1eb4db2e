"""The typed value of an answer."""

from __future__ import annotations

from neuroroute.errors import StructuredOutputError
from neuroroute.responses import ModelResponse, Note
from neuroroute.shapes.shape import AnswerShape

_CUT = "Raise max_tokens: the answer was cut off at that length, so asking again for the same would not help."


def set_parsed(response: ModelResponse, shape: AnswerShape) -> None:
    """Sets ``parsed``, with a note if the answer stood in the reasoning.

    An answer that asks for calls is left as it is: the typed answer comes after their results.

    Raises:
        StructuredOutputError: it is not what was asked for; ``partial`` is the response.
    """
    if response.tool_calls or response.function_call or shape.wire is None:
        return
    try:
        parsed = shape.parsed(response.text, response.reasoning)
        if response.finish_reason == "length" and (parsed.in_reasoning or response.text[-1:].isdigit()):
            raise StructuredOutputError("the answer may go on where it was cut off")
    except StructuredOutputError as error:
        error.partial = response
        error.model = response.model
        if response.finish_reason == "length":
            error.hint = _CUT
        raise
    response.parsed = parsed.value
    if parsed.in_reasoning:
        response.notes += (Note("STRUCTURED_IN_REASONING", "the content was empty; the JSON stood in the reasoning"),)
