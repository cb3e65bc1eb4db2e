"""What comes back up the pipe: a reply, and the shape of a layer."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from neuroroute.errors import LMStudioError
from neuroroute.requests import ChatRequest
from neuroroute.responses import StreamingChunk
from neuroroute.wire.decoder import Decoder


class Reply(Protocol):
    """An answer that has begun: its first meaningful chunk is in ``ready``, the rest is on its way.

    A whole answer is a reply of one chunk. Since a reply exists only once an answer has begun, whatever retries the
    making of replies never retries an answer that has begun.
    """

    @property
    def attempts(self) -> int:
        """Attempts that were needed."""
        ...

    @attempts.setter
    def attempts(self, attempts: int) -> None: ...

    @property
    def ready(self) -> deque[StreamingChunk]:
        """Chunks to take from the left, before more are read."""
        ...

    @property
    def answer(self) -> Decoder:
        """What is known of the answer as a whole: its model, usage, finish reason."""
        ...

    @property
    def host(self) -> str:
        """Name and port of the host that answers."""
        ...

    async def read(self) -> bool:
        """Waits for more chunks; False when the answer ended and the connection was given back.

        Raises:
            LMStudioError: the answer broke off; the connection is closed.
        """
        ...

    def close(self) -> None:
        """Closes the connection, so that the server stops generating; no matter when, or how often."""

    def when_over(self, action: Callable[[], None]) -> None:
        """Has the action done once, when the answer has ended, broken off or been left: now, if it has."""

    def when_judged(self, action: Callable[[LMStudioError | None], None]) -> None:
        """Has the action told once how the answer ended: with None, or with the error that it broke off with.

        Of an answer that is left before its end, nothing is told.
        """


class EndedReply:
    """What all replies have in common that are whole from the beginning."""

    __slots__ = ()

    async def read(self) -> bool:
        """Nothing more comes."""
        return False

    def close(self) -> None:
        """Nothing is open."""

    def when_over(self, action: Callable[[], None]) -> None:
        """It is over."""
        action()

    def when_judged(self, action: Callable[[LMStudioError | None], None]) -> None:
        """It is whole."""
        action(None)


class OuterReply:
    """A reply that hands on another, for those that add to it; a :class:`Reply`."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    @property
    def attempts(self) -> int:
        """See :class:`Reply`."""
        return self._reply.attempts

    @attempts.setter
    def attempts(self, attempts: int) -> None:
        self._reply.attempts = attempts

    @property
    def ready(self) -> deque[StreamingChunk]:
        """See :class:`Reply`."""
        return self._reply.ready

    @property
    def answer(self) -> Decoder:
        """See :class:`Reply`."""
        return self._reply.answer

    @property
    def host(self) -> str:
        """See :class:`Reply`."""
        return self._reply.host

    async def read(self) -> bool:
        """See :class:`Reply`."""
        return await self._reply.read()

    def close(self) -> None:
        """See :class:`Reply`."""
        self._reply.close()

    def when_over(self, action: Callable[[], None]) -> None:
        """See :class:`Reply`."""
        self._reply.when_over(action)

    def when_judged(self, action: Callable[[LMStudioError | None], None]) -> None:
        """See :class:`Reply`."""
        self._reply.when_judged(action)


Send: TypeAlias = Callable[[ChatRequest], Awaitable[Reply]]
Layer: TypeAlias = Callable[[ChatRequest, Send], Awaitable[Reply]]


class Clock(Protocol):
    """Time as back-offs and deadlines take it; tests give their own."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits; called for back-offs only."""


def pipe(*layers: Layer, transport: Send) -> Send:
    """The layers, folded once: the first stands outermost."""
    send = transport
    for layer in reversed(layers):
        send = _wrapped(layer, send)
    return send


def _wrapped(layer: Layer, inner: Send) -> Send:
    return lambda request: layer(request, inner)
