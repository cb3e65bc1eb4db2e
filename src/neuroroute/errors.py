"""Every error of NeuroRoute, in one tree.

::

    LMStudioError                       code                    retried by default
    ├── ModelUnavailableError           MODEL_UNAVAILABLE       yes
    │   └── CircuitOpenError            MODEL_UNAVAILABLE       no    nothing was sent
    ├── ModelNotFoundError              MODEL_NOT_FOUND         no
    ├── ModelTimeoutError               MODEL_TIMEOUT           yes   (also a TimeoutError)
    ├── ModelRateLimitedError           MODEL_RATE_LIMITED      yes
    ├── ModelQuotaExceededError         MODEL_QUOTA_EXCEEDED    no
    ├── ModelBusyError                  MODEL_BUSY              later
    ├── ModelAuthenticationError        MODEL_AUTHENTICATION    no
    ├── ModelContentFilteredError       MODEL_CONTENT_FILTERED  no
    ├── ModelInvalidRequestError        MODEL_INVALID_REQUEST   no    (also a ValueError)
    ├── ModelContextLengthError         MODEL_CONTEXT_LENGTH    no
    ├── ModelCapabilityError            MODEL_CAPABILITY        no    nothing was sent
    ├── ModelEmptyResponseError         MODEL_EMPTY_RESPONSE    once
    ├── NetworkError                    NETWORK_ERROR           yes   (also a ConnectionError)
    │   └── AdapterClosedError          NETWORK_ERROR           no    by yourself
    ├── StreamInterruptedError          STREAM_INTERRUPTED      no
    ├── MalformedResponseError          MALFORMED_RESPONSE      once
    ├── ToolError                       TOOL_ERROR              no
    │   ├── ToolUnknownError            TOOL_UNKNOWN            no    told to the model
    │   ├── ToolArgumentsError          TOOL_ARGUMENTS          no    told to the model
    │   ├── ToolFailedError             TOOL_FAILED             no    told to the model
    │   ├── ToolRefusedError            TOOL_REFUSED            no    told to the model
    │   └── ToolRoundsError             TOOL_ROUNDS             no    raised
    ├── StructuredOutputError           STRUCTURED_OUTPUT       no
    ├── ConversationConflictError       CONVERSATION_CONFLICT   no
    └── ConfigurationError              CONFIGURATION           no    (also a ValueError)

Codes are stable: programs may branch on ``error.code``. An error met after the first chunk of an answer carries what
came so far in ``partial`` and is never retryable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    from typing import Unpack

    from neuroroute.responses import ModelResponse


UnavailableReason: TypeAlias = Literal["no_models", "load_failed", "loading", "unloaded", "crashed", "engine"]
"""Why a model cannot answer: none is loaded, loading failed or is under way, it was unloaded, it crashed, or its engine
lost the request."""


class ErrorFacts(TypedDict, total=False):
    """What may be known of a failure, beside its message."""

    hint: str
    retryable: bool
    retry_after_ms: float | None
    status: int | None
    model: str | None
    host: str | None
    details: dict[str, Any]


class LMStudioError(Exception):
    """Whatever went wrong between you and the model.

    ``str(error)`` says what happened, then what to do next.
    """

    code: ClassVar[str] = "LMSTUDIO_ERROR"
    default_hint: ClassVar[str] = ""
    default_retryable: ClassVar[bool] = False
    retries: ClassVar[int | None] = None
    """How often this kind is retried at most, where that is less than ``max_retries``."""

    message: str
    """What happened, in one sentence; a server's own words where it said any."""
    hint: str
    """What to do next."""
    retryable: bool
    """Whether the same request may succeed when it is sent again."""
    retry_after_ms: float | None
    """Milliseconds that the server asked to wait."""
    status: int | None
    """The HTTP status, where there was an answer."""
    model: str | None
    """The model that was asked."""
    host: str | None
    """Name and port of the host that was asked."""
    attempts: int
    """How many attempts were made, this one included; 0 when nothing was sent."""
    details: dict[str, Any]
    """What else is known, such as the server's ``type``, ``param`` and ``code``."""
    partial: ModelResponse | None
    """What had been received when the answer broke off."""

    def __init__(self, message: str, **facts: Unpack[ErrorFacts]) -> None:
        super().__init__(message)
        self.message = message
        self.hint = facts.get("hint", self.default_hint)
        self.retryable = facts.get("retryable", self.default_retryable)
        self.retry_after_ms = facts.get("retry_after_ms")
        self.status = facts.get("status")
        self.model = facts.get("model")
        self.host = facts.get("host")
        self.details = facts.get("details", {})
        self.attempts = 0
        self.partial = None

    def __str__(self) -> str:
        message = self.message if self.message.endswith((".", "!", "?")) else self.message + "."
        where = f" (model {self.model!r}" + (f" at {self.host}" if self.host else "") + ")" if self.model else ""
        tried = f" Tried {self.attempts} times." if self.attempts > 1 else ""
        return f"{self.code}{where}: {message}{tried}" + (f" {self.hint}" if self.hint else "")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.code} status={self.status} retryable={self.retryable}: {self.message}>"


