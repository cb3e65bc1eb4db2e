"""Every error that LM Studio is known to answer with, word for word, as data that tests can be parametrised over.

Where a report or the documentation gives a text only in part, so does this: compare beginnings, not whole texts.
"""

from __future__ import annotations

import difflib

from neuroroute.simulator.wordings import (
    CANCELED,
    IMAGE_URL,
    JSON_OBJECT,
    MALFORMED_MESSAGES,
    MODEL_RELOADED,
    MODEL_UNLOADED,
    NO_MEMORY,
    NO_MODELS_LOADED,
    NO_MODELS_LOADED_EARLY,
    NO_VISION,
    OVERFLOW_ADVICE,
    OVERFLOW_BARE,
    TOKEN_IDS,
    TOKEN_MISSING,
    TOOL_CHOICE_OBJECT,
    UNLOADED_IN_QUEUE,
    ErrorCase,
    crashed,
    encode,
    load_failed,
    malformed_token,
    not_embedding,
    object_error,
    overflow_early,
    overflow_n_keep,
    overflow_without_numbers,
    stale_response,
    text_error,
    unknown_model,
    unknown_model_early,
)

_OVERFLOW_ENGINE = '{"code":500,"message":"Context size has been exceeded.","type":"server_error"}'

_MODELS = (
    unknown_model("x", ["llama3", "qwen3-8b"]),
    unknown_model("x", ["llama3", "qwen3-8b"], pretty=True),
    unknown_model_early("x", []),
    NO_MODELS_LOADED,
    NO_MODELS_LOADED_EARLY,
    load_failed("x", NO_MEMORY, name="load_failed_memory"),
    load_failed("x", NO_MEMORY, status=404, name="load_failed_memory_old"),
    load_failed("x", CANCELED, name="load_failed_canceled"),
    load_failed("x", CANCELED, status=404, name="load_failed_canceled_old"),
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
    MODEL_RELOADED,
    MODEL_UNLOADED,
    UNLOADED_IN_QUEUE,
    text_error("startup_aborted", "Engine protocol startup was aborted"),
    crashed(None),
    crashed(18446744072635812000),
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
    overflow_early(5228, 4096),
    overflow_n_keep(13575, 4096),
    text_error(
        "overflow_mid_2026",
        "The number of tokens to keep from the initial prompt is greater than the context length "
        f"(n_keep: 5228 >= n_ctx: 4096). {OVERFLOW_ADVICE}",
    ),
    overflow_without_numbers(5228, 4096),
    object_error(
        "responses_overflow", OVERFLOW_BARE, status=500, endpoint="responses", type="internal_error", code="unknown"
    ),
    object_error(
        "native_overflow", OVERFLOW_BARE, status=500, endpoint="native", type="internal_error", code="unknown"
    ),
    text_error("overflow_exceeded", f"Engine protocol predict stream returned an error: {_OVERFLOW_ENGINE}"),
    ErrorCase(
        "overflow_llama_cpp",
        400,
        encode(
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
    TOKEN_MISSING,
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
    stale_response("resp_1"),
)

_VALIDATION = (
    JSON_OBJECT,
    TOOL_CHOICE_OBJECT,
    MALFORMED_MESSAGES,
    IMAGE_URL,
    NO_VISION,
    TOKEN_IDS,
    not_embedding("llama3"),
)

CATALOGUE: tuple[ErrorCase, ...] = (*_MODELS, *_RUNTIME, *_OVERFLOW, *_ACCESS, *_NATIVE, *_VALIDATION)
"""Every case, in the order of the facts it was taken from; names are unique."""

_BY_NAME = {case.name: case for case in CATALOGUE}


def case_named(name: str) -> ErrorCase:
    """The row of that name.

    Raises:
        ValueError: There is none; names that are like it are given.
    """
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, n=3, cutoff=0.5)
        msg = f"no row of the catalogue is named {name!r}" + (f"; did you mean {', '.join(near)}?" if near else "")
        raise ValueError(msg)
    return _BY_NAME[name]
