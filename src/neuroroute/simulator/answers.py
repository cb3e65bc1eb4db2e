"""What can be scripted: an answer, a failure, and the ways in which an answer goes wrong on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from neuroroute.simulator.loosely import as_object

if TYPE_CHECKING:
    from neuroroute.simulator.wordings import ErrorCase

Call: TypeAlias = tuple[str, Mapping[str, Any] | str] | tuple[str, Mapping[str, Any] | str, str]
"""A tool call: its name, its arguments (a string is sent word for word) and, if you need to choose it, its id."""


@dataclass(frozen=True, slots=True)
class StreamFault:
    """How a streamed answer goes wrong once its headers are out."""

    kind: Literal["cut", "reset", "end", "hang", "error", "no_finish", "no_done", "start"]
    """``cut``: the socket is closed in the middle of the body. ``reset``: the same, by a TCP reset. ``end``: the body
    ends cleanly, with neither finish reason nor ``[DONE]``. ``hang``: silence until the client leaves. ``error``: an
    error event. ``no_finish``: ``[DONE]`` without a finish reason. ``no_done``: a finish reason without ``[DONE]``.
    ``start``: the body ends cleanly after what comes before the prompt is read, as ``chat.start`` of the native chat
    (seen in life) and ``response.in_progress`` do; in other streams nothing does."""
    after: int | None = None
    """How many deltas are sent first; None: all of them, as ``no_finish`` and ``no_done`` always do, none with
    ``start``."""
    message: str = "The model has crashed without additional information. (Exit code: null)"
    """What the error event says."""
    done: bool | None = None
    """Whether ``[DONE]`` follows the error event; None: as the server's ``Unknowns`` have it."""

    def __post_init__(self) -> None:
        _check(self, _STREAM_KINDS)


@dataclass(frozen=True, slots=True)
class WholeFault:
    """How a whole (not streamed) answer goes wrong once its headers are out."""

    kind: Literal["cut", "reset", "end", "hang"]
    """``cut``: the socket is closed before all came that Content-Length promised. ``reset``: the same, by a TCP reset.
    ``end``: a Content-Length that fits the shortened body, so that its JSON is truncated. ``hang``: silence until the
    client leaves."""
    after: int = 0
    """How many bytes of the body are sent first; 0 with ``end`` is an empty body."""

    def __post_init__(self) -> None:
        _check(self, _WHOLE_KINDS)


