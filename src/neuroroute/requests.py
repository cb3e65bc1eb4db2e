"""The request that goes down the pipe, and the history that it sends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from neuroroute.details import ModelProgress, same_model
from neuroroute.errors import LMStudioError, ModelInvalidRequestError
from neuroroute.jsontypes import is_text
from neuroroute.limits import Limit
from neuroroute.messages import AnyMessage, MessageReader, SystemMessage, UserMessage
from neuroroute.options import DEFAULTS
from neuroroute.responses import Note
from neuroroute.tools.offer import Offer

if TYPE_CHECKING:
    from neuroroute.wire.decoder import Decoder, Put


class Endpoint(NamedTuple):
    """One of the server's routes: where a request goes, how its body is made, and how the answer is read."""

    api: str
    """The option ``api`` that asks for it."""
    path: str
    """Below the base URL; of a native route, below the server's root."""
    encode: Callable[[ChatRequest], bytes]
    """The body of a request as it is now."""
    decoder: Callable[[Put, ChatRequest], Decoder]
    """What reads the answer to a request, and has each chunk put somewhere."""
    since: str | None = None
    """The version of LM Studio that was the first to have it and to remember what was said; None: it remembers nothing.
    """

    @property
    def remembers(self) -> bool:
        """The server keeps what was said, under an id."""
        return self.since is not None

    def address(self, base_url: str) -> str:
        """Where requests for a host go."""
        return (base_url.removesuffix("/v1") if self.path.startswith("/api/") else base_url) + self.path


class Tally:
    """How often something happened."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def one_more(self) -> int:
        """Once more: how often now."""
        self.count += 1
        return self.count


class ChatRequest(msgspec.Struct, kw_only=True):
    """One request on its way down the pipe."""

    endpoint: Endpoint
    model: str
    messages: list[AnyMessage]
    body: bytes
    streaming: bool
    options: dict[str, Any]
    """Every option, checked, with its default."""
    notes: list[Note]
    offer: Offer | None = None
    """What the model may call."""
    url: str = ""
    """Base URL of the host that this goes to."""
    host: str = ""
    """What that host is called."""
    avoids: tuple[str, str] | None = None
    """Base URL of the host, and id of the model there, that has the same request already."""
    room: int = 0
    """Tokens that the model's context must have where it is asked, as far as that is known."""
    failovers: int = 0
    """Attempts that failed and went to another host at once; they are no retries."""
    entered: float = 0.0
    """When this attempt got its slot, on the clock of back-offs (seconds)."""
    deadline: float = math.inf
    """Until when the reply must have begun, on the clock of back-offs (seconds)."""
    total_deadline: float = math.inf
    """Until when the answer must have ended, on the event loop's clock (seconds)."""
    failures: list[LMStudioError] = []
    """How the attempts before this one ended."""
    queue_length: int | None = None
    """While it waits for a slot, how many waited when it came; nothing of this attempt was sent then."""
    limits: list[Limit] = []
    """The time limits that it runs under."""
    waited_for_loading: bool = False
    """Its deadline was moved since the server loads the model."""
    reloaded: bool = False
    """The model was loaded again for it."""
    closings: int = 0
    """How often the adapter had been closed in this event loop when it set out."""
    spent: float = 0.0
    """Seconds that were spent before it went down the pipe, on asking where to go."""
    known: int = 0
    """How many of the messages the host remembers, so that they are not sent ..."""
    known_as: str | None = None
    """... and the id under which it does."""
    cached: bool = False
    """Its answer came from a cache."""
    progressed: Callable[[ModelProgress], None] | None = None
    """Is told how far the server is before it answers."""
    id: str = ""
    """What events call it; empty where nobody listens."""
    tally: Tally | None = None
    """Counts the attempts, those of copies of the request included; None where nobody listens."""
    headers: dict[str, str] | None = None
    """What observers add to the headers of this attempt."""

    def encode(self) -> None:
        """Makes the body anew, once the model or the messages have changed."""
        self.body = self.endpoint.encode(self)

    def is_late(self) -> bool:
        """Whether it is being cancelled because a time limit of it passed."""
        return any(limit.fired for limit in self.limits)

    def wait_for_loading(self) -> bool:
        """The server says that it loads the model: the deadline moves, once; False where it had been moved."""
        if self.waited_for_loading:
            return False
        self.waited_for_loading = True
        seconds = self.options["model_loading_timeout_ms"] / 1000
        self.deadline += seconds
        self.total_deadline += seconds
        for limit in self.limits:
            limit.postpone(seconds)
        return True

    def different_model(self, answered: str) -> Note | None:
        """What to note of an answer by another model than the one asked for; None: it is the one."""
        if not answered or same_model(self.model, answered):
            return None
        return Note("DIFFERENT_MODEL", f"{answered!r} answered although {self.model!r} was asked for")

    @property
    def salvageable(self) -> Mapping[str, Mapping[str, Any]] | None:
        """Schemas of the tools whose calls are to be taken out of the text, by name.

        None where the answer is to be JSON: a text in it may look like a call.
        """
        shape = self.options["response_format"]
        if self.offer is None or not self.options["salvage"] or (shape is not None and shape.wire is not None):
            return None
        return self.offer.tools.schemas


def history(prompt: str, options: Mapping[str, Any], reader: MessageReader) -> list[AnyMessage]:
    """The messages that were given, with the prompt after them.

    Raises:
        ModelInvalidRequestError: a message is wrong, or there is nothing to send.
    """
    if not is_text(prompt):
        raise ModelInvalidRequestError(f"prompt must be a text, not a value of type {type(prompt).__name__}")
    given, previous = options["messages"], options["previous"]
    messages = [] if given is None else reader.read(given)
    if prompt:
        messages.append(UserMessage(content=prompt))
    if not messages:
        raise ModelInvalidRequestError("there is nothing to send: give a prompt, or messages")
    return messages if given is not None or previous is None else [*previous.messages, *messages]


def with_system(
    messages: list[AnyMessage], options: Mapping[str, Any], reader: MessageReader, notes: list[Note]
) -> None:
    """Puts the system message before a history that has none."""
    system = options["system_message"]
    if system is not None:
        if not any(type(message) is SystemMessage for message in messages):
            messages[:0] = reader.read([{"role": "system", "content": system}])
        elif system not in (DEFAULTS["system_message"], next(m.content for m in messages if m.role == "system")):
            notes.append(Note("SYSTEM_MESSAGE_IGNORED", "the history has a system message of its own, which was used"))
