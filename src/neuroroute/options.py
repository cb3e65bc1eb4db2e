"""The options of a request, checked by one table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import iscoroutinefunction
from typing import Any, Literal, TypeAlias, TypedDict, cast

from neuroroute.capabilities import CAPABILITIES, Capability
from neuroroute.details import ModelProgress
from neuroroute.errors import ModelInvalidRequestError
from neuroroute.integrations import is_integration
from neuroroute.jsontypes import is_array, is_mapping
from neuroroute.messages import ChatMessage
from neuroroute.responses import ModelResponse
from neuroroute.rules import (
    Concern,
    Rule,
    are_biases,
    are_headers,
    are_texts,
    integer,
    is_words,
    not_json,
    number,
    one_of,
)
from neuroroute.shapes.shape import AnswerShape
from neuroroute.tools.definitions import FunctionDefinition
from neuroroute.tools.offer import FunctionChoice, ToolChoice, is_function_call, is_tool_choice
from neuroroute.tools.toolbox import Toolbox, ToolItem

Api: TypeAlias = Literal["chat", "completions", "responses", "native"]
Reasoning: TypeAlias = Literal["off", "on", "low", "medium", "high"]
Priority: TypeAlias = Literal["normal", "low"]
OnOverflow: TypeAlias = Literal["error", "trim"]
CacheMode: TypeAlias = Literal["read", "refresh", "off"]


class EmbedOptions(TypedDict, total=False):
    """The options that requests of every kind take, ``embed`` too; see :class:`RequestOptions`."""

    timeout_ms: float | None
    """A whole answer: the total, attempts and back-offs included. A stream: until its first meaningful chunk.
    Default: ``LMSTUDIO_TIMEOUT``, else 60000."""
    connect_timeout_ms: float | None
    """Connecting. Default: 5000."""
    model_loading_timeout_ms: float | None
    """When the server says that it loads the model, the deadline moves by so much, once. Default: 120000."""
    max_retries: int | None
    """Attempts after the first. Default: 3, streaming 2."""
    initial_backoff: float | None
    """Doubles from retry to retry, with full jitter. Default: 1000."""
    priority: Priority | None
    """``low`` lets requests of normal priority go first where they wait for a slot. Default: ``normal``."""
    hedge_after_ms: float | None
    """When the first chunk has not come by then, the request is sent a second time, and the first to answer is taken;
    paid from the retry budget. Default: never."""
    on_progress: Callable[[ModelProgress], object] | None
    """Is told how far the server is before it answers, in the event loop's thread: loading the model, and with
    ``native`` streams reading the prompt. It must not wait."""
    strict_model: bool | None
    """An error instead of a note when another model answered. Default: False."""
    strict: bool | None
    """An error instead of a note when the server says that the model lacks what the request needs. Default: False."""
    ttl: int | None
    """Seconds that a model loaded by this request stays loaded when idle."""
    extra_headers: Mapping[str, str] | None
    """Further HTTP headers, printable ASCII."""


class ConversationOptions(EmbedOptions, total=False):
    """The options that a conversation may have for all its turns; see :class:`RequestOptions`."""

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
    idle_timeout_ms: float | None
    """Silence between chunks of a stream. Default: 60000."""
    total_timeout_ms: float | None
    """A stream's whole length. Default: 1800000."""
    first_token_timeout_ms: float | None
    """One attempt's wait for the first chunk. Default: none."""
    continue_stream: bool | None
    """Whether a stream that breaks off is continued: the model is asked to go on from the text that came. Not for typed
    answers, nor once a call has begun. Default: False."""
    on_overflow: OnOverflow | None
    """``trim``: where the history is longer than the model's context, the oldest whole turns are left out, once.
    Default: ``error``."""
    cache_mode: CacheMode | None
    """With the adapter's ``cache``: ``refresh`` asks anew and keeps the new answer, ``off`` leaves the cache alone.
    Default: ``read``."""
    tool_choice: ToolChoice | None
    """``auto``, ``none``, ``required``, or ``{"type": "function", "function": {"name": ...}}``. Default: ``auto``."""
    response_format: Any
    """What the answer is to be: a pydantic model, another type, or a JSON schema; it is in ``response.parsed`` then."""
    reask: int | None
    """How often to ask again, with what is wrong, when the answer is not of that type. Default: 0; not for streams."""
    salvage: bool | None
    """Whether calls that the model left in its text are taken out of it. Default: True."""
    merge_roles: bool | None
    """Whether neighbours of one role are merged, for chat templates that want roles to alternate. Default: False."""
    reasoning: Reasoning | None
    """Whether and how hard the model thinks before it answers; refused where the model lists other settings.
    Default: as the model is set up."""
    api: Api | None
    """The server's route that is asked: ``chat`` (/v1/chat/completions), ``completions`` (/v1/completions: the prompt
    as it is), ``responses`` (/v1/responses) or ``native`` (/api/v1/chat). What a route does not take is refused; see
    docs/apis.md. Default: ``chat``."""
    integrations: Iterable[str | Mapping[str, Any]] | None
    """Plugins and MCP servers whose tools the server itself may run; ``native`` only."""
    context_length: int | None
    """Tokens of context that the server is to take; ``native`` only. Default: as the model is loaded."""
    model: str | None
    """Another model for this call; ``auto``: whichever is loaded."""
    needs: Collection[Capability] | None
    """What the model must be able to do: ``auto`` takes one that can; of any other, see ``strict``."""
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
    draft_model: str | None
    """A smaller model for speculative decoding."""
    extra: Mapping[str, Any] | None
    """Further fields of the body, passed through."""