def is_loading(error: LMStudioError) -> bool:
    """Whether the server says that it is loading the model: waiting is not failing."""
    return isinstance(error, ModelUnavailableError) and error.reason == "loading"


class ModelUnavailableError(LMStudioError):
    """The model is not loaded, failed to load, was unloaded or crashed; or the server answered 5xx."""

    code = "MODEL_UNAVAILABLE"
    default_retryable = True
    default_hint = "Look at LM Studio's developer page: is the model loaded, does its log show a crash?"

    @property
    def reason(self) -> UnavailableReason | None:
        """Why, where the server told in words that are known."""
        return self.details.get("reason")


class CircuitOpenError(ModelUnavailableError):
    """Nothing was sent: too many of the last requests failed; ``__cause__`` is the last failure."""

    default_retryable = False
    default_hint = "In a while one request is let through to see whether the server is back."


class ModelNotFoundError(LMStudioError):
    """The server does not know this model."""

    code = "MODEL_NOT_FOUND"
    default_hint = "See what the server has with `neuroroute models`, and use one of those ids."


class ModelTimeoutError(LMStudioError, TimeoutError):
    """One of our time limits passed, or the server answered 408 or 504."""

    code = "MODEL_TIMEOUT"
    default_retryable = True
    default_hint = "Allow more with timeout_ms, shorten the prompt, or stream the answer."


class ModelRateLimitedError(LMStudioError):
    """429: a proxy in front of LM Studio asks for fewer requests (LM Studio itself has no rate limit)."""

    code = "MODEL_RATE_LIMITED"
    default_retryable = True
    default_hint = "Send fewer requests at once, or wait as long as retry_after_ms says."


class ModelQuotaExceededError(LMStudioError):
    """402, or 429 with ``insufficient_quota``: waiting will not help."""

    code = "MODEL_QUOTA_EXCEEDED"
    default_hint = "Raise the quota at the proxy that answered, or use another key."


class ModelBusyError(LMStudioError):
    """Our own queue for the model is full, or waiting in it would take longer than there is time; nothing was sent."""

    code = "MODEL_BUSY"
    default_retryable = True
    retries = 0  # the same queue at once is no better
    default_hint = "Send fewer requests at once, or ask again later."


class ModelAuthenticationError(LMStudioError):
    """401 or 403: the token is missing, malformed or not allowed to do this."""

    code = "MODEL_AUTHENTICATION"
    default_hint = "Give api_token=... or set LM_API_TOKEN to a token made in LM Studio's server settings."


class ModelContentFilteredError(LMStudioError):
    """The answer ended with finish reason ``content_filter``."""

    code = "MODEL_CONTENT_FILTERED"
    default_hint = "Word the request differently."


class ModelInvalidRequestError(LMStudioError, ValueError):
    """The request is wrong: found here before anything was sent, or refused by the server with a 4xx."""

    code = "MODEL_INVALID_REQUEST"


