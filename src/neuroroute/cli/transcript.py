"""A conversation as a file: JSON for programs, Markdown for reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from neuroroute.cli.remarks import called
from neuroroute.messages import AnyMessage, AssistantMessage, FunctionCall, ToolMessage


def as_json(messages: Sequence[AnyMessage], model: str) -> str:
    """The conversation as JSON: the model, and messages as the server takes them."""
    plain = msgspec.json.encode({"model": model, "messages": messages})
    return msgspec.json.format(plain, indent=2).decode() + "\n"


def as_markdown(messages: Iterable[AnyMessage], model: str) -> str:
    """The conversation for reading; calls as the live chat tells them, results under the name of their tool."""
    names = {"system": "System", "user": "You", "assistant": model}
    by_id: dict[str, str] = {}
    parts: list[str] = []
    for message in messages:
        blocks = [message.text] if message.text else []
        heading = names.get(message.role) or message.name or message.role
        if isinstance(message, AssistantMessage):
            by_id |= {call.id: call.function.name for call in message.tool_calls}
            blocks += [_code(called(call)) for call in _calls(message)]
        elif isinstance(message, ToolMessage):
            heading = message.name or by_id.get(message.tool_call_id, message.role)
        parts.append("\n\n".join([f"## {heading}", *(blocks or [""])]) + "\n")
    return "\n".join(parts)


def _calls(message: AssistantMessage) -> list[FunctionCall]:
    older = [] if message.function_call is None else [message.function_call]
    return [*(call.function for call in message.tool_calls), *older]


def _code(line: str) -> str:
    """A block of code: arguments are JSON, in which Markdown would find marks of its own."""
    return "".join(f"    {each}" for each in line.splitlines(keepends=True))
