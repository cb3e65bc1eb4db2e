"""The names of OpenTelemetry's GenAI conventions, all in one place: they are still in development, and change.

As in release 1.41 (https://opentelemetry.io/docs/specs/semconv/gen-ai/); the drafts after it have
``gen_ai.client.inference.*`` for ``gen_ai.client.operation.*``.
"""

from __future__ import annotations

SCHEMA = "https://opentelemetry.io/schemas/1.41.0"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - of a metric
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
RESEND_COUNT = "http.request.resend_count"

OF_US = "neuroroute."
"""Before names that no convention has."""

LM_STUDIO = "lm_studio"
"""The provider; none of the well-known ones is it."""

OPERATIONS = {"completions": "text_completion", "embeddings": "embeddings"}
"""By route, where it is not ``chat``."""
CHAT = "chat"
EXECUTE_TOOL = "execute_tool"

PARAMETERS = {
    name: f"gen_ai.request.{name}"
    for name in ("temperature", "max_tokens", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
}
"""Options of ours, and what they are called."""

DURATION = "gen_ai.client.operation.duration"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - a metric
SECONDS = tuple(0.01 * 2**power for power in range(14))
TOKENS = tuple(4**power for power in range(14))
"""Boundaries of the buckets."""
