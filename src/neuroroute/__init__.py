"""NeuroRoute: the adapter for LM Studio that makes a local model behave like a dependable service.

All that is imported here is light; aiohttp loads with the first call, the engine and the simulator when they are named.
"""

from neuroroute.adapter import LMStudioAdapter
from neuroroute.blocking import SyncChunkStream, SyncCompletionStream, SyncLMStudioAdapter
from neuroroute.details import ModelDetails, ModelInstance
from neuroroute.errors import (
    ConfigurationError,
    LMStudioError,
    MalformedResponseError,
    ModelAuthenticationError,
    ModelBusyError,
    ModelContentFilteredError,
    ModelContextLengthError,
    ModelEmptyResponseError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    StreamInterruptedError,
)
from neuroroute.messages import (
    AnyMessage,
    AssistantMessage,
    ChatMessage,
    FunctionCall,
    FunctionMessage,
    ImagePart,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from neuroroute.pipe.reply import Clock
from neuroroute.pipe.retry import RetryPolicy
from neuroroute.requests import RequestOptions
from neuroroute.responses import (
    LMStudioResponse,
    ModelResponse,
    Note,
    Stats,
    StreamingChunk,
    TokenUsage,
    ToolCallFragment,
)
from neuroroute.streams import ChunkStream, CompletionStream

__all__ = [
    "AnyMessage",
    "AssistantMessage",
    "ChatMessage",
    "ChunkStream",
    "Clock",
    "CompletionStream",
    "ConfigurationError",
    "FunctionCall",
    "FunctionMessage",
    "ImagePart",
    "LMStudioAdapter",
    "LMStudioError",
    "LMStudioResponse",
    "MalformedResponseError",
    "ModelAuthenticationError",
    "ModelBusyError",
    "ModelContentFilteredError",
    "ModelContextLengthError",
    "ModelDetails",
    "ModelEmptyResponseError",
    "ModelInstance",
    "ModelInvalidRequestError",
    "ModelNotFoundError",
    "ModelQuotaExceededError",
    "ModelRateLimitedError",
    "ModelResponse",
    "ModelTimeoutError",
    "ModelUnavailableError",
    "NetworkError",
    "Note",
    "RequestOptions",
    "RetryPolicy",
    "Stats",
    "StreamInterruptedError",
    "StreamingChunk",
    "SyncChunkStream",
    "SyncCompletionStream",
    "SyncLMStudioAdapter",
    "SystemMessage",
    "TextPart",
    "TokenUsage",
    "ToolCall",
    "ToolCallFragment",
    "ToolMessage",
    "UserMessage",
]