@dataclass(frozen=True, slots=True)
class McpCall:
    """A tool that LM Studio itself runs for the model, in the native chat: the client sees it happen."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output: str = ""
    """What the tool said."""
    provider: str = field(default="mcp/tools", kw_only=True)
    """Who has the tool: a plugin, as ``"mcp/playwright"``, or the label of a server that the request names, without a
    slash."""
    invalid: Literal["name", "arguments"] | None = field(default=None, kw_only=True)
    """It fails, since there is no tool of that name, or it does not take these arguments; ``output`` is the reason."""
    reasoning: str = field(default="", kw_only=True)
    """What the model thinks before."""
    seconds: float = field(default=0.0, kw_only=True)
    """How long the tool takes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model answers, and how it is sent. The same answer serves both modes, streamed and whole."""

    text: str = ""
    reasoning: str = field(default="", kw_only=True)
    reasoning_form: Literal["reasoning_content", "reasoning", "think"] | None = field(default=None, kw_only=True)
    """The field in which the reasoning comes, or ``think``: inside the content, as ``<think>...</think>``. None: as the
    version has it, ``reasoning_content`` in the newest."""
    tool_calls: Sequence[Call] = field(default=(), kw_only=True)
    mcp_calls: Sequence[McpCall] = field(default=(), kw_only=True)
    """Tools that the server runs between the reasoning and the text, one after the other; in the native chat only."""
    finish_reason: str | None = field(default=None, kw_only=True)
    """None: ``tool_calls`` where there are any, else ``stop``."""
    usage: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """Sent as it is; None: words are counted."""
    stats: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)
    model: str | None = field(default=None, kw_only=True)
    """The model that the answer names; None: the one that was asked, as the server resolved it."""
    id: str | None = field(default=None, kw_only=True)
    """None: numbered, ``chatcmpl-1``. The ids of its tool calls follow from it, so pin it to compare the two modes."""
    created: int | None = field(default=None, kw_only=True)
    """Seconds since 1970; None: now."""

    chunks: Sequence[str] | None = field(default=None, kw_only=True)
    """The content of a stream, delta by delta. Where it is given, ``text`` need not be: it is the chunks joined."""
    chunk_size: int | None = field(default=None, kw_only=True)
    """How many characters make a delta of a stream; None: a word, and eight characters of a call's arguments."""
    role: Literal["first", "alone", "every"] = field(default="first", kw_only=True)
    """Where ``"role": "assistant"`` stands: in the first delta, in a delta of its own before it, or in every delta."""
    newline: Literal["\n", "\r\n"] = field(default="\n", kw_only=True)
    """The line end of a stream's events."""
    comment: str | None = field(default=None, kw_only=True)
    """A comment (``: comment``) sent before every event of a stream."""
    raw_chunks: Sequence[bytes] | None = field(default=None, kw_only=True)
    """The whole body of the answer, in either mode: each sent exactly as it is, in one write. ``chunks`` and the like
    are ignored; a ``stream_fault`` counts these."""
    status: int = field(default=200, kw_only=True)
    content_type: str | None = field(default=None, kw_only=True)
    """None: ``text/event-stream`` or ``application/json``, as the mode has it."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)

    delay: float = field(default=0.0, kw_only=True)
    """Seconds before the headers."""
    delay_first: float = field(default=0.0, kw_only=True)
    """Seconds between the headers and the first byte of the body."""
    delay_between: float = field(default=0.0, kw_only=True)
    """Seconds between one event of a stream and the next."""
    stream_fault: StreamFault | None = field(default=None, kw_only=True)
    whole_fault: WholeFault | None = field(default=None, kw_only=True)

    def content_chunks(self) -> list[str]:
        """The text, delta by delta; a think block comes before it."""
        return list(self.chunks) if self.chunks is not None else split(self.text, self.chunk_size)


@dataclass(frozen=True, slots=True)
class Fail:
    """A response that is no answer, its body word for word."""

    status: int = 500
    body: bytes | str | Mapping[str, Any] = b""
    """A mapping is sent as JSON."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)
    content_type: str = field(default="application/json; charset=utf-8", kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    """Seconds before the headers."""
    silent: Literal["close", "hang"] | None = field(default=None, kw_only=True)
    """No response at all: the connection is closed upon the request (``close``), or nothing happens until the client
    leaves (``hang``). Status, headers and body are not sent then."""

    def __post_init__(self) -> None:
        if self.silent not in (None, "close", "hang"):
            raise ValueError(f"Fail: silent is {self.silent!r}; it must be close, hang, or None")
        if not 100 <= self.status <= 599:
            raise ValueError(f"Fail: status is {self.status!r}; it must be an HTTP status, from 100 to 599")

    @classmethod
    def of(cls, case: ErrorCase) -> Fail:
        """The failure that a row of the catalogue describes."""
        return cls(case.status, case.body)

    @property
    def payload(self) -> bytes:
        """The body, as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else msgspec.json.encode(self.body)


class Refused(Exception):  # noqa: N818 - a finding, not a fault
    """A request gets no answer, or not all of it; ``case`` is what the server says instead."""

    def __init__(self, case: ErrorCase | Fail) -> None:
        super().__init__(str(case))
        self.case = case

    @property
    def message(self) -> str:
        """What an event says of it: the words without their envelope, if it has one."""
        if not isinstance(self.case, Fail):
            return self.case.message
        said = as_object(self.error).get("message", self.error)
        return said if isinstance(said, str) else self.case.payload.decode("utf-8", "replace")

    @property
    def error(self) -> Any:
        """What stands under ``error`` in its body, if anything does."""
        body = self.case.payload if isinstance(self.case, Fail) else self.case.body
        try:
            return as_object(msgspec.json.decode(body)).get("error")
        except msgspec.DecodeError:
            return None

    @property
    def fail(self) -> Fail:
        """The failure as a response."""
        return self.case if isinstance(self.case, Fail) else Fail.of(self.case)


def split(text: str, size: int | None) -> list[str]:
    """Cuts a text into deltas: of so many characters, or of a word with the space before it."""
    if size is not None:
        return [text[at : at + size] for at in range(0, len(text), size)]
    words = text.split(" ")
    return [piece for piece in [words[0], *(f" {word}" for word in words[1:])] if piece]


_WHOLE_KINDS = ("cut", "reset", "end", "hang")
_STREAM_KINDS = (*_WHOLE_KINDS, "error", "no_finish", "no_done", "start")


def _check(fault: StreamFault | WholeFault, kinds: tuple[str, ...]) -> None:
    name = type(fault).__name__
    if fault.kind not in kinds:
        raise ValueError(f"{name}: {fault.kind!r} is no kind; there are {', '.join(kinds)}")
    if fault.after is not None and fault.after < 0:
        raise ValueError(f"{name}: after is {fault.after}; it must be 0 or more")
