"""A reply that streams: reads events as they come, and ends in every case."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from neuroroute.errors import (
    LMStudioError,
    MalformedResponseError,
    ModelEmptyResponseError,
    ModelTimeoutError,
    NetworkError,
    StreamInterruptedError,
)
from neuroroute.limits import milliseconds
from neuroroute.pipe.strangers import STRANGERS, translated
from neuroroute.requests import ChatRequest
from neuroroute.responses import StreamingChunk
from neuroroute.wire.sse import SSEParser

if TYPE_CHECKING:
    import aiohttp

AFTER_FINISH_SECONDS = 2.0
"""How long ``[DONE]`` and usage may take after a finish reason; without them the answer is whole all the same."""

UNREAD_LOOK_SECONDS = 1.0
"""How often a stream that nobody reads is looked after: a server that has left it must not hold its slot."""

AFTER_DONE_SECONDS = 0.1
"""How long the end of the body may take after ``[DONE]``, so that the connection can be used again."""


class EventReply:
    """An answer as server-sent events.

    ::

        begin ──first meaningful chunk──► open ──finish reason or [DONE], then the end──► ended
          └────────────────failure─────────┴────────────► failed (the socket is closed)
    """

    __slots__ = (
        "__weakref__",
        "_actions",
        "_failure",
        "_idle",
        "_judges",
        "_last_sign",
        "_loop",
        "_max_bytes",
        "_over",
        "_parser",
        "_readany",
        "_received",
        "_request",
        "_response",
        "_timer",
        "_total_limit",
        "_waiting",
        "answer",
        "attempts",
        "host",
        "ready",
    )

    def __init__(self, response: aiohttp.ClientResponse, request: ChatRequest, max_bytes: int) -> None:
        self.ready: deque[StreamingChunk] = deque()
        self.answer = request.endpoint.decoder(self.ready.append, request)
        self.host = request.host
        self.attempts = 1
        self._response = response
        self._readany = response.content.readany
        self._parser = SSEParser()
        self._max_bytes = max_bytes
        self._received = 0
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._idle: float = request.options["idle_timeout_ms"] / 1000
        self._total_limit = "total_timeout_ms" if request.streaming else "timeout_ms"
        self._last_sign = 0.0
        self._waiting = False
        self._failure: LMStudioError | None = None
        self._over = False
        self._actions: list[Callable[[], None]] = []
        self._judges: list[Callable[[LMStudioError | None], None]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        """Reads up to the first meaningful chunk. Time limits until then are those of the attempt.

        Raises:
            LMStudioError: it did not come.
        """
        while not self.answer.began:
            if not await self.read():
                raise ModelEmptyResponseError("the answer has neither content nor reasoning nor a call")
        if not self._over and self._timer is None:
            self._last_sign = self._loop.time()
            self._watch()

    async def read(self) -> bool:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        if self._over:
            return self._was_whole()
        try:
            if self.answer.ended or self._failure is not None:
                return await self._end()
            self._last_sign = self._loop.time()
            self._waiting = True
            try:
                data = await self._readany()
            except STRANGERS as error:
                data = self._broken(error)
            finally:
                self._waiting = False
            if not data:
                return await self._end()
            self._take(data)
        except LMStudioError as error:
            self._failure = error
            self.close()
            raise
        except BaseException:
            self.close()
            raise
        return True

    def close(self) -> None:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        self._leave(judged=self._failure is not None or self.answer.complete)

    def break_off(self, why: str) -> None:
        """Closes it under its reader, who is told why; that is nothing to judge a server by."""
        if not self._over and self._failure is None and not self.answer.complete:
            self._failure = StreamInterruptedError(why)
        self._leave(judged=False)

    def _leave(self, *, judged: bool) -> None:
        if not self._over:
            self._response.close()
            self._finish(judged=judged)

    def when_over(self, action: Callable[[], None]) -> None:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        if self._over:
            action()
        else:
            self._actions.append(action)
            self._response.content.on_eof(self._let_go)

    def when_judged(self, action: Callable[[LMStudioError | None], None]) -> None:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        if not self._over:
            self._judges.append(action)
        elif self.answer.complete or self._failure is not None:
            action(self._verdict())

    def _take(self, data: bytes) -> None:
        answer = self.answer
        had_finished = answer.complete
        self._received += len(data)
        try:
            if self._received > self._max_bytes:
                raise MalformedResponseError(f"the answer is larger than max_response_bytes={self._max_bytes}")
            answer.events(self._parser.feed(data))
        except LMStudioError as error:
            self._failure = error  # raised once the chunks before it have been taken
        if answer.complete and not had_finished:
            self._hurry()

    def _broken(self, error: Exception) -> bytes:
        """Notes why the connection broke; what came before it did, and was not taken yet."""
        if self._failure is None:
            self._failure = self._unfinished() if self.answer.began else translated(error)
        self._failure.__cause__ = error
        with contextlib.suppress(AttributeError):
            # aiohttp raises before it hands out the rest; a slow reader would lose what had come.
            return self._response.content._read_nowait(-1)  # pyright: ignore[reportPrivateUsage]
        return b""

    def _unfinished(self) -> LMStudioError:
        if self.answer.began:
            return StreamInterruptedError("the stream ended without a finish reason and without [DONE]")
        return NetworkError("the stream ended before its first chunk")

    async def _end(self) -> bool:
        """Nothing more comes: gives the connection back if the body ends at once, else closes it.

        An answer that told its end is whole, whatever happened after that.
        """
        if not self.answer.complete and self._failure is None:
            self._take_rest()
        if not self.answer.complete:
            raise self._failure or self._unfinished()
        self.answer.finish()
        try:
            if not self._response.content.at_eof():
                async with asyncio.timeout(AFTER_DONE_SECONDS):
                    while await self._readany():
                        pass
        except (*STRANGERS, TimeoutError):
            self.close()
        else:
            self._response.release()
            self._finish(judged=True)
        return bool(self.ready)

    def _take_rest(self) -> None:
        """An end of the body that came before the end of the last event: it may still tell the finish reason."""
        with contextlib.suppress(LMStudioError):
            self.answer.events(self._parser.rest())

    def _was_whole(self) -> bool:
        if not self.answer.complete:
            raise self._failure or StreamInterruptedError("the stream was left before its end")
        return False

    def _verdict(self) -> LMStudioError | None:
        """How it ended; an answer that told its end is whole, whatever happened after that."""
        return None if self.answer.complete else self._failure

    def _finish(self, *, judged: bool) -> None:
        self._over = True
        self._stop_timer()
        self._let_go()
        judges, self._judges = self._judges, []
        for judge in judges if judged else ():
            judge(self._verdict())

    def _let_go(self) -> None:
        """The server does nothing more for this answer, whether or not all of it was taken."""
        actions, self._actions = self._actions, []
        for action in actions:
            action()

    def _hurry(self) -> None:
        self._idle = min(self._idle, AFTER_FINISH_SECONDS)
        self._stop_timer()
        self._timer = self._loop.call_later(self._idle, self._watch)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        """Looks at the time; one timer for the whole stream, which chunks only note their time for.

        Past a limit it closes the connection, which wakes whoever reads: no task is cancelled, so that no cancellation
        can be mistaken for it.
        """
        now = self._loop.time()
        silent_until = self._last_sign + self._idle
        if self._response.content.exception() is not None:
            self._let_go()  # it broke while nobody read; who reads will see
        if now >= self._request.total_deadline:
            self._give_up("the stream took longer than", self._total_limit)
        elif self._waiting and now >= silent_until:
            self._give_up("the stream was silent for", "idle_timeout_ms")
        else:
            due = silent_until if self._waiting else now + min(self._idle, UNREAD_LOOK_SECONDS)
            self._timer = self._loop.call_at(min(due, self._request.total_deadline), self._watch)

    def _give_up(self, what: str, limit: str) -> None:
        self._failure = ModelTimeoutError(f"{what} {limit}={milliseconds(self._request.options[limit])}")
        self._response.close()
        self._let_go()
