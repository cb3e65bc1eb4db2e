"""Guards: your own say over what is sent and what is handed out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

from neuroroute.errors import LMStudioError, ModelContentFilteredError, ModelTimeoutError
from neuroroute.limits import milliseconds
from neuroroute.messages import AnyMessage
from neuroroute.pipe.events import GuardRefused, Tell, where_from
from neuroroute.pipe.reply import Layer, OuterReply, Reply, Send
from neuroroute.requests import ChatRequest
from neuroroute.responses import ModelResponse, StreamingChunk
from neuroroute.tools.running import call, takes
from neuroroute.wire.endpoints import ENDPOINTS

Stage: TypeAlias = Literal["before", "after"]
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
``before``. Sync (run in a thread) or async. It refuses by returning False or a reason; one
that raises has failed, and refuses too."""


_log = logging.getLogger("neuroroute")


def is_guard(value: Any) -> bool:
    """Something that can be asked, with as many arguments as it is given; a class is not, its instance is."""
    if isinstance(value, type):
        return False
    before, after = _before(value), getattr(value, "after", None)
    asked = [(function, count) for function, count in ((before, 2), (after, 1)) if function is not None]
    return bool(asked) and all(takes(function, count) for function, count in asked)


def guarding(guards: Sequence[Guard], assemble: Assemble, tell: Tell) -> Layer:
    """The layer. Stands above all, the cache too: whatever is sent and handed out has been seen.

    A whole answer is handed out once it was let through; of a stream the guards see the whole at its end, when all but
    its last chunk was handed out.
    """
    befores = [(_name(guard), before) for guard in guards if (before := _before(guard)) is not None]
    afters = [(_name(guard), after) for guard in guards if (after := getattr(guard, "after", None)) is not None]

    async def ask(stage: Stage, request: ChatRequest, *seen: Any) -> None:
        for name, guard in befores if stage == "before" else afters:
            verdict = await _verdict(partial(guard, *seen), name, stage, request)
            if verdict is None:
                continue
            failed = isinstance(verdict, Exception)
            asked = {"host": request.host, "model": request.model, "request_id": request.id}
            tell(GuardRefused(**asked, guard=name, stage=stage, failed=failed))
            raise _refused(name, stage, verdict) from (verdict if isinstance(verdict, Exception) else None)

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


async def _verdict(asked: Callable[[], Any], name: str, stage: Stage, request: ChatRequest) -> str | Exception | None:
    """Why a guard refuses, or how it failed; None: it lets it through."""
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
            hint = "Mend the guard, or allow it more with timeout_ms."
            raise ModelTimeoutError(why, retryable=False, hint=hint, details=_details(name, stage)) from error
        return error
    if verdict is None or verdict is True:
        return None
    if verdict is False:
        return ""
    if isinstance(verdict, str):
        return verdict
    return _UnclearError(f"it must return True, None, False or a reason, not {type(verdict).__name__}")


_OF: dict[Stage, str] = {"before": "request", "after": "answer"}


def _details(name: str, stage: Stage) -> dict[str, Any]:
    return {"guard": name, "stage": stage}


def _refused(name: str, stage: Stage, verdict: str | Exception) -> ModelContentFilteredError:
    hint = "Nothing was sent." if stage == "before" else ""
    details = {**_details(name, stage), "failed": isinstance(verdict, Exception)}
    if isinstance(verdict, str):
        why = f": {verdict}" if verdict else ""
        return ModelContentFilteredError(f"the guard {name} refused the {_OF[stage]}{why}", hint=hint, details=details)
    # Its words are not told: they may quote what it looked at.
    what = str(verdict) if isinstance(verdict, _UnclearError) else f"{type(verdict).__name__} in {where_from(verdict)}"
    _log.error("the guard %s failed at the %s: %s", name, _OF[stage], what)
    return ModelContentFilteredError(
        f"the guard {name} failed, so that the {_OF[stage]} is refused: {what}",
        hint=f"{hint} Mend the guard; __cause__ is what it raised.".strip(),
        details=details,
    )


class _UnclearError(TypeError):
    """A guard gave something that is no verdict."""


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
