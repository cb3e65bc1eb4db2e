"""Requests to a model: which one answers, when it is its turn, what it says, and how that is sent."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuroroute.simulator import delivery, embeddings, validation
from neuroroute.simulator.answers import Fail, Refused
from neuroroute.simulator.chat import Completion, prompt_tokens, text_of
from neuroroute.simulator.controls import Controlled
from neuroroute.simulator.loosely import as_object
from neuroroute.simulator.scripted import Scripted
from neuroroute.simulator.sending import of_fail
from neuroroute.simulator.style import style_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from neuroroute.simulator.answers import Answer
    from neuroroute.simulator.delivery import Events
    from neuroroute.simulator.forms import Form
    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.received import Received
    from neuroroute.simulator.sending import Outgoing, Sending


@dataclass(slots=True)
class _Prediction:
    """One request to a model, and how its answer is told."""

    received: Received
    outgoing: Outgoing
    form: Form
    events: Events | None = None
    """Of an answer that is a stream."""


class Predicting(Scripted, Controlled):
    """A server whose models answer."""

    def __init__(self, *, port: int, keepalive_timeout: float) -> None:
        Scripted.__init__(self)
        Controlled.__init__(self, port=port, keepalive_timeout=keepalive_timeout)
        self._ids = itertools.count(1)

    def _body(self, received: Received) -> dict[str, Any]:
        try:
            return as_object(received.json)
        except ValueError:
            raise Refused(self.unknowns.bad_json) from None

    # ── Text ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _predict(self, received: Received, outgoing: Outgoing, form: Form) -> web.StreamResponse:
        if failure := self._next_shared_failure(received.path):
            return await outgoing.send(of_fail(failure))
        prediction = _Prediction(received, outgoing, form)
        try:
            return await self._predicted(prediction, form.read(self._body(received)))
        except Refused as refused:
            fail = Refused(form.case(refused.case)).fail
            return await outgoing.break_off(fail, self._last_words(prediction, refused.message))

    async def _predicted(self, prediction: _Prediction, asked: Mapping[str, Any]) -> web.StreamResponse:
        model, instance = await self._lifecycle.find(str(asked.get("model", "")))
        context = model.config(instance)["context_length"]
        if refused := validation.refusal_by(model, asked, context, self.profile):
            raise Refused(refused)
        async with self._hold(model, instance):
            said = await self._next_answer(prediction.received, _echo(asked))
            if isinstance(said, Fail):
                return await prediction.outgoing.send(of_fail(said))
            completion = Completion(
                said,
                asked,
                id=said.id or f"{prediction.form.ids}{next(self._ids)}",
                created=int(time.time()) if said.created is None else said.created,
                model=said.model or instance,
                style=style_of(model, asked, prompt_tokens(asked), self.profile, self.unknowns),
                source=model,
                context=context,
            )
            return await prediction.outgoing.send(_sending(prediction, completion))

    def _last_words(self, prediction: _Prediction, message: str) -> bytes:
        """What ends a stream that has begun and fails."""
        events = prediction.events
        if events is None:
            return b""
        sent = max(0, prediction.outgoing.written - len(events.opening))
        return b"".join(events.failed(message, sent, self.unknowns.done_after_error))

    # ── Vectors ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _embed(self, received: Received, outgoing: Outgoing) -> web.StreamResponse:
        body = self._body(received)
        texts = embeddings.texts_of(body)
        model, instance = await self._lifecycle.find(str(body.get("model", "")), kind="embedding")
        async with self._hold(model, instance):
            said = self._next_of_path(received)
            if isinstance(said, Fail):
                return await outgoing.send(of_fail(said))
            return await outgoing.send(self._embedded(model, instance, texts, said))

    def _embedded(self, model: SimulatedModel, instance: str, texts: list[str], said: Answer) -> Sending:
        left = [embeddings.truncated(text, model.config(instance)["context_length"]) for text in texts]
        words = sum(len(text.split()) for text in left)
        style = style_of(model, {}, words, self.profile, self.unknowns)
        if said.raw_chunks is not None:
            return delivery.streamed(said, style, delivery.Events((), (), _nothing))
        body = embeddings.body(said.model or instance, left, model.dimensions, said.usage)
        return delivery.whole(said, style, body, deltas=0)


def _nothing(_message: str, _sent: int, _done: bool) -> list[bytes]:
    return []


def _sending(prediction: _Prediction, completion: Completion) -> Sending:
    answer, style, form = completion.answer, completion.style, prediction.form
    if answer.stream_fault is None:
        form.keep(completion)
    if completion.request.get("stream") is True or answer.raw_chunks is not None:
        prediction.events = form.events(completion)
        return delivery.streamed(answer, style, prediction.events)
    deltas = len(form.events(completion).deltas) if style.delta else 0
    return delivery.whole(answer, style, form.body(completion), deltas=deltas)


def _echo(asked: Mapping[str, Any]) -> str:
    said = [text_of(message) for message in asked["messages"] if message["role"] == "user"]
    return f"You said: {said[-1]}" if said else "You said nothing."