class CommonOptions(ConversationOptions, total=False):
    """The options that every verb takes; see :class:`RequestOptions`."""

    messages: Iterable[ChatMessage | Mapping[str, Any]] | None
    """The history; ``prompt``, when not empty, is appended as a user message."""
    previous: ModelResponse | None
    """An answer to go on from: without ``messages`` its history is the history. Where the server that gave it remembers
    it (``native``, ``responses``), only what is new is sent; else everything, so that the answer is the same."""
    system_message: str | None
    """Used when the history has no system message; None sends none. Default: "You are a helpful assistant."."""


class RequestOptions(CommonOptions, total=False):
    """Options of a request, all keyword arguments; at the constructor they are defaults, a call's own value wins.

    Durations are milliseconds. An option that is not given, or given as None where None means nothing, has its default.
    """

    tools: Iterable[ToolItem] | Toolbox | None
    """What the model may call: ``@tool`` functions, plain functions, definitions."""
    functions: Iterable[FunctionDefinition | Mapping[str, Any]] | None
    """The older form of tools; the answer's call is in ``function_call``."""
    function_call: FunctionChoice | None
    """``auto``, ``none``, or ``{"name": ...}``. Default: ``auto``."""
    store: bool | None
    """Whether the server is to remember the answer, for ``previous``; ``native`` only. Default: True."""


def _are_integrations(value: Any) -> bool:
    return is_array(value) and bool(value) and all(map(is_integration, value))


def _are_capabilities(value: Any) -> bool:
    if not isinstance(value, (set, frozenset, list, tuple)):
        return False
    return all(isinstance(one, str) and one in CAPABILITIES for one in cast("Collection[Any]", value))


_POSITIVE = Rule(number(0, 1e12, open_low=True), "a number of milliseconds over 0", concerns="way")
_FLAG = Rule(lambda value: isinstance(value, bool), "True or False", False, concerns="way")
_PENALTY = Rule(number(-2, 2), "a number from -2 to 2", 0)

_RULES: dict[str, Rule] = {
    # read where the history is put together
    "messages": Rule(lambda value: True, "a list of messages", concerns="here"),
    "system_message": Rule(
        lambda value: value is None or isinstance(value, str),
        "a text, or None",
        "You are a helpful assistant.",
        concerns="here",
    ),
    "max_tokens": Rule(integer(1, -1), "a whole number of at least 1, or -1 for no limit", 1024),
    "temperature": Rule(number(0), "a number of at least 0", 0.7),
    "top_p": Rule(number(0, 1, open_low=True), "a number over 0 and at most 1", 1),
    "frequency_penalty": _PENALTY,
    "presence_penalty": _PENALTY,
    "stop": Rule(are_texts, "a text that is not empty, or a list of such"),
    "timeout_ms": _POSITIVE,
    "idle_timeout_ms": Rule(_POSITIVE.check, _POSITIVE.right, 60_000, concerns="way"),
    "total_timeout_ms": Rule(_POSITIVE.check, _POSITIVE.right, 1_800_000, concerns="way"),
    "first_token_timeout_ms": _POSITIVE,
    "connect_timeout_ms": Rule(_POSITIVE.check, _POSITIVE.right, 5000, concerns="way"),
    "max_retries": Rule(integer(0), "a whole number of at least 0", concerns="way"),
    "initial_backoff": Rule(number(0, 1e12), "a number of milliseconds of at least 0", 1000, concerns="way"),
    "model_loading_timeout_ms": Rule(_POSITIVE.check, _POSITIVE.right, 120_000, concerns="way"),
    "priority": one_of("normal", "low", concerns="way"),
    "hedge_after_ms": _POSITIVE,
    "continue_stream": _FLAG,
    "on_overflow": one_of("error", "trim", concerns="way"),
    "cache_mode": one_of("read", "refresh", "off", concerns="here"),
    "reasoning": Rule(
        lambda value: value in ("off", "on", "low", "medium", "high"), "one of off, on, low, medium, high"
    ),
    "api": one_of("chat", "completions", "responses", "native"),
    "previous": Rule(lambda value: isinstance(value, ModelResponse), "a ModelResponse", concerns="here"),
    "integrations": Rule(
        _are_integrations,
        "a list of at least one plugin id such as 'mcp/playwright', or dicts: {'type': 'plugin', 'id': ...}, or "
        "{'type': 'ephemeral_mcp', 'server_label': ..., 'server_url': ...}",
        read=list,
    ),
    "store": Rule(_FLAG.check, _FLAG.right),
    "context_length": Rule(integer(1), "a whole number of tokens of at least 1"),
    "on_progress": Rule(
        lambda value: callable(value) and not iscoroutinefunction(value),
        "a function, not async, of a ModelProgress",
        concerns="here",
    ),
    "model": Rule(is_words, "a model id", concerns="here"),
    "needs": Rule(_are_capabilities, f"a set of {', '.join(CAPABILITIES)}", read=frozenset),
    "strict_model": _FLAG,
    "strict": Rule(_FLAG.check, _FLAG.right, False),  # an answer that it allows is none that was only noted
    "tools": Rule(lambda value: True, "a list of tools", read=Toolbox.of, concerns="here"),
    "tool_choice": Rule(
        is_tool_choice, 'auto, none, required or {"type": "function", "function": {"name": ...}}', concerns="here"
    ),
    "functions": Rule(lambda value: True, "a list of functions", read=Toolbox.of_functions, concerns="here"),
    "function_call": Rule(is_function_call, 'auto, none or {"name": ...}', concerns="here"),
    "response_format": Rule(lambda value: True, "a type or a JSON schema", read=AnswerShape.of, concerns="here"),
    "reask": Rule(integer(0), "a whole number of at least 0", 0, concerns="here"),
    "salvage": Rule(_FLAG.check, _FLAG.right, True),
    "merge_roles": Rule(_FLAG.check, _FLAG.right, False, concerns="here"),
    "seed": Rule(integer(-(2**63)), "a whole number"),
    "top_k": Rule(integer(0), "a whole number of at least 0"),
    "min_p": Rule(number(0, 1), "a number from 0 to 1"),
    "repeat_penalty": Rule(number(0, open_low=True), "a number over 0"),
    "logit_bias": Rule(are_biases, "a dict of token ids (as text) to numbers"),
    "ttl": Rule(integer(1), "a whole number of seconds of at least 1", concerns="way"),
    "draft_model": Rule(is_words, "a model id"),
    "extra": Rule(lambda value: is_mapping(value) and all(map(is_words, value)), "a dict of fields of the body"),
    "extra_headers": Rule(
        are_headers, "a dict of HTTP header names to printable ASCII texts, none about how data is sent"
    ),
}
_MEANS_NOTHING = frozenset(name for name, rule in _RULES.items() if rule.default is not None) - {"system_message"}
"""Options that None leaves at their default."""

