"""``POST /api/v1/chat``: the native chat, whole and streamed, which keeps what was said."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from neuroroute.simulator import delivery, nativeanswer, validation
from neuroroute.simulator.answers import Answer, Fail, Refused
from neuroroute.simulator.chat import text_of
from neuroroute.simulator.loosely import as_object
from neuroroute.simulator.native import as_native, check, native_error, not_found
from neuroroute.simulator.nativeanswer import Telling, named
from neuroroute.simulator.predicting import Predicting
from neuroroute.simulator.sending import Outgoing, Piece, Sending
from neuroroute.simulator.style import Style, style_of
from neuroroute.simulator.wordings import text_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.received import Received

_STREAM = Sending((), content_type="text/event-stream")


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request, and how its answer is told."""

    received: Received
    body: Mapping[str, Any]
    messages: list[Mapping[str, Any]]
    outgoing: Outgoing
    telling: Telling

    async def event(self, type: str, **fields: Any) -> None:  # noqa: A002 - the field's name
        """An event, where the answer is a stream."""
        if self.outgoing.begun:
            await self.outgoing.write([Piece(named(type, **fields))])


class NativeChat(Predicting):
    """A server that has the native chat."""

    def __init__(self, *, port: int, keepalive_timeout: float) -> None:
        super().__init__(port=port, keepalive_timeout=keepalive_timeout)
        self._chats: dict[str, list[Mapping[str, Any]]] = {}

    async def _native_chat(self, received: Received, body: Mapping[str, Any], outgoing: Outgoing) -> web.StreamResponse:
        for name in ("model", "input"):
            check(body, required=name, known=nativeanswer.KEYS)
        model = self._native_model(str(body["model"]))
        if wrong := nativeanswer.refused_reasoning(model, body.get("reasoning")):
            raise Refused(wrong)
        previous = body.get("previous_response_id")
        if previous is not None and previous not in self._chats:
            raise Refused(nativeanswer.stale_response(str(previous)))
        messages = nativeanswer.messages_of(body, self._chats.get(str(previous), []))
        telling = Telling.of((model.instance_ids or [model.key])[0], messages)
        exchange = _Exchange(received, body, messages, outgoing, telling)
        if body.get("stream") is not True:
            return await self._native_answer(exchange, model)
        response = await outgoing.begin(_STREAM)
        await outgoing.write([Piece(named("chat.start", model_instance_id=telling.instance))])
        try:
            await self._native_answer(exchange, model)
        except Refused as refused:
            await self._native_break(exchange, refused)
        return response

    def _native_model(self, asked: str) -> SimulatedModel:
        for model in self.models:
            if model.type == "llm" and (asked in model.instance_ids or model.key.lower() == asked.lower()):
                if model.loaded or self.jit:
                    return model
                break
        raise Refused(not_found(asked))

    async def _native_answer(self, exchange: _Exchange, model: SimulatedModel) -> web.StreamResponse:
        telling = exchange.telling
        telling.instance = await self._native_instance(exchange, model)
        context = model.config(telling.instance)["context_length"]
        chat_body = {"messages": exchange.messages}
        if refused := validation.refusal_by(model, chat_body, context, self.profile):
            raise Refused(refused)
        async with self._hold(model, telling.instance):
            said = await self._next_answer(exchange.received, f"You said: {text_of(exchange.messages[-1])}")
            if isinstance(said, Fail):
                raise Refused(said)
            style = style_of(model, {}, telling.prompt, self.profile, self.unknowns)
            style = replace(style, silent=exchange.body.get("reasoning") == "off")
            if exchange.outgoing.begun:
                return await self._native_stream(exchange, said, style)
            return await self._native_whole(exchange, said, style)

    async def _native_instance(self, exchange: _Exchange, model: SimulatedModel) -> str:
        """The instance that answers; while it loads, a stream tells how far that is."""
        config = {"context_length": exchange.body["context_length"]} if "context_length" in exchange.body else {}
        asked = str(exchange.body["model"])
        if model.loaded:
            return (await self._lifecycle.find(asked, config))[1]
        began = time.monotonic()
        await exchange.event("model_load.start", model_instance_id=model.key)
        finding = asyncio.create_task(self._lifecycle.find(asked, config))
        try:
            while not (await asyncio.wait({finding}, timeout=min(0.25, max(0.01, model.load_seconds / 5))))[0]:
                progress = round(model.load_progress or 0.0, 3)
                await exchange.event("model_load.progress", model_instance_id=model.key, progress=progress)
        finally:
            finding.cancel()
        instance = finding.result()[1]
        exchange.telling.load_seconds = seconds = round(time.monotonic() - began, 3)
        await exchange.event("model_load.end", model_instance_id=instance, load_time_seconds=seconds)
        return instance

    async def _native_stream(self, exchange: _Exchange, answer: Answer, style: Style) -> web.StreamResponse:
        outgoing, telling = exchange.outgoing, exchange.telling
        await asyncio.sleep(answer.delay)
        fault = answer.stream_fault
        if fault is not None and fault.kind == "start":
            return outgoing.response
        await outgoing.write(nativeanswer.reading(style, twice=self.unknowns.prefill_ends_twice))
        await outgoing.write(nativeanswer.saying(telling, answer, style))
        if fault is None:
            self._keep(exchange, answer)
            await exchange.event("chat.end", result=telling.result(style, answer))
        elif fault.kind == "error":
            raise Refused(text_error("scripted", fault.message))
        else:
            await outgoing.end(fault.kind if fault.kind in ("cut", "reset", "hang") else "clean")
        return outgoing.response

    async def _native_whole(self, exchange: _Exchange, answer: Answer, style: Style) -> web.StreamResponse:
        deltas = len(list(exchange.telling.steps(answer, style))) - len(answer.mcp_calls)
        self._keep(exchange, answer)
        await asyncio.sleep(sum(call.seconds for call in answer.mcp_calls))
        body = exchange.telling.result(style, answer)
        return await exchange.outgoing.send(delivery.whole(answer, style, body, deltas=deltas))

    async def _native_break(self, exchange: _Exchange, refused: Refused) -> None:
        """A stream that fails: an error event and, as the documentation has it, what was said so far."""
        error = as_object(Refused(as_native(refused.case)).error)
        if not error:  # words alone, or none
            error = as_object(Refused(native_error("scripted", refused.message)).error)
        await exchange.outgoing.write([Piece(nativeanswer.error_event(error))])
        if self.unknowns.native_error_ends:
            await exchange.event("chat.end", result=exchange.telling.result(None, None))

    def _keep(self, exchange: _Exchange, answer: Answer) -> None:
        if exchange.body.get("store") is False:
            return
        id = exchange.telling.response_id = answer.id or f"resp_{next(self._ids)}"  # noqa: A001 - the field's name
        self._chats[id] = [*exchange.messages, {"role": "assistant", "content": exchange.telling.said("message")}]
