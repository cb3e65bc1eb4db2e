from __future__ import annotations

from neuroroute.messages import AssistantMessage, FunctionCall, ToolCall
from neuroroute.wire.legacy import calls_of

CALL = FunctionCall(name="f", arguments='{"a":1}')


def test_a_call_in_both_forms_is_counted_once() -> None:
    """The older form is added without an id, unless the same call is there in the newer form."""
    tool = ToolCall(id="1", function=CALL)
    other = ToolCall(id="1", function=FunctionCall(name="f", arguments="{}"))
    assert calls_of(AssistantMessage(content="x")) == ()
    assert calls_of(AssistantMessage(function_call=CALL)) == (ToolCall(id="", function=CALL),)
    assert calls_of(AssistantMessage(function_call=CALL, tool_calls=(tool,))) == (tool,)
    assert calls_of(AssistantMessage(function_call=CALL, tool_calls=(other,))) == (
        other,
        ToolCall(id="", function=CALL),
    )