DEFAULTS: dict[str, Any] = {name: rule.default for name, rule in _RULES.items()}
CONCERNS: dict[str, Concern] = {name: rule.concerns for name, rule in _RULES.items()}
"""What each option may change; see :class:`~neuroroute.rules.Rule`."""

_IGNORED_BY_SERVER = {"n": 1, "logprobs": False}
"""Fields of ``extra`` that LM Studio ignores, with the one value that is harmless."""


def checked(options: Mapping[str, Any], verb: str, others: Iterable[str] = ()) -> dict[str, Any]:
    """The options that were given, each found right.

    Args:
        options: as a caller gave them.
        verb: what was called, for the message of a TypeError.
        others: what it takes beside options, which may have been meant.

    Raises:
        TypeError: an unknown option.
        ModelInvalidRequestError: a wrong value; names the option and what would be right.
    """
    given: dict[str, Any] = {}
    for name, value in options.items():
        rule = _RULES.get(name)
        if rule is None:
            raise TypeError(f"{verb}() got an unexpected option {name!r}{_near(name, others)}")
        if value is None and name in _MEANS_NOTHING:
            continue
        if value is not None and not rule.check(value):
            raise ModelInvalidRequestError(f"{name} is {_shown(name, value)}; it must be {rule.right}")
        given[name] = value if rule.read is None or value is None else rule.read(value)
    if extra := given.get("extra"):
        _check_extra(extra)
    return given


_OURS = ("model", "messages", "prompt", "input", "previous_response_id", "stream", "stream_options")
"""Fields that the adapter makes from what it was given."""


def _check_extra(extra: Mapping[str, Any]) -> None:
    for name, harmless in _IGNORED_BY_SERVER.items():
        if name in extra and extra[name] != harmless:
            raise ModelInvalidRequestError(f"extra[{name!r}] is refused: LM Studio ignores it", hint="Leave it out.")
    taken = next((name for name in _OURS if name in extra), None)
    if taken:
        raise ModelInvalidRequestError(f"extra[{taken!r}] would overwrite what the adapter sends; leave it out")
    if (path := not_json(extra, "extra")) is not None:
        raise ModelInvalidRequestError(
            f"{path} cannot be sent as JSON: it is NaN, infinite, of no JSON type, or nested too deep"
        )


def _near(name: str, others: Iterable[str]) -> str:
    import difflib  # only for a mistake

    near = difflib.get_close_matches(name, [*others, *_RULES], 1)
    return f"; did you mean {near[0]!r}?" if near else ""


_SAID = frozenset(
    ("messages", "system_message", "stop", "previous", "extra", "extra_headers", "tool_choice", "function_call")
)
"""Options that may hold what is said, or a token: errors do not quote them."""


def _shown(name: str, value: object) -> str:
    if name in _SAID:
        return f"a value of type {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
