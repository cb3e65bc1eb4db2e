"""What can be asked: the options of a request, checked by one table, and the request that goes down the pipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypedDict

import msgspec

from neuroroute.errors import LMStudioError, ModelInvalidRequestError
from neuroroute.jsontypes import is_array, is_mapping, is_text
from neuroroute.messages import AnyMessage, ChatMessage, MessageReader, SystemMessage, UserMessage
from neuroroute.responses import Note

Reasoning: TypeAlias = Literal["off", "on", "low", "medium", "high"]


class RequestOptions(TypedDict, total=False):
    """Options of a request, all keyword arguments; at the constructor they are defaults, a call's own value wins.

    Durations are milliseconds. An option that is not given, or given as None where None means nothing, has its default.
    """

    messages: Iterable[ChatMessage | Mapping[str, Any]] | None
    """The history; ``prompt``, when not empty, is appended as a user message."""
    system_message: str | None
    """Used when the history has no system message; None sends none. Default: "You are a helpful assistant."."""
    max_tokens: int | None
    """At least 1, or -1 for no limit. Default: 1024."""
    temperature: float | None
    """At least 0. Default: 0.7."""
    top_p: float | None
    """Over 0, at most 1. Default: 1."""
    frequency_penalty: float | None
    """-2 to 2. Default: 0."""
    presence_penalty: float | None
    """-2 to 2. Default: 0."""
    stop: str | list[str] | None
    """Texts that end the answer."""
    timeout_ms: float | None
    """A whole answer: the total, attempts and back-offs included. A stream: until its first meaningful chunk.
    Default: ``LMSTUDIO_TIMEOUT``, else 60000."""
    idle_timeout_ms: float | None
    """Silence between chunks of a stream. Default: 60000."""
    total_timeout_ms: float | None
    """A stream's whole length. Default: 1800000."""
    first_token_timeout_ms: float | None
    """One attempt's wait for the first chunk. Default: none."""
    connect_timeout_ms: float | None
    """Connecting. Default: 5000."""
    max_retries: int | None
    """Attempts after the first. Default: 3, streaming 2."""
    initial_backoff: float | None
    """Doubles from retry to retry, with full jitter. Default: 1000."""
    reasoning: Reasoning | None
    """Whether and how hard the model thinks before it answers; refused where the model lists other settings.
    Default: as the model is set up."""
    model: str | None
    """Another model for this call."""
    strict_model: bool | None
    """An error instead of a note when another model answered. Default: False."""
    seed: int | None
    """Makes sampling repeatable, where the engine honours it."""
    top_k: int | None
    """Sample from the k most likely tokens only; 0 for all."""
    min_p: float | None
    """0 to 1: leave out tokens less likely than this share of the likeliest."""
    repeat_penalty: float | None
    """Over 0; more than 1 discourages repetition."""
    logit_bias: Mapping[str, float] | None
    """Token ids (as text) and how much to favour or avoid them."""
    ttl: int | None
    """Seconds that a model loaded by this request stays loaded when idle."""
    draft_model: str | None
    """A smaller model for speculative decoding."""
    extra: Mapping[str, Any] | None
    """Further fields of the body, passed through."""
    extra_headers: Mapping[str, str] | None
    """Further HTTP headers, printable ASCII."""


class ChatRequest(msgspec.Struct, kw_only=True):
    """One request on its way down the pipe."""

    model: str
    messages: list[AnyMessage]
    body: bytes
    streaming: bool
    options: dict[str, Any]
    """Every option, checked, with its default."""
    notes: list[Note]
    url: str = ""
    """Base URL of the host that this goes to."""
    host: str = ""
    """Its name and port."""
    deadline: float = math.inf
    """Until when the reply must have begun, on the clock of back-offs (seconds)."""
    total_deadline: float = math.inf
    """Until when the answer must have ended, on the event loop's clock (seconds)."""
    failures: list[LMStudioError] = []
    """How the attempts before this one ended."""


Check: TypeAlias = Callable[[Any], bool]


class _Rule(msgspec.Struct, frozen=True):
    check: Check
    right: str
    """What would be right, to end the sentence "it must be ..."."""
    default: Any = None


def _number(low: float, high: float = 1e308, *, open_low: bool = False) -> Check:
    def check(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return (low < value if open_low else low <= value) and value <= high

    return check


def _integer(low: float, *others: int) -> Check:
    return lambda value: type(value) is int and (low <= value < 2**63 or value in others)


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: Any) -> bool:
    return _text(value) or (is_array(value) and bool(value) and all(map(_text, value)))


def _biases(value: Any) -> bool:
    number = _number(-1e308)
    return is_mapping(value) and all(_text(key) and number(bias) for key, bias in value.items())


def _headers(value: Any) -> bool:
    return is_mapping(value) and all(
        _one_line(name) and _one_line(text) and name.lower() not in _FRAMING for name, text in value.items()
    )


