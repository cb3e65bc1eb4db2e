"""What happens on the way of requests, as typed events for whoever listens; nothing of a prompt or an answer."""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from neuroroute.details import LoadedModel
from neuroroute.errors import LMStudioError
from neuroroute.messages import AnyMessage, ToolCall
from neuroroute.responses import TokenUsage
from neuroroute.tools.running import is_async

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]
HostState: TypeAlias = Literal["unknown", "up", "down", "draining"]
Outcome: TypeAlias = Literal["answered", "failed", "left"]
"""``left``: whoever asked was cancelled, or closed the stream before its end."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened; each kind is a class of its own."""

    host: str
    """Name and port."""
    model: str
    """The model that was asked; empty where it is about the whole host."""
    request_id: str = ""
    """Of which request, unique in this process; empty where it is about none, or about many."""


class RequestStarted(Event, frozen=True, kw_only=True):
    """A request sets out; all its attempts are part of it."""

    api: str
    """The option ``api``, or ``embeddings``."""
    streaming: bool
    parameters: dict[str, float]
    """Numbers that it was asked with: ``temperature``, ``max_tokens`` and the like."""


class RequestEnded(Event, frozen=True, kw_only=True):
    """A request is over: answered to its last chunk, failed, or left."""

    api: str
    """The option ``api``, or ``embeddings``."""
    streaming: bool
    outcome: Outcome
    error: LMStudioError | None
    """Why it failed."""
    duration_ms: float
    """From the call to the end, waits and retries included; of a stream, until its end was taken."""
    ttft_ms: float | None
    """Until the first meaningful chunk of a stream; None: there was none, or it was no stream."""
    attempts: int
    """How often it was sent."""
    answered_by: str
    """The model that answered, as the server names it; empty where none did."""
    finish_reason: str | None
    tokens: TokenUsage | None
    """As the server counted; None: it did not, or not all of them."""
    cached: bool
    """Whether the answer came from a cache."""


class AttemptStarted(Event, frozen=True, kw_only=True):
    """A request is sent to a host."""

    attempt: int
    """Its number in the request, from 1."""
    headers: dict[str, str]
    """Empty; what an observer puts in is sent along, such as a ``traceparent``."""


class AttemptEnded(Event, frozen=True, kw_only=True):
    """An attempt is over, its answer included."""

    attempt: int
    """Its number in the request, from 1."""
    outcome: Outcome
    error: LMStudioError | None
    """Why it failed."""
    duration_ms: float


class Queued(Event, frozen=True, kw_only=True):
    """An attempt finds all slots of its model taken, and waits for one."""

    queue_length: int
    """How many wait now, this one included."""


class Admitted(Event, frozen=True, kw_only=True):
    """An attempt has got a slot, at once or after a wait."""

    wait_ms: float
    queue_length: int
    """How many wait now."""


class LeftQueue(Event, frozen=True, kw_only=True):
    """An attempt waits no more, and got no slot: it was refused, sent away, late, or left."""

    wait_ms: float
    queue_length: int
    """How many wait now."""


class CallsSalvaged(Event, frozen=True, kw_only=True):
    """The model had left calls in its text, and they were taken out of it."""

    count: int


class ToolRan(Event, frozen=True, kw_only=True):
    """A call of the model was run, or refused; ``request_id`` is of the request whose answer asked for it."""

    name: str
    """The tool; empty where there is none of the name that the model called."""
    duration_ms: float
    code: str | None
    """Of the error that the model was told, such as ``TOOL_ARGUMENTS``; None: it had a result."""


class ContentEvent(Event, frozen=True, kw_only=True):
    """What was said. Only observers whose attribute ``wants_content`` is True are told of these."""


class PromptSent(ContentEvent, frozen=True, kw_only=True):
    """The history of a request, told after its :class:`RequestStarted`."""

    messages: tuple[AnyMessage, ...]


