"""Guards: your own say over what is sent and what is handed out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

from neuroroute.errors import LMStudioError, ModelContentFilteredError, ModelTimeoutError
from neuroroute.limits import milliseconds
from neuroroute.messages import AnyMessage
from neuroroute.pipe.events import GuardRefused, Tell
from neuroroute.pipe.reply import Layer, OuterReply, Reply, Send
from neuroroute.requests import ChatRequest
from neuroroute.responses import ModelResponse, StreamingChunk
from neuroroute.tools.running import call
from neuroroute.wire.endpoints import ENDPOINTS

Verdict: TypeAlias = bool | str | None
"""None or True let it through; False, or a reason as text, refuse it."""
Before: TypeAlias = Callable[[Sequence[AnyMessage], Mapping[str, Any]], Verdict | Awaitable[Verdict]]
After: TypeAlias = Callable[[ModelResponse], Verdict | Awaitable[Verdict]]
Assemble: TypeAlias = Callable[[ChatRequest, Reply, Sequence[StreamingChunk], float], ModelResponse]
"""Makes a response of a request, the reply, its chunks and the seconds that it took."""


class GuardsInput(Protocol):
    """Looks at what is sent."""

    def before(self, messages: Sequence[AnyMessage], options: Mapping[str, Any]) -> Verdict | Awaitable[Verdict]:
        """Whether this may be sent."""
        ...


class GuardsOutput(Protocol):
    """Looks at what came."""

    def after(self, response: ModelResponse) -> Verdict | Awaitable[Verdict]:
        """Whether this may be handed out."""
        ...


Guard: TypeAlias = Before | GuardsInput | GuardsOutput
"""Sees what is sent (``before(messages, options)``), what came (``after(response)``), or both; a plain function is
``before``. Sync (run in a thread) or async. It refuses by returning False or a reason, or by raising."""


def is_guard(value: Any) -> bool:
    """Something that can be asked; a class is not, its instance is."""
    named = any(callable(getattr(value, name, None)) for name in ("before", "after"))
    return not isinstance(value, type) and (named or callable(value))


def guarding(guards: Sequence[Guard], assemble: Assemble, tell: Tell) -> Layer:
    """The layer. Stands above all, the cache too: whatever is sent and handed out has been seen.

    A whole answer is handed out once it was let through; of a stream the guards see the whole at its end, when all but
    its last chunk was handed out.
    """
    befores = [(_name(guard), before) for guard in guards if (before := _before(guard)) is not None]
    afters = [(_name(guard), after) for guard in guards if (after := getattr(guard, "after", None)) is not None]

    async def ask(stage: Literal["before", "after"], request: ChatRequest, *seen: Any) -> None:
        for name, guard in befores if stage == "before" else afters:
            if (reason := await _refusal(partial(guard, *seen), name, request)) is not None:
                tell(
                    GuardRefused(host=request.host, model=request.model, request_id=request.id, guard=name, stage=stage)
                )
                raise _refused(name, stage, reason) from (reason if isinstance(reason, Exception) else None)

    async def layer(request: ChatRequest, send: Send) -> Reply:
        now = asyncio.get_running_loop().time
        began = now()
        await ask("before", request, tuple(request.messages), MappingProxyType(request.options))
        request.spent += now() - began
        reply = await send(request)
        if not afters or request.endpoint.api not in ENDPOINTS:
            return reply

        async def judge(chunks: Sequence[StreamingChunk]) -> None:
            await ask("after", request, assemble(request, reply, chunks, now() - began))

        guarded = GuardedReply(reply, judge)
        if not request.streaming:
            while await guarded.read():
                pass
        return guarded

    return layer


async def _refusal(asked: Callable[[], Any], name: str, request: ChatRequest) -> str | Exception | None:
    """Why a guard refuses; None: it does not. One that fails refuses: what it would have said is not known."""
    limit: float = request.options["timeout_ms"]
    timer = asyncio.timeout(limit / 1000)
    try:
        async with timer:
            verdict = await call(asked, {})
    except LMStudioError:
        raise
    except Exception as error:
        if timer.expired():
            why = f"the guard {name} did not answer within timeout_ms={milliseconds(limit)}"
            raise ModelTimeoutError(why, retryable=False, hint="") from error
        return error
    if verdict is None or verdict is True:
        return None
    if verdict is False:
        return ""
    if isinstance(verdict, str):
        return verdict
    return TypeError(f"it must return True, None, False or a reason, not {type(verdict).__name__}")


def _refused(name: str, stage: str, reason: str | Exception) -> ModelContentFilteredError:
    what = "request" if stage == "before" else "answer"
    why = f": {reason}" if str(reason) else ""
    return ModelContentFilteredError(
        f"the guard {name} refused the {what}{why}",
        hint="Nothing was sent." if stage == "before" else "",
        details={"guard": name, "stage": stage},
    )


def _before(guard: Any) -> Before | None:
    before: Before | None = getattr(guard, "before", None)
    return guard if before is None and not hasattr(guard, "after") else before


def _name(guard: Any) -> str:
    name: str = getattr(guard, "__name__", type(guard).__name__)
    return name


class GuardedReply(OuterReply):
    """A reply that has ended only once it was let through; judged is the server, not the guard."""

    def __init__(self, reply: Reply, judge: Callable[[Sequence[StreamingChunk]], Awaitable[None]]) -> None:
        super().__init__(reply)
        self._judge = judge
        self._chunks = [*reply.ready]
        self._judged = False

    async def read(self) -> bool:
        """See :class:`~neuroroute.pipe.reply.Reply`; raises where a guard refuses the whole."""
        known = len(self._reply.ready)
        more = await self._reply.read()
        self._chunks += list(self._reply.ready)[known:]
        if not more and not self._judged:
            await self._judge(self._chunks)
            self._judged = True
        return more
