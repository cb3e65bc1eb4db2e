"""``continue_stream``: a stream that breaks off is followed by another, in which the model goes on from its text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from msgspec.structs import replace

from neuroroute.errors import LMStudioError
from neuroroute.messages import AssistantMessage, UserMessage
from neuroroute.pipe.breaker import counts
from neuroroute.pipe.events import StreamContinued, Tell, bare
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.reply import Layer, OuterReply, Reply, Send
from neuroroute.pipe.retry import retries_of
from neuroroute.requests import ChatRequest
from neuroroute.responses import Note, estimate_tokens

GO_ON = "Continue your answer from where it stopped, without repeating it."
"""What the model is asked. Plain words: a small model refuses what sounds like an order about its own message, and a
history that ends with the assistant is begun anew by some engines (llama.cpp sends the whole text again)."""


def continuing(hosts: Hosts, tell: Tell) -> Layer:
    """The layer. A continuation is paid from the host's retry budget, and there are ``max_retries`` at most."""

    def layer(request: ChatRequest, send: Send) -> Awaitable[Reply]:
        return continued(request, send) if request.options["continue_stream"] and request.streaming else send(request)

    async def continued(request: ChatRequest, send: Send) -> Reply:
        return ContinuedReply(await send(request), request, send, hosts, tell)

    return layer


class ContinuedReply(OuterReply):
    """A reply, and those that go on from where it broke off; it tells of the one that answers now."""

    def __init__(self, reply: Reply, request: ChatRequest, send: Send, hosts: Hosts, tell: Tell) -> None:
        super().__init__(reply)
        self._request = request
        self._send = send
        self._hosts = hosts
        self._tell = tell
        self._text: list[str] = []
        self._has_calls = False
        self._continuations = 0
        self._left = False
        self._note(0)

    async def read(self) -> bool:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        known = len(self._reply.ready)
        try:
            more = await self._reply.read()
        except LMStudioError as error:
            if self._left or not counts(error):
                raise
            self._reply.answer.finish()  # what was held back in case that it was a tag is text, now
            self._note(known)
            await self._go_on(error)
            return True
        except BaseException:
            self._left = True  # its reader was cancelled: that is not the server's breaking off
            raise
        self._note(known)
        return more

    def close(self) -> None:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        self._left = True
        self._reply.close()

    def _note(self, known: int) -> None:
        """Keeps what is new of the text, to go on from it."""
        for chunk in list(self._reply.ready)[known:]:
            self._text.append(chunk.chunk)
            self._has_calls = self._has_calls or bool(chunk.tool_calls)

    async def _go_on(self, error: LMStudioError) -> None:
        """Takes another reply, with what is still to be handed out of this one before it.

        Raises:
            LMStudioError: there is none: the error itself.
        """
        follow_up = self._follow_up()
        if follow_up is None or not self._hosts.of(self._request).budget.spend():
            raise error
        self._continuations += 1
        try:
            reply = await self._send(follow_up)
        except LMStudioError as failure:
            raise error from failure
        except BaseException:
            self._left = True
            raise
        note = self._request.different_model(reply.answer.model)
        if self._left or (note is not None and self._request.options["strict_model"]):
            reply.close()
            raise error
        if note is not None:
            self._request.notes.append(note)
        reply.answer.before = "".join(self._text)
        known = len(reply.ready)
        reply.ready.extendleft(reversed(self._reply.ready))
        reply.attempts += self._reply.attempts
        self._reply = reply
        self._note(len(reply.ready) - known)
        self._request.notes.append(Note("STREAM_CONTINUED", f"it broke off ({error.message}), and was continued"))
        request = self._request
        self._tell(StreamContinued(host=reply.host, model=request.model, request_id=request.id, error=bare(error)))

    def _follow_up(self) -> ChatRequest | None:
        """The request for the rest; None where that cannot be asked for."""
        request, text = self._request, "".join(self._text)
        seconds = request.total_deadline - asyncio.get_running_loop().time()
        if self._continuations >= retries_of(request) or self._has_calls or not text.strip() or seconds <= 0:
            return None
        options = {**request.options, "total_timeout_ms": seconds * 1000}
        if (most := options["max_tokens"]) > 0:
            options["max_tokens"] = most - estimate_tokens(text)
            if options["max_tokens"] < 1:
                return None
        messages = [*request.messages, AssistantMessage(content=text), UserMessage(content=GO_ON)]
        follow_up = replace(request, messages=messages, options=options, failures=[], failovers=0, limits=[], spent=0.0)
        follow_up.encode()
        return follow_up
