"""A ModelResponse, put together from a request, the reply to it, and the chunks that were taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from neuroroute.messages import AnyMessage, AssistantMessage, FunctionCall, ToolCall, ToolMessage
from neuroroute.requests import ChatRequest
from neuroroute.responses import (
    Folded,
    ModelResponse,
    Note,
    ServerCall,
    StreamingChunk,
    TokenUsage,
    estimate_history_tokens,
    estimate_tokens,
    fold,
)
from neuroroute.wire.repair import repaired_json
from neuroroute.wire.toolcalls import is_object

if TYPE_CHECKING:
    from neuroroute.pipe.reply import Reply


def assembled(
    request: ChatRequest, reply: Reply | None, chunks: Sequence[StreamingChunk], processing_time: float
) -> ModelResponse:
    """What the chunks amount to; of an answer that broke off, as much as came.

    Args:
        request: what was asked.
        reply: None where none had begun.
        chunks: those that were taken.
        processing_time: seconds since the call.
    """
    if reply is None:
        return ModelResponse(
            text="",
            tokens=TokenUsage(estimated=True),
            model="",
            processing_time=processing_time,
            messages=[*request.messages],
            api=request.endpoint.api,
            request_id=request.id,
        )
    answer = reply.answer
    folded = fold(chunks, len(request.messages))
    notes = _notes(request, reply, folded)
    calls = folded.tool_calls
    if calls and answer.complete and answer.finish_reason != "length" and request.options["salvage"]:
        calls = _mended(calls, notes)
    legacy = request.offer is not None and request.offer.legacy
    function_call = calls[0].function if legacy and calls else None
    return ModelResponse(
        text=folded.text,
        tokens=_tokens(None if answer.before else answer.usage, request, folded),
        model=answer.model,
        processing_time=processing_time,
        messages=[
            *request.messages,
            *_ran_by_server(answer.server_calls, len(request.messages)),
            _message(folded.text, calls, function_call),
        ],
        reasoning=folded.reasoning,
        finish_reason=_finish_reason(answer.finish_reason, legacy, bool(calls) and answer.complete),
        function_call=function_call,
        tool_calls=() if legacy else calls,
        server_calls=answer.server_calls,
        stats=answer.stats,
        cached=request.cached,
        attempts=reply.attempts,
        host=reply.host,
        api=request.endpoint.api,
        response_id=answer.response_id if answer.complete else None,
        request_id=request.id,
        notes=(*request.notes, *notes),
        raw_json=answer.raw(folded),
    )


def _message(text: str, calls: tuple[ToolCall, ...], function_call: FunctionCall | None) -> AssistantMessage:
    """The answer as the next message of the history; reasoning is not part of it."""
    if function_call is not None:
        return AssistantMessage(content=text, function_call=function_call)
    return AssistantMessage(content=text, tool_calls=calls)


def _ran_by_server(calls: Sequence[ServerCall], place: int) -> list[AnyMessage]:
    """Calls that the server ran, and their results, as messages: a history without them would lack what was found."""
    if not calls:
        return []
    named = [(f"{place * 1000 + at:09}", call) for at, call in enumerate(calls)]
    asked = [
        ToolCall(id=call_id, function=FunctionCall(name=call.name, arguments=call.arguments)) for call_id, call in named
    ]
    told = [
        ToolMessage(
            tool_call_id=call_id,
            name=call.name or None,
            content=call.output if call.error is None else f"Error: {call.error}",
        )
        for call_id, call in named
    ]
    return [AssistantMessage(tool_calls=tuple(asked)), *told]


def _mended(calls: tuple[ToolCall, ...], notes: list[Note]) -> tuple[ToolCall, ...]:
    """The calls with slightly broken arguments put right, where there is one reading of them."""
    mended: list[ToolCall] = []
    for call in calls:
        text = call.function.arguments
        right = text if not text.strip() or is_object(text) else repaired_json(text)
        if right is None or right == text:
            mended.append(call)
        else:
            mended.append(replace(call, function=replace(call.function, arguments=right)))
    if count := sum(new is not old for new, old in zip(mended, calls, strict=True)):
        notes.append(Note("ARGUMENTS_REPAIRED", f"calls whose arguments were broken JSON with one reading: {count}"))
    return tuple(mended)


def _finish_reason(said: str | None, legacy: bool, called: bool) -> str | None:
    """A server may say "stop" of an answer that calls (LM Studio #821)."""
    if not called or said not in (None, "stop", "tool_calls", "function_call"):
        return said
    return "function_call" if legacy else "tool_calls"


def _notes(request: ChatRequest, reply: Reply, folded: Folded) -> list[Note]:
    legacy = request.offer is not None and request.offer.legacy
    notes: list[Note] = []
    if folded.reasoning and request.options["reasoning"] == "off":
        notes.append(Note("REASONING_NOT_HONOURED", "the model reasoned although reasoning was off"))
    if count := reply.answer.salvaged:
        notes.append(Note("CALLS_SALVAGED", f"calls that the model had left in its text, taken out of it: {count}"))
    if legacy and len(folded.tool_calls) > 1:
        others = ", ".join(call.function.name for call in folded.tool_calls[1:])
        notes.append(Note("FUNCTION_CALLS_LEFT_OUT", f"further calls, which this form cannot tell: {others}"))
    return notes


def _tokens(counted: TokenUsage | None, request: ChatRequest, folded: Folded) -> TokenUsage:
    """The server's count; an estimate where it has none, or counts nothing for something (LM Studio #1602)."""
    if counted is not None and counted.prompt and (counted.completion or not (folded.text or folded.reasoning)):
        return counted
    prompt = estimate_history_tokens(request.messages)
    completion = estimate_tokens(folded.text + folded.reasoning)
    return TokenUsage(prompt=prompt, completion=completion, total=prompt + completion, estimated=True)
