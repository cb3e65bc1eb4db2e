"""NeuroRoute: the adapter for LM Studio that makes a local model behave like a dependable service.

All that is imported here is light; aiohttp loads with the first call, the engine and the simulator when they are named.
"""

from neuroroute.adapter import LMStudioAdapter
from neuroroute.blocking import (
    SyncChunkStream,
    SyncCompletionStream,
    SyncConversation,
    SyncLMStudioAdapter,
    SyncToolStream,
    SyncTurnStream,
)
from neuroroute.budget import ContextBudget
from neuroroute.conversation import Conversation
from neuroroute.details import ModelDetails, ModelInstance
from neuroroute.errors import (
    ConfigurationError,
    ConversationConflictError,
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
    StructuredOutputError,
    ToolArgumentsError,
    ToolError,
    ToolFailedError,
    ToolRefusedError,
    ToolRoundsError,
    ToolUnknownError,
)
from neuroroute.mcp import MCPServer
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
from neuroroute.options import RequestOptions
from neuroroute.pipe.reply import Clock
from neuroroute.pipe.retry import RetryPolicy
from neuroroute.responses import (
    LMStudioResponse,
    ModelResponse,
    Note,
    Stats,
    StreamingChunk,
    TokenUsage,
    ToolCallFragment,
)
from neuroroute.shapes import PartialJSON
from neuroroute.store import ConversationStore, ConversationSummary, MemoryStore, SavedConversation, SQLiteStore
from neuroroute.streams import ChunkStream, CompletionStream
from neuroroute.toolloop import ToolStream
from neuroroute.tools import FunctionDefinition, Tool, Toolbox, ToolDefinition, tool
from neuroroute.turns import TurnStream

__all__ = [
    "AnyMessage",
    "AssistantMessage",
    "ChatMessage",
    "ChunkStream",
    "Clock",
    "CompletionStream",
    "ConfigurationError",
    "ContextBudget",
    "Conversation",
    "ConversationConflictError",
    "ConversationStore",
    "ConversationSummary",
    "FunctionCall",
    "FunctionDefinition",
    "FunctionMessage",
    "ImagePart",
    "LMStudioAdapter",
    "LMStudioError",
    "LMStudioResponse",
    "MCPServer",
    "MalformedResponseError",
    "MemoryStore",
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
    "PartialJSON",
    "RequestOptions",
    "RetryPolicy",
    "SQLiteStore",
    "SavedConversation",
    "Stats",
    "StreamInterruptedError",
    "StreamingChunk",
    "StructuredOutputError",
    "SyncChunkStream",
    "SyncCompletionStream",
    "SyncConversation",
    "SyncLMStudioAdapter",
    "SyncToolStream",
    "SyncTurnStream",
    "SystemMessage",
    "TextPart",
    "TokenUsage",
    "Tool",
    "ToolArgumentsError",
    "ToolCall",
    "ToolCallFragment",
    "ToolDefinition",
    "ToolError",
    "ToolFailedError",
    "ToolMessage",
    "ToolRefusedError",
    "ToolRoundsError",
    "ToolStream",
    "ToolUnknownError",
    "Toolbox",
    "TurnStream",
    "UserMessage",
    "tool",
]
