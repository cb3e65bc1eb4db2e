"""What comes back: chunks, the answer that they fold into, and what is told beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypedDict, cast

import msgspec

from neuroroute.errors import LMStudioError
from neuroroute.messages import AnyMessage, AssistantMessage, FunctionCall, ImagePart, ToolCall


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that a request took."""

    prompt: int = 0
    """Tokens that were sent."""
    completion: int = 0
    """Tokens that came back, reasoning included."""
    total: int = 0
    """Both together, as the server counts."""
    estimated: bool = False
    """The server did not count; these are estimates from the length of the texts."""


class Note(msgspec.Struct, frozen=True):
    """What was adapted, repaired, or is not as asked; the answer is usable all the same."""

    code: str
    """Stable, such as ``DIFFERENT_MODEL``; docs/notes.md lists them all."""
    message: str


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What the server measured, where it says (LM Studio's ``stats``, llama.cpp's ``timings``)."""

    tokens_per_second: float | None = None
    """Speed of generation."""
    prompt_tokens_per_second: float | None = None
    """Speed of reading the prompt."""
    time_to_first_token: float | None = None
    """Seconds."""
    generation_time: float | None = None
    """Seconds."""
    load_time: float | None = None
    """Seconds that the model took to load for this request, where it had to be (``native``)."""


class ToolCallFragment(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call in a stream."""

    index: int
    """Which call of the answer, counted from 0."""
    id: str = ""
    """The call's id, on the fragment that brings it."""
    name: str = ""
    """The function's name, on the fragment that brings it."""
    arguments: str = ""
    """A piece of the arguments' JSON text."""


class ServerCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the server ran itself, by one of the ``integrations``: nothing is left for you to do."""

    name: str
    """The tool."""
    arguments: str = "{}"
    """The arguments as JSON text."""
    output: str = ""
    """What the tool gave."""
    error: str | None = None
    """Why the call came to nothing; None: it did not."""
    provider: str = ""
    """The plugin's id, or the label of the MCP server."""


class StreamingChunk(msgspec.Struct, gc=False):
    """A piece of an answer. The last one, and only that, has ``done=True``."""

    chunk: str = ""
    """Text to show; may be empty."""
    done: bool = False
    """Whether this is the last chunk."""
    model: str = ""
    """The model that answers, as the server names it."""
    finish_reason: str | None = None
    """On the last chunk: ``stop``, ``length``, ``tool_calls``, ``content_filter``."""
    reasoning: str = ""
    """What the model thinks before it answers; never part of ``chunk``."""
    tool_calls: tuple[ToolCallFragment, ...] = ()
    """Pieces of calls, their indices put right."""
    function_call: FunctionCall | None = None
    """A completed call, in the older form."""
    usage: TokenUsage | None = None
    """On the last chunk."""
    error: bool = False
    """On the last chunk, whether the answer failed."""
    error_details: str | None = None
    """What happened and what to do next, as ``str(exception)``."""
    exception: LMStudioError | None = None
    """On the last chunk of a failure, the typed error; ``exception.partial`` is what came before it."""


class LMStudioResponse(TypedDict, total=False):
    """The server's answer as it stands in ``ModelResponse.raw``."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]
    stats: dict[str, Any]
    system_fingerprint: str


class ModelResponse(msgspec.Struct, kw_only=True, rename={"raw_json": "raw"}):
    """A whole answer.

    Goes to JSON with ``msgspec.json.encode(response)``, back with ``msgspec.json.decode(data, type=ModelResponse)``.
    """

    text: str
    """What the model said; ``""`` when there are only calls."""
    tokens: TokenUsage
    """What it took."""
    model: str
    """The model that answered, as the server names it."""
    processing_time: float
    """Seconds from the call to the last byte, waits and retries included."""
    messages: list[AnyMessage]
    """The whole history sent, and the answer as its last message."""
    reasoning: str = ""
    """What the model thought before it answered; never part of ``text``."""
    finish_reason: str | None = None
    """``stop``, ``length``, ``tool_calls``; None when the answer broke off (as in ``error.partial``)."""
    function_call: FunctionCall | None = None
    """The call that the model asks for, in the older form."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls that the model asks for; ids are never empty."""
    server_calls: tuple[ServerCall, ...] = ()
    """Calls that the server ran itself on the way to this answer, with their results."""
    parsed: Any = None
    """The typed answer, where a ``response_format`` was given."""
    stats: Stats = Stats()
    """How fast it was, where the server says."""
    cached: bool = False
    """Whether it came from a cache."""
    attempts: int = 1
    """Attempts that were needed; 0 of a cached answer."""
    host: str = ""
    """Name and port of the host that answered."""
    api: str = "chat"
    """The option ``api`` that it was asked with."""
    response_id: str | None = None
    """Under which the server remembers the answer and all before it (``native``, ``responses``); see ``previous``."""
    request_id: str = ""
    """What events and logs call the request; empty where there are no ``observers``."""
    notes: tuple[Note, ...] = ()
    """What was adapted, or is not as asked."""
    raw_json: msgspec.Raw = msgspec.Raw(b"{}")
    """The server's answer, byte for byte; of a stream, folded into the shape of a whole answer. Each route has its own.
    """

    @property
    def raw(self) -> LMStudioResponse:
        """The server's answer as a plain dict, decoded at each look."""
        return cast("LMStudioResponse", msgspec.json.decode(self.raw_json))