_FRAMING = frozenset(
    ("connection", "content-encoding", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers that say how a request is sent; wrong ones would break the connection."""


def _one_line(value: Any) -> bool:
    return is_text(value) and value.isprintable() and value.isascii()


_POSITIVE = _Rule(_number(0, 1e12, open_low=True), "a number of milliseconds over 0")
_PENALTY = _Rule(_number(-2, 2), "a number from -2 to 2", 0)

_RULES: dict[str, _Rule] = {
    "messages": _Rule(lambda value: True, "a list of messages"),  # read where the history is put together
    "system_message": _Rule(
        lambda value: value is None or isinstance(value, str), "a text, or None", "You are a helpful assistant."
    ),
    "max_tokens": _Rule(_integer(1, -1), "a whole number of at least 1, or -1 for no limit", 1024),
    "temperature": _Rule(_number(0), "a number of at least 0", 0.7),
    "top_p": _Rule(_number(0, 1, open_low=True), "a number over 0 and at most 1", 1),
    "frequency_penalty": _PENALTY,
    "presence_penalty": _PENALTY,
    "stop": _Rule(_texts, "a text that is not empty, or a list of such"),
    "timeout_ms": _POSITIVE,
    "idle_timeout_ms": _Rule(_POSITIVE.check, _POSITIVE.right, 60_000),
    "total_timeout_ms": _Rule(_POSITIVE.check, _POSITIVE.right, 1_800_000),
    "first_token_timeout_ms": _POSITIVE,
    "connect_timeout_ms": _Rule(_POSITIVE.check, _POSITIVE.right, 5000),
    "max_retries": _Rule(_integer(0), "a whole number of at least 0"),
    "initial_backoff": _Rule(_number(0, 1e12), "a number of milliseconds of at least 0", 1000),
    "reasoning": _Rule(
        lambda value: value in ("off", "on", "low", "medium", "high"), "one of off, on, low, medium, high"
    ),
    "model": _Rule(_text, "a model id"),
    "strict_model": _Rule(lambda value: isinstance(value, bool), "True or False", False),
    "seed": _Rule(_integer(-(2**63)), "a whole number"),
    "top_k": _Rule(_integer(0), "a whole number of at least 0"),
    "min_p": _Rule(_number(0, 1), "a number from 0 to 1"),
    "repeat_penalty": _Rule(_number(0, open_low=True), "a number over 0"),
    "logit_bias": _Rule(_biases, "a dict of token ids (as text) to numbers"),
    "ttl": _Rule(_integer(1), "a whole number of seconds of at least 1"),
    "draft_model": _Rule(_text, "a model id"),
    "extra": _Rule(lambda value: is_mapping(value) and all(map(_text, value)), "a dict of fields of the body"),
    "extra_headers": _Rule(_headers, "a dict of printable ASCII texts, none of them about how the request is sent"),
}
_MEANS_NOTHING = frozenset(name for name, rule in _RULES.items() if rule.default is not None) - {"system_message"}
"""Options that None leaves at their default."""

DEFAULTS: dict[str, Any] = {name: rule.default for name, rule in _RULES.items()}

_IGNORED_BY_SERVER = {"n": 1, "logprobs": False}
"""Fields of ``extra`` that LM Studio ignores, with the one value that is harmless."""


def checked(options: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """The options that were given, each found right.

    Args:
        options: as a caller gave them.
        verb: what was called, for the message of a TypeError.

    Raises:
        TypeError: an unknown option.
        ModelInvalidRequestError: a wrong value; names the option and what would be right.
    """
    given: dict[str, Any] = {}
    for name, value in options.items():
        rule = _RULES.get(name)
        if rule is None:
            raise TypeError(f"{verb}() got an unexpected option {name!r}{_near(name)}")
        if value is None and name in _MEANS_NOTHING:
            continue
        if value is not None and not rule.check(value):
            raise ModelInvalidRequestError(f"{name} is {_shown(value)}; it must be {rule.right}")
        given[name] = value
    if extra := given.get("extra"):
        _check_extra(extra)
    return given


def _check_extra(extra: Mapping[str, Any]) -> None:
    for name, harmless in _IGNORED_BY_SERVER.items():
        if name in extra and extra[name] != harmless:
            raise ModelInvalidRequestError(f"extra[{name!r}] is refused: LM Studio ignores it", hint="Leave it out.")
    taken = next((name for name in ("model", "messages", "stream", "stream_options") if name in extra), None)
    if taken:
        raise ModelInvalidRequestError(f"extra[{taken!r}] would overwrite what the adapter sends; leave it out")
    if (path := _not_json(extra, "extra")) is not None:
        raise ModelInvalidRequestError(
            f"{path} cannot be sent as JSON: it is NaN, infinite, of no JSON type, or nested too deep"
        )


def _not_json(value: Any, path: str, depth: int = 0) -> str | None:
    """Where in the value something is that JSON cannot say; msgspec would send NaN as null."""
    if depth > _DEEPEST:  # or a list that contains itself
        return path
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    if value is None or isinstance(value, (str, int)):
        return None
    if is_mapping(value):
        pairs = [(f"{path}[{key!r}]", item if isinstance(key, str) else object()) for key, item in value.items()]
    elif is_array(value):
        pairs = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return path
    return next((found for key, item in pairs if (found := _not_json(item, key, depth + 1)) is not None), None)


_DEEPEST = 100
"""Levels of ``extra``."""


def history(prompt: str, options: Mapping[str, Any], reader: MessageReader, notes: list[Note]) -> list[AnyMessage]:
    """The messages to send: the history, the prompt after it, a system message before it if it has none.

    Raises:
        ModelInvalidRequestError: a message is wrong, or there is nothing to send.
    """
    if not is_text(prompt):
        raise ModelInvalidRequestError(f"prompt must be a text, not a value of type {type(prompt).__name__}")
    messages = [] if options["messages"] is None else reader.read(options["messages"])
    if prompt:
        messages.append(UserMessage(content=prompt))
    if not messages:
        raise ModelInvalidRequestError("there is nothing to send: give a prompt, or messages")
    system = options["system_message"]
    if system is not None:
        if not any(type(message) is SystemMessage for message in messages):
            messages[:0] = reader.read([{"role": "system", "content": system}])
        elif system not in (DEFAULTS["system_message"], next(m.content for m in messages if m.role == "system")):
            notes.append(Note("SYSTEM_MESSAGE_IGNORED", "the history has a system message of its own, which was used"))
    return messages


def _near(name: str) -> str:
    import difflib  # only for a mistake

    near = difflib.get_close_matches(name, _RULES, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
