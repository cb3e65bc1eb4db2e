"""Every error that LM Studio is known to answer with, word for word, as data that tests can be parametrised over.

Where a report or the documentation gives a text only in part, so does this: compare beginnings, not whole texts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Endpoint: TypeAlias = Literal["chat", "responses", "native", "embeddings"]


@dataclass(frozen=True, slots=True)
class ErrorCase:
    """One way to fail, as one endpoint of one version words it."""

    name: str
    status: int
    body: bytes
    endpoint: Endpoint = "chat"

    @property
    def message(self) -> str:
        """The words without their envelope: what an error event in the middle of a stream would say."""
        error = json.loads(self.body)["error"]
        return str(error if isinstance(error, str) else error["message"])

    def __str__(self) -> str:
        return self.name


def text_error(name: str, message: str, *, status: int = 400, endpoint: Endpoint = "chat") -> ErrorCase:
    """A case whose envelope is ``{"error": "..."}``: failures at run time, and most of validation."""
    return ErrorCase(name, status, _encode({"error": message}), endpoint)


def object_error(
    name: str,
    message: str,
    *,
    status: int = 400,
    endpoint: Endpoint = "chat",
    type: str = "invalid_request_error",  # noqa: A002 - the field's name
    param: str | None = None,
    code: str | None = None,
    pretty: bool = False,
) -> ErrorCase:
    """A case whose envelope is ``{"error": {"message", "type", "param", "code"}}``: errors about the model."""
    body = {"error": {"message": message, "type": type, "param": param, "code": code}}
    return ErrorCase(name, status, _encode(body, pretty=pretty), endpoint)


def _encode(body: dict[str, Any], *, pretty: bool = False) -> bytes:
    text = json.dumps(body, indent=2) if pretty else json.dumps(body, separators=(",", ":"))
    return text.encode()


# ── Errors that name what was asked: the server makes its own with these ────────────────────────────────────────────


def unknown_model(model: str, known: list[str], *, pretty: bool = False) -> ErrorCase:
    """Two or more models are loaded, and none is the one that was asked for."""
    message = f'Invalid model identifier "{model}". Please specify a valid downloaded model (e.g., {", ".join(known)}).'
    name = "unknown_model_pretty" if pretty else "unknown_model"
    return object_error(name, message, param="model", code="model_not_found", pretty=pretty)


def malformed_token(token: str) -> ErrorCase:
    """A token that is none of this server's."""
    body = {
        "error": {
            "type": "invalid_request",
            "code": "invalid_api_key",
            "message": f"Malformed LM Studio API token provided: {token[:10]}****...",
        }
    }
    return ErrorCase("token_malformed", 401, _encode(body))


NO_MODELS = "No models loaded. Please load a model in the developer page or use the 'lms load' command."
_NO_MEMORY = 'Failed to load model "x". Error: Model loading aborted due to insufficient system resources.'
_CANCELED = 'Failed to load model "x". Error: Operation canceled.'
_UNAUTHORISED = (
    "An LM Studio API token is required to make requests to this server, but none was provided using the "
    "Authorization header using the 'Bearer' scheme"
)
_OVERFLOW_ADVICE = "Try to load the model with a larger context length, or provide a shorter input"
_OVERFLOW_BARE = (
    "The number of tokens to keep from the initial prompt is greater than the context length. " + _OVERFLOW_ADVICE
)
_OVERFLOW_ENGINE = '{"code":500,"message":"Context size has been exceeded.","type":"server_error"}'

_MODELS = (
    unknown_model("x", ["llama3", "qwen3-8b"]),
    unknown_model("x", ["llama3", "qwen3-8b"], pretty=True),
    object_error(
        "unknown_model_0_3_5",
        'Model "x" not found. Please specify a valid model.',
        status=404,
        param="model",
        code="model_not_found",
    ),
    object_error("no_models_loaded", NO_MODELS, param="model"),
    object_error("no_models_loaded_0_3_5", NO_MODELS, status=404, param="model"),
    object_error("load_failed_memory", _NO_MEMORY, param="model"),
    object_error("load_failed_memory_old", _NO_MEMORY, status=404, param="model"),
    object_error("load_failed_canceled", _CANCELED, param="model"),
    object_error("load_failed_canceled_old", _CANCELED, status=404, param="model"),
    object_error(
        "native_model_not_found",
        'Model "x" not found.',
        status=404,
        endpoint="native",
        type="model_not_found",
        code="model_not_found",
    ),
)

_RUNTIME = (
    text_error("model_reloaded", "Model reloaded."),
    text_error("model_unloaded", "Model unloaded."),
    text_error("unloaded_in_queue", "Model was unloaded while the request was still in queue.."),
    text_error("startup_aborted", "Engine protocol startup was aborted"),
    text_error("crash_null", "The model has crashed without additional information. (Exit code: null)"),
    text_error("crash_code", "The model has crashed without additional information. (Exit code: 18446744072635812000)"),
    text_error("engine_fetch_failed", "Engine protocol predict request failed: fetch failed"),
    text_error(
        "engine_stream_error",
        "Engine protocol predict stream returned an error: "
        '{"code":500,"message":"Compute error.","type":"server_error"}',
    ),
    text_error("channel_error", "Channel Error"),
    object_error(
        "responses_internal_error",
        "The model has crashed without additional information. (Exit code: null)",
        status=500,
        endpoint="responses",
        type="internal_error",
        code="unknown",
    ),
)

