"""An error of LM Studio in its envelope, and those that the simulated server itself has to say."""

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
    return ErrorCase(name, status, encode({"error": message}), endpoint)


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
    return ErrorCase(name, status, encode(body, pretty=pretty), endpoint)


def encode(body: dict[str, Any], *, pretty: bool = False) -> bytes:
    """A body as its bytes."""
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
    return ErrorCase("token_malformed", 401, encode(body))


def unknown_model_early(model: str, _known: list[str]) -> ErrorCase:
    """The same on 0.3.5, which names no others."""
    message = f'Model "{model}" not found. Please specify a valid model.'
    return object_error("unknown_model_0_3_5", message, status=404, param="model", code="model_not_found")


def load_failed(model: str, reason: str, *, status: int = 400, name: str = "load_failed") -> ErrorCase:
    """A model could not be loaded, for a reason in the server's words."""
    return object_error(name, f'Failed to load model "{model}". Error: {reason}', status=status, param="model")


def stale_response(id: str) -> ErrorCase:  # noqa: A002 - the field's name
    """A response that ``/v1/responses`` is to continue, and that is not stored, or no more."""
    return object_error(
        "responses_stale_response",
        f"Response with id '{id}' not found while attempting to build chat history chain",
        endpoint="responses",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def not_embedding(model: str) -> ErrorCase:
    """A model that answers in text was asked for embeddings."""
    message = f'Failed to load model "{model}". Error: Model is not embedding.'
    return object_error("embeddings_by_llm", message, endpoint="embeddings", param="model")


def crashed(exit_code: int | None) -> ErrorCase:
    """The process that ran the model is gone."""
    code = "null" if exit_code is None else str(exit_code)
    message = f"The model has crashed without additional information. (Exit code: {code})"
    return text_error("crash_null" if exit_code is None else "crash_code", message)


def overflow_early(tokens: int, context: int) -> ErrorCase:
    """A prompt of so many tokens does not fit, in the words of 0.3."""
    message = (
        f"Trying to keep the first {tokens} tokens when context the overflows. However, the model is loaded with "
        f"context length of only {context} tokens, which is not enough. {OVERFLOW_ADVICE}"
    )
    return text_error("overflow_early", message)


def overflow_n_keep(tokens: int, context: int) -> ErrorCase:
    """The same in the words of early 2026."""
    return text_error("overflow_n_keep", f"Cannot truncate prompt with n_keep ({tokens}) >= n_ctx ({context})")


def overflow_without_numbers(_tokens: int, _context: int) -> ErrorCase:
    """The same in the words of 0.4.20 to 0.4.25, which tell no numbers."""
    return text_error("overflow_without_numbers", OVERFLOW_BARE)


_NO_MODELS = "No models loaded. Please load a model in the developer page or use the 'lms load' command."
NO_MEMORY = "Model loading aborted due to insufficient system resources."
CANCELED = "Operation canceled."
OVERFLOW_ADVICE = "Try to load the model with a larger context length, or provide a shorter input"
OVERFLOW_BARE = (
    "The number of tokens to keep from the initial prompt is greater than the context length. " + OVERFLOW_ADVICE
)
NO_MODELS_LOADED = object_error("no_models_loaded", _NO_MODELS, param="model")
NO_MODELS_LOADED_EARLY = object_error("no_models_loaded_0_3_5", _NO_MODELS, status=404, param="model")
MODEL_RELOADED = text_error("model_reloaded", "Model reloaded.")
MODEL_UNLOADED = text_error("model_unloaded", "Model unloaded.")
UNLOADED_IN_QUEUE = text_error("unloaded_in_queue", "Model was unloaded while the request was still in queue..")
JSON_OBJECT = text_error("json_object", "'response_format.type' must be 'json_schema' or 'text'")
TOOL_CHOICE_OBJECT = text_error(
    "tool_choice_object", "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"
)
MALFORMED_MESSAGES = text_error(
    "malformed_messages",
    "Invalid 'messages' in payload. Please check the structure of your 'messages' and try again.",
)
PROMPT = text_error("prompt_is_no_text", "'prompt' field must be a string")
IMAGE_URL = text_error("image_url", "'url' field must be a base64 encoded image.")
NO_VISION = text_error("no_vision", "Vision add-on is not loaded, but images were provided")
TOKEN_IDS = text_error(
    "embeddings_token_ids", "'input' field must be a string or an array of strings", endpoint="embeddings"
)
_UNAUTHORISED = (
    "An LM Studio API token is required to make requests to this server, but none was provided using the "
    "Authorization header using the 'Bearer' scheme"
)
TOKEN_MISSING = ErrorCase(
    "token_missing",
    401,
    encode({"error": {"type": "invalid_request", "code": "invalid_api_key", "message": _UNAUTHORISED}}),
)
