"""Where conversations are kept: a SQLite file, or memory. ``sqlite3`` loads on the first use of a file."""

from neuroroute.store.memory import MemoryStore
from neuroroute.store.protocol import ConversationStore, ConversationSummary, SavedConversation
from neuroroute.store.sqlite import SQLiteStore

__all__ = ["ConversationStore", "ConversationSummary", "MemoryStore", "SQLiteStore", "SavedConversation"]