_OVERFLOW = (
    text_error(
        "overflow_early",
        "Trying to keep the first 5228 tokens when context the overflows. However, the model is loaded with context "
        f"length of only 4096 tokens, which is not enough. {_OVERFLOW_ADVICE}",
    ),
    text_error("overflow_n_keep", "Cannot truncate prompt with n_keep (13575) >= n_ctx (4096)"),
    text_error(
        "overflow_mid_2026",
        "The number of tokens to keep from the initial prompt is greater than the context length "
        f"(n_keep: 5228 >= n_ctx: 4096). {_OVERFLOW_ADVICE}",
    ),
    text_error("overflow_without_numbers", _OVERFLOW_BARE),
    object_error(
        "responses_overflow", _OVERFLOW_BARE, status=500, endpoint="responses", type="internal_error", code="unknown"
    ),
    object_error(
        "native_overflow", _OVERFLOW_BARE, status=500, endpoint="native", type="internal_error", code="unknown"
    ),
    text_error("overflow_exceeded", f"Engine protocol predict stream returned an error: {_OVERFLOW_ENGINE}"),
    ErrorCase(
        "overflow_llama_cpp",
        400,
        _encode(
            {
                "error": {
                    "code": 400,
                    "message": "the request exceeds the available context size. try increasing it",
                    "type": "exceed_context_size_error",
                    "n_prompt_tokens": 5228,
                    "n_ctx": 4096,
                }
            }
        ),
    ),
    text_error(
        "overflow_mid_generation",
        "Reached context length of 4096 tokens with model (arch: qwen3next) that does not currently support "
        "mid-generation context overflow.",
    ),
)

_ACCESS = (
    ErrorCase(
        "token_missing",
        401,
        _encode({"error": {"type": "invalid_request", "code": "invalid_api_key", "message": _UNAUTHORISED}}),
    ),
    malformed_token("sk-bogus-EXAMPLE"),
    object_error(  # the status is known, its body is a guess
        "token_without_mcp",
        "The provided LM Studio API token does not have permission to use MCP servers.",
        status=403,
        endpoint="native",
        type="invalid_request",
        code="insufficient_permissions",
    ),
)

_NATIVE = (
    object_error(
        "native_unknown_key",
        "Unrecognized key(s) in object: 'ttl'",
        endpoint="native",
        type="invalid_request",
        code="unrecognized_keys",
    ),
    object_error(
        "native_reasoning_value",
        "Reasoning setting 'off' is not supported by model 'openai/gpt-oss-20b'. Supported settings: 'low', 'medium', "
        "'high'.",
        endpoint="native",
        type="invalid_request",
        param="reasoning",
        code="invalid_value",
    ),
    object_error(
        "native_missing_field",
        '"model" is required',
        endpoint="native",
        type="invalid_request",
        param="model",
        code="missing_required_parameter",
    ),
    object_error(
        "native_stale_response",
        "Could not find stored response for previous_response_id 'resp_1'. Responses older than 30 days are "
        "automatically deleted.",
        endpoint="native",
        type="invalid_request",
        param="previous_response_id",
    ),
    object_error(
        "responses_stale_response",
        "Response with id 'resp_1' not found while attempting to build chat history chain",
        endpoint="responses",
        param="previous_response_id",
        code="previous_response_not_found",
    ),
)

JSON_OBJECT = text_error("json_object", "'response_format.type' must be 'json_schema' or 'text'")
TOOL_CHOICE_OBJECT = text_error(
    "tool_choice_object", "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"
)
MALFORMED_MESSAGES = text_error(
    "malformed_messages",
    "Invalid 'messages' in payload. Please check the structure of your 'messages' and try again.",
)
IMAGE_URL = text_error("image_url", "'url' field must be a base64 encoded image.")
NO_VISION = text_error("no_vision", "Vision add-on is not loaded, but images were provided")
NO_MODELS_LOADED = _MODELS[3]
TOKEN_MISSING = _ACCESS[0]

_VALIDATION = (
    JSON_OBJECT,
    TOOL_CHOICE_OBJECT,
    MALFORMED_MESSAGES,
    IMAGE_URL,
    NO_VISION,
    text_error("embeddings_token_ids", "'input' field must be a string or an array of strings", endpoint="embeddings"),
    object_error(
        "embeddings_by_llm",
        'Failed to load model "llama3". Error: Model is not embedding.',
        endpoint="embeddings",
        param="model",
    ),
)

CATALOGUE: tuple[ErrorCase, ...] = (*_MODELS, *_RUNTIME, *_OVERFLOW, *_ACCESS, *_NATIVE, *_VALIDATION)
"""Every case, in the order of the facts it was taken from; names are unique."""
