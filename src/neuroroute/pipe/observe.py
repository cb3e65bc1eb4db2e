"""Tells observers of requests and their attempts. Not in the pipe unless somebody listens."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from itertools import count

from neuroroute.errors import LMStudioError
from neuroroute.pipe.events import (
    AnswerReceived,
    AttemptEnded,
    AttemptStarted,
    CallsSalvaged,
    Observer,
    Outcome,
    PromptSent,
    RequestEnded,
    RequestStarted,
    Tell,
    bare,
    wants_content,
)
from neuroroute.pipe.reply import Clock, Layer, Reply, Send
from neuroroute.pipe.watched import WatchedReply
from neuroroute.requests import ChatRequest, Tally
from neuroroute.responses import StreamingChunk, TokenUsage, fold
from neuroroute.wire.decoder import Decoder

PARAMETERS = (
    "temperature",
    "max_tokens",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repeat_penalty",
    "seed",
)
"""Options that are told: numbers, which hold nothing of a prompt."""

_PROCESS = secrets.token_hex(3)
_numbers = count(1)


def watching(observers: Sequence[Observer], tell: Tell, clock: Clock) -> tuple[list[Layer], list[Layer]]:
    """The outermost layers and the innermost; none where nobody listens."""
    if not observers:
        return [], []
    return [observe(tell, clock, content=any(map(wants_content, observers)))], [attempting(tell, clock)]


def observe(tell: Tell, clock: Clock, *, content: bool) -> Layer:
    """The outermost layer: it sees what the caller sees.

    Args:
        tell: tells the observers.
        clock: measures.
        content: whether one of them wants to know what is said.
    """

    async def layer(request: ChatRequest, send: Send) -> Reply:
        request.id = f"{_PROCESS}-{next(_numbers):x}"
        request.tally = Tally()
        seen = _Request(request, tell, clock, content=content)
        seen.begin()
        try:
            reply = await send(request)
        except LMStudioError as error:
            seen.end("failed", error)
            raise
        except BaseException:
            seen.end("left", None)
            raise
        return seen.answered(reply)

    return layer


class _Request:
    """What is told of one request."""

    __slots__ = ("_began", "_chunks", "_clock", "_content", "_reply", "_request", "_tell", "_ttft_ms")

    def __init__(self, request: ChatRequest, tell: Tell, clock: Clock, *, content: bool) -> None:
        self._request = request
        self._tell = tell
        self._clock = clock
        self._content = content
        self._began = clock.monotonic() - request.spent
        self._chunks: list[StreamingChunk] = []
        self._reply: Reply | None = None
        self._ttft_ms: float | None = None

    def begin(self) -> None:
        """It sets out."""
        request = self._request
        options = {} if request.endpoint.api == "embeddings" else request.options
        self._tell(
            RequestStarted(
                host=request.host,
                model=request.model,
                request_id=request.id,
                api=request.endpoint.api,
                streaming=request.streaming,
                parameters={name: options[name] for name in PARAMETERS if options.get(name) is not None},
            )
        )
        if self._content:
            self._tell(
                PromptSent(
                    host=request.host, model=request.model, request_id=request.id, messages=tuple(request.messages)
                )
            )

    def answered(self, reply: Reply) -> Reply:
        """Its answer has begun."""
        self._reply = reply
        if self._request.streaming:
            self._ttft_ms = self._since()
        elif reply.answer.ended:  # nobody need read a whole answer
            self._chunks += reply.ready
            self.end("answered", None)
            return reply
        return WatchedReply(reply, self.end, self._chunks.extend if self._content else None)

    def end(self, outcome: Outcome, error: LMStudioError | None) -> None:
        """It is over."""
        request, answer = self._request, None if self._reply is None else self._reply.answer
        host = self._reply.host if self._reply is not None else request.host
        if self._content and answer is not None:
            self._tell_answer(host)
        if answer is not None and answer.salvaged:
            self._tell(CallsSalvaged(host=host, model=request.model, request_id=request.id, count=answer.salvaged))
        self._tell(
            RequestEnded(
                host=host,
                model=request.model,
                request_id=request.id,
                api=request.endpoint.api,
                streaming=request.streaming,
                outcome=outcome,
                error=None if error is None else bare(error),
                duration_ms=self._since(),
                ttft_ms=self._ttft_ms,
                attempts=0 if request.tally is None else request.tally.count,
                answered_by="" if answer is None else answer.model,
                finish_reason=None if answer is None else answer.finish_reason,
                tokens=_counted(answer),
                cached=request.cached,
            )
        )

    def _since(self) -> float:
        """Milliseconds since the call."""
        return (self._clock.monotonic() - self._began) * 1000

    def _tell_answer(self, host: str) -> None:
        request, folded = self._request, fold(self._chunks, len(self._request.messages))
        self._tell(
            AnswerReceived(
                host=host,
                model=request.model,
                request_id=request.id,
                text=folded.text,
                reasoning=folded.reasoning,
                tool_calls=folded.tool_calls,
            )
        )


def _counted(answer: Decoder | None) -> TokenUsage | None:
    """What the server counted, where that is all of it; LM Studio has been seen to count nothing (#1602)."""
    usage = None if answer is None or answer.before else answer.usage
    return usage if usage is not None and usage.prompt else None


def attempting(tell: Tell, clock: Clock) -> Layer:
    """The innermost layer: what passes here is sent."""

    async def layer(request: ChatRequest, send: Send) -> Reply:
        number = 1 if request.tally is None else request.tally.one_more()
        started = AttemptStarted(
            host=request.host, model=request.model, request_id=request.id, attempt=number, headers={}
        )
        began = clock.monotonic()
        tell(started)
        request.headers = started.headers
        end = partial(ended, request.host, request.model, request.id, number, began)
        try:
            reply = await send(request)
        except LMStudioError as error:
            end("failed", error)
            raise
        except BaseException:
            end("left", None)
            raise
        if reply.answer.ended and not request.streaming:
            end("answered", None)
            return reply
        return WatchedReply(reply, end)

    def ended(
        host: str, model: str, request_id: str, number: int, began: float, outcome: Outcome, error: LMStudioError | None
    ) -> None:
        tell(
            AttemptEnded(
                host=host,
                model=model,
                request_id=request_id,
                attempt=number,
                outcome=outcome,
                error=None if error is None else bare(error),
                duration_ms=(clock.monotonic() - began) * 1000,
            )
        )

    return layer
