"""The older form of tools, ``functions`` and ``function_call``, in the newer one: LM Studio ignores the older."""

from __future__ import annotations

from neuroroute.messages import AssistantMessage, FunctionCall, ToolCall


def calls_of(message: AssistantMessage) -> tuple[ToolCall, ...]:
    """The calls of a message, one in the older form last and without an id; not twice where it is in both forms."""
    call = message.function_call
    if call is None or any(_same(call, tool.function) for tool in message.tool_calls):
        return message.tool_calls
    return (*message.tool_calls, ToolCall(id="", function=call))


def _same(one: FunctionCall, other: FunctionCall) -> bool:
    return one.name == other.name and one.arguments == other.arguments