class Embeddings(msgspec.Struct, kw_only=True):
    """Vectors of texts; ``len()``, an index and a loop go over the vectors."""

    vectors: list[list[float]]
    """One for each text, in their order."""
    model: str
    """The model that made them, as the server names it."""
    tokens: TokenUsage
    """What it took; an estimate, since LM Studio counts none here."""
    processing_time: float = 0.0
    """Seconds from the call to the last vector, waits and retries included."""
    host: str = ""
    """Name and port of the host that answered, the last batch where there were several."""
    attempts: int = 1
    """Attempts that were needed, of all batches together."""
    notes: tuple[Note, ...] = ()
    """What was adapted, or is not as asked."""

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[list[float]]:
        return iter(self.vectors)

    def __getitem__(self, at: int) -> list[float]:
        return self.vectors[at]


class Folded(NamedTuple):
    """What the chunks of an answer amount to."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]


def fold(chunks: Iterable[StreamingChunk], place: int = 0) -> Folded:
    """Puts the chunks of an answer together; of a broken answer, as many as came.

    Args:
        chunks: of one answer.
        place: of the answer in its history, so that ids made up for its calls are made up once.
    """
    texts: list[str] = []
    reasoning: list[str] = []
    calls: dict[int, list[ToolCallFragment]] = {}
    for chunk in chunks:
        if chunk.chunk:
            texts.append(chunk.chunk)
        if chunk.reasoning:
            reasoning.append(chunk.reasoning)
        for fragment in chunk.tool_calls:
            if (parts := calls.get(fragment.index)) is None:
                calls[fragment.index] = [fragment]
            else:
                parts.append(fragment)
    return Folded("".join(texts), "".join(reasoning), tuple(_call(place, *call) for call in calls.items()))


def _call(place: int, index: int, fragments: list[ToolCallFragment]) -> ToolCall:
    # LM Studio has been seen to send no id (#830), which would make the next turn a 400. Its own have nine digits.
    call_id = next((part.id for part in fragments if part.id), f"{place * 1000 + index:09}")
    name = next((part.name for part in fragments if part.name), "")
    arguments = "".join([part.arguments for part in fragments])
    return ToolCall(id=call_id, function=FunctionCall(name=name, arguments=arguments))


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has, where no server counts: a quarter of its UTF-8 length, rounded up."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


_PER_MESSAGE = 4
_PER_CALL = 8
_PER_IMAGE = 800


def estimate_message_tokens(message: AnyMessage) -> int:
    """About how many tokens a message has, with what a chat template puts around it; kept with the message."""
    kept = cast("dict[str, int]", message.__dict__)  # the struct is frozen, its __dict__ is not
    tokens = kept.get("estimate")
    if tokens is None:
        tokens = kept["estimate"] = _estimated(message)
    return tokens


def estimate_history_tokens(messages: Sequence[AnyMessage]) -> int:
    """About how many tokens messages have together, with what a chat template puts around them."""
    try:
        kept: list[int] = [message.__dict__["estimate"] for message in messages]
        return sum(kept)
    except KeyError:  # one of them is new
        return sum(map(estimate_message_tokens, messages))


def _estimated(message: AnyMessage) -> int:
    tokens = estimate_tokens(message.text) + _PER_MESSAGE
    if not isinstance(message.content, str):
        tokens += _PER_IMAGE * sum(isinstance(part, ImagePart) for part in message.content)
    if isinstance(message, AssistantMessage):
        called = (call.function.name + call.function.arguments for call in message.tool_calls)
        tokens += sum(estimate_tokens(call) + _PER_CALL for call in called)
    return tokens
