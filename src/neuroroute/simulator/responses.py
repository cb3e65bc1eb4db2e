"""``POST /v1/responses``: what it takes, what it keeps, and how it words its errors. Pure: nothing is sent here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neuroroute.simulator import wordings
from neuroroute.simulator.answers import Fail, Refused
from neuroroute.simulator.loosely import as_array, as_object
from neuroroute.simulator.validation import refused_images
from neuroroute.simulator.wordings import ErrorCase, object_error

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from neuroroute.simulator.chat import Completion

Message = dict[str, Any]


def read(stored: Mapping[str, Sequence[Message]], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request as one to chat, after what was said before.

    Args:
        stored: What was said in all, by the ids of responses.
        body: The request.

    Raises:
        Refused: It is wrong, or continues what is not stored.
    """
    previous = body.get("previous_response_id")
    if previous is not None and previous not in stored:
        raise Refused(wordings.stale_response(str(previous)))
    instructions = body.get("instructions")
    system = [{"role": "system", "content": instructions}] if instructions else []
    asked = {
        **body,
        "messages": [*system, *stored.get(str(previous), ()), *_messages_of(body.get("input"))],
        "reasoning_effort": as_object(body.get("reasoning")).get("effort"),
    }
    if refused := refused_images(asked):
        raise Refused(_invalid(refused.name, refused.message, None))
    return asked


def keep(stored: MutableMapping[str, Sequence[Message]], completion: Completion) -> None:
    """Stores what was said so far, unless the request forbids it; instructions are for one response only."""
    asked = completion.request
    if asked.get("store") is False:
        return
    messages = asked["messages"][1 if asked.get("instructions") else 0 :]
    said: Message = {"role": "assistant", "content": completion.answer.text, "tool_calls": completion.calls}
    stored[completion.id] = [*messages, said]


def as_responses(case: ErrorCase | Fail) -> ErrorCase | Fail:
    """A failure in the envelope of this route; one given word for word stays as it is."""
    if isinstance(case, Fail) or case.endpoint == "responses":
        return case
    if isinstance(json.loads(case.body)["error"], dict):  # about the model, and an object everywhere
        return replace(case, endpoint="responses")
    return object_error(
        case.name, case.message, status=500, endpoint="responses", type="internal_error", code="unknown"
    )


def _messages_of(given: object) -> list[Message]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    items = as_array(given)
    if not items:
        message = '"input" is required' if given is None else "'input' must be a string or a list of items"
        raise Refused(_invalid("responses_input", message, "missing_required_parameter" if given is None else None))
    return [message for item in items for message in _messages_of_item(as_object(item))]


def _messages_of_item(item: Mapping[str, Any]) -> list[Message]:
    match item.get("type", "message"):
        case "message" if isinstance(item.get("role"), str):
            return [{"role": item["role"], "content": _content(item.get("content"))}]
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            return [{"role": "assistant", "content": "", "tool_calls": [call]}]
        case "function_call_output" if item.get("call_id"):
            return [{"role": "tool", "tool_call_id": item["call_id"], "content": _content(item.get("output"))}]
        case "reasoning":
            return []
        case kind:
            raise Refused(_invalid("responses_input", f"Invalid item of type '{kind}' in 'input'", "invalid_value"))


def _content(given: object) -> str | list[Message]:
    return given if isinstance(given, str) else [_part(as_object(part)) for part in as_array(given)]


def _part(part: Mapping[str, Any]) -> Message:
    if part.get("type") == "input_image":
        return {"type": "image_url", "image_url": {"url": str(part.get("image_url", ""))}}
    return {"type": "text", "text": str(part.get("text", ""))}


def _invalid(name: str, message: str, code: str | None) -> ErrorCase:
    return object_error(name, message, endpoint="responses", param="input", code=code)