class ModelContextLengthError(LMStudioError):
    """The prompt is longer than the context that the model was loaded with (or the server answered 413)."""

    code = "MODEL_CONTEXT_LENGTH"
    default_hint = "Shorten the history, or load the model with a larger context length."

    @property
    def prompt_tokens(self) -> int | None:
        """Tokens in the prompt, where the server told."""
        return self.details.get("prompt_tokens")

    @property
    def context_length(self) -> int | None:
        """Tokens that fit, where the server told."""
        return self.details.get("context_length")


class ModelCapabilityError(LMStudioError):
    """With ``strict=True``: the server says that the model lacks what the request needs; nothing was sent."""

    code = "MODEL_CAPABILITY"
    default_hint = "Choose another model (list_models() tells what each can do), or leave strict out."


class ModelEmptyResponseError(LMStudioError):
    """A successful answer with neither content nor reasoning nor a call (LM Studio #1602)."""

    code = "MODEL_EMPTY_RESPONSE"
    default_retryable = True
    retries = 1
    default_hint = "Try again; if it stays so, reload the model or check its prompt template in LM Studio."


class NetworkError(LMStudioError, ConnectionError):
    """Refused, reset, unresolved or untrusted (TLS); or a whole answer that was cut short."""

    code = "NETWORK_ERROR"
    default_retryable = True
    default_hint = "Is LM Studio running with its server started, at this address and port?"


class AdapterClosedError(NetworkError):
    """The adapter was closed while the request was under way; the server has no part in it."""

    default_retryable = False
    default_hint = ""


class StreamInterruptedError(LMStudioError):
    """A stream that ended after its first chunk without an end; ``partial`` holds what came."""

    code = "STREAM_INTERRUPTED"
    default_hint = "What came so far is in error.partial; ask again, or ask the model to go on from there."


class MalformedResponseError(LMStudioError):
    """Not JSON, no ``choices``, an empty body, over the size limit; or a 200 that is an error of no known kind."""

    code = "MALFORMED_RESPONSE"
    default_retryable = True
    retries = 1
    default_hint = "Does base_url lead to LM Studio itself, or to a proxy that answers for it?"


class ToolError(LMStudioError):
    """A tool call came to nothing. In the loop of ``run_tools`` all but TOOL_ROUNDS are told to the model."""

    code = "TOOL_ERROR"


class ToolUnknownError(ToolError):
    """The model called a tool that was not offered."""

    code = "TOOL_UNKNOWN"


class ToolArgumentsError(ToolError):
    """The arguments of a call are no JSON object, or not what the tool takes; the tool did not run."""

    code = "TOOL_ARGUMENTS"


class ToolFailedError(ToolError):
    """A tool raised, or took longer than its limit; ``__cause__`` is what it raised."""

    code = "TOOL_FAILED"


class ToolRefusedError(ToolError):
    """``on_tool_call`` refused the call; the tool did not run."""

    code = "TOOL_REFUSED"


class ToolRoundsError(ToolError):
    """The model asked for tools after the last round, or made one call three times.

    ``partial.messages`` is the history so far.
    """

    code = "TOOL_ROUNDS"
    default_hint = "Allow more with max_rounds, or ask for less at once; error.partial.messages goes on from there."


class StructuredOutputError(LMStudioError):
    """The answer is not of the type that ``response_format`` asked for; ``partial`` is the answer."""

    code = "STRUCTURED_OUTPUT"
    default_hint = "Ask again with reask=1, say in the prompt what is wanted, or simplify the type."


class ConversationConflictError(LMStudioError):
    """A conversation was saved or deleted by another since it was loaded; nothing was written, nothing is lost."""

    code = "CONVERSATION_CONFLICT"
    default_hint = "Load it again (a conversation does with its next turn), or save this one under another id."


class ConfigurationError(LMStudioError, ValueError):
    """A setting is wrong, or the base URL leads to no API ("Unexpected endpoint or method", LM Studio #618)."""

    code = "CONFIGURATION"