class AnswerReceived(ContentEvent, frozen=True, kw_only=True):
    """What came of an answer, told before its :class:`RequestEnded`, however it ended."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]


class BreakerChanged(Event, frozen=True, kw_only=True):
    """A circuit breaker went into another state."""

    before: BreakerState
    after: BreakerState
    cause: LMStudioError | None
    """The failure that opened it; None where it was none (a probe that succeeded, too slow answers, your own call)."""


class BackingOff(Event, frozen=True, kw_only=True):
    """An attempt failed, and another will be made."""

    error: LMStudioError
    attempt: int
    """The number of the attempt that failed, from 1."""
    delay_ms: float
    """How long the wait is."""


class FailedOver(Event, frozen=True, kw_only=True):
    """A host failed a request before its answer began, and another is asked at once."""

    error: LMStudioError
    to: str
    """The other host, or the same one where another copy of the model is asked."""


class HostChanged(Event, frozen=True, kw_only=True):
    """A host went down, came back, or is drained."""

    before: HostState
    after: HostState


class ModelLoading(Event, frozen=True, kw_only=True):
    """The server loads the model; the request waits for it, and its deadline was moved."""

    fraction: float | None = None
    """How far that is, 0 to 1; only ``native`` streams tell, again and again."""


class PromptProcessing(Event, frozen=True, kw_only=True):
    """The model reads the prompt; only ``native`` streams tell."""

    fraction: float | None
    """How far that is, 0 to 1."""


class ModelLoaded(Event, frozen=True, kw_only=True):
    """A model was loaded, since it was asked for (:meth:`load_model`, :meth:`warm_up`) or was gone."""

    loaded: LoadedModel
    """Which copy, and how."""


class ModelUnloaded(Event, frozen=True, kw_only=True):
    """A copy of a model was taken out of memory by :meth:`unload_model`."""

    instance_id: str


class ModelDownloaded(Event, frozen=True, kw_only=True):
    """A download by :meth:`download_model` has ended well."""

    size_bytes: int | None


class ModelReloaded(Event, frozen=True, kw_only=True):
    """The model was gone, and was loaded again for a request that had failed."""


class Hedged(Event, frozen=True, kw_only=True):
    """The first chunk was late, and the request was sent a second time."""


class StreamContinued(Event, frozen=True, kw_only=True):
    """A stream broke off, and the model is asked to go on from there."""

    error: LMStudioError


class CacheLooked(Event, frozen=True, kw_only=True):
    """The cache was asked for an answer, or another request for the same was found in the air."""

    outcome: Literal["hit", "miss", "joined", "failed"]
    """``joined``: the answer to a request in the air is shared; ``failed``: the cache did not say."""
    error: str | None = None
    """The kind of exception that it failed with."""


class CacheStored(Event, frozen=True, kw_only=True):
    """An answer was put into the cache, or was not."""

    outcome: Literal["stored", "unfit", "failed"]
    """``unfit``: it is none to keep, such as one that another model gave; docs/caching.md lists which."""
    size_bytes: int
    error: str | None = None
    """The kind of exception that it failed with."""


class GuardRefused(Event, frozen=True, kw_only=True):
    """A guard refused a request, or an answer."""

    guard: str
    """The function's name, or its class's."""
    stage: Literal["before", "after"]
    failed: bool = False
    """It gave no verdict: it raised, or returned something else; the log says what."""


def bare(error: LMStudioError) -> LMStudioError:
    """An error as others than its caller may see it: without what had been received, and without its frames."""
    copied = copy.copy(error)
    copied.partial = None
    return copied


Observer: TypeAlias = Callable[[Event], None]
Tell: TypeAlias = Callable[[Event], None]

_log = logging.getLogger("neuroroute")


def is_observer(value: Any) -> bool:
    """Something that can be told at once: a function or an object, not a class, nor what must be awaited."""
    return callable(value) and not isinstance(value, type) and not is_async(value)


def wants_content(observer: Observer) -> bool:
    """Whether an observer asked to be told what was said."""
    return getattr(observer, "wants_content", False) is True


def teller(observers: Sequence[Observer]) -> Tell:
    """Tells all of them; one that fails harms neither requests nor the others.

    That it fails is in the log, once for each kind of exception, without its words: they may quote what it was told.
    """
    told_content = [observer for observer in observers if wants_content(observer)]
    failed: set[tuple[int, type[Exception]]] = set()

    def tell(event: Event) -> None:
        for observer in told_content if isinstance(event, ContentEvent) else observers:
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 - it is somebody else's code
                level = logging.DEBUG if (known := (id(observer), type(error))) in failed else logging.ERROR
                failed.add(known)
                what, where = type(error).__name__, where_from(error)
                _log.log(level, "an observer failed at %s: %s in %s", type(event).__name__, what, where)

    return tell


def where_from(error: BaseException) -> str:
    """File and line that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
